//! The shutdown of a gateway on a runtime with one thread, which also reads the responses.

#[path = "common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{LONG, gateway, logged};
use http::Request;
use http_body_util::{BodyExt, Empty};
use tower::ServiceExt;
use wsgi_core::config::Limits;
use wsgi_hyper::Cut;

/// A response that is larger than the channel, and responses that never end. None of them pauses where it could notice
/// the shutdown.
const SOURCE: &str = r#"
import time
def application(environ, start_response):
    start_response("200 OK", [])
    path = environ["PATH_INFO"]
    if path == "/stuck":
        yield b"x"
    if path != "/whole":
        print("sleeps in", path, file=environ["wsgi.errors"])
        time.sleep(3600)
    yield b"x" * 300_000
    yield b"y" * 300_000
"#;

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn shutdown_on_a_single_threaded_runtime_lets_tasks_run_and_cuts_open_responses() {
    let gateway = gateway(Limits::new(3));
    let (builder, lines) = logged(gateway, SOURCE);
    let service = builder.build();
    let whole = service.clone().oneshot(get("/whole")).await.unwrap();
    let stuck = service.clone().oneshot(get("/stuck")).await.unwrap();
    lines.wait_for("sleeps in /stuck");
    let without_head = tokio::spawn(service.clone().oneshot(get("/head")));
    tokio::task::yield_now().await;
    lines.wait_for("sleeps in /head");
    let (whole, stuck) = (tokio::spawn(whole.into_body().collect()), tokio::spawn(stuck.into_body().collect()));
    let began = Instant::now();
    wsgi_hyper::shutdown(gateway, Duration::from_millis(500)).await;
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    assert_eq!(whole.await.unwrap().unwrap().to_bytes().len(), 600_000, "it had the time");
    let _cut: Cut = stuck.await.unwrap().expect_err("it does not look complete");
    assert_eq!(without_head.await.unwrap().unwrap().status(), 503);
    // Later requests are refused.
    assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 503);
}
