//! More requests than there is room for.

#[path = "common/mod.rs"]
mod common;

use bytes::Bytes;
use common::{gateway, logged};
use http::Request;
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Empty};
use tower::ServiceExt;
use wsgi_core::pool::Limits;

#[tokio::test]
async fn requests_beyond_the_queue_get_503_at_once_and_those_that_are_given_up_leave_it_with_their_bodies() {
    let gateway = gateway(Limits { max_threads: 1, queue: 1, ..Limits::new(1) });
    let (builder, lines) = logged(
        gateway,
        r#"
def application(environ, start_response):
    print("reading", file=environ["wsgi.errors"])
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [b"read " + body]
"#,
    );
    let service = builder.build();
    let (mut client, body) = Channel::<Bytes>::new(1);
    // Both begin with the call.
    let running = tower_service::Service::call(&mut service.clone(), Request::post("/").body(body).unwrap());
    lines.wait_for("reading");
    for _ in 0..10 {
        let (mut left, body) = Channel::<Bytes>::new(1);
        let queued = tower_service::Service::call(&mut service.clone(), Request::post("/").body(body).unwrap());
        left.send_data(Bytes::from_static(b"begun")).await.expect("the body is there");
        drop(queued);
        left.send_data(Bytes::from_static(b"more")).await.expect_err("the body is gone");
    }
    let queued = tower_service::Service::call(&mut service.clone(), Request::new(Empty::<Bytes>::new()));

    let refused = service.oneshot(Request::new(Empty::<Bytes>::new())).await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    lines.wait_for("request refused: too many requests are waiting for a thread");

    client.send_data(Bytes::from_static(b"abc")).await.unwrap();
    drop(client);
    for (response, expected) in [(running.await, "read abc"), (queued.await, "read ")] {
        assert_eq!(response.unwrap().into_body().collect().await.unwrap().to_bytes(), expected);
    }
}
