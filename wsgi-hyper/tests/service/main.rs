//! The service without a server: the tests send request bodies and read response bodies.

mod bodies;
mod clients;
#[path = "../common/mod.rs"]
mod common;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::{Lines, location, logged};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Empty, Full};
use tower::ServiceExt;
use tower::timeout::Timeout;
use wsgi_core::config::Limits;
use wsgi_core::python::Gateway;
use wsgi_hyper::{ResponseBody, WsgiService};
use wsgi_testkit::Gate;

/// One permit: if another request runs after an exchange has begun, the exchange has released its permit.
fn gateway() -> &'static Arc<Gateway> {
    common::gateway(Limits::new(1).max_threads(32).queue(64))
}

fn service(source: &str) -> WsgiService {
    WsgiService::builder(gateway(), &location(source)).collect_chunked_bodies(None).build()
}

fn with_log(source: &str) -> (WsgiService, Lines) {
    let (builder, lines) = logged(gateway(), source);
    (builder.build(), lines)
}

fn get(uri: &str) -> Request<Empty<Bytes>> {
    Request::get(uri).body(Empty::new()).unwrap()
}

/// A request whose body the test sends.
fn post() -> (Request<Channel<Bytes>>, Sender<Bytes>) {
    let (sender, body) = Channel::new(1);
    (Request::post("/").body(body).unwrap(), sender)
}

async fn ask<B>(service: &WsgiService, request: Request<B>) -> Response<ResponseBody>
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    service.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response<ResponseBody>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn next(body: &mut ResponseBody) -> Bytes {
    body.frame().await.expect("a frame").expect("no error").into_data().expect("data")
}

const HELLO: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
"#;

/// Answers with the variables that are named in the query.
const SHOW: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return ["\n".join(f"{environ.get(name)!r}" for name in environ["QUERY_STRING"].split("&")).encode()]
"#;

#[tokio::test]
async fn a_list_has_its_length() {
    let response = ask(&service(HELLO), get("/")).await;
    assert_eq!((response.status().as_u16(), response.headers()["content-length"].to_str().unwrap()), (200, "5"));
    assert_eq!(response.body().size_hint().exact(), Some(5));
    assert_eq!(text(response).await, "hello");
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let source = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]
"#;
    let response = ask(&service(source), Request::head("/").body(Empty::<Bytes>::new()).unwrap()).await;
    assert_eq!(response.headers()["content-length"], "5");
    assert!(response.body().is_end_stream());
    assert_eq!(text(response).await, "");
}

const READING: &str = r#"
def application(environ, start_response):
    print("reading", file=environ["wsgi.errors"])
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        print("error:", error, file=environ["wsgi.errors"])
    start_response("200 OK", [])
    return []
"#;

#[tokio::test]
async fn a_failure_before_the_head_is_a_500_of_the_host() {
    let (service, lines) = with_log(
        r#"
def application(environ, start_response):
    start_response("200 OK", [("X-Secret", "1")])
    raise ValueError("broken")
"#,
    );
    let response = ask(&service, get("/")).await;
    assert_eq!(response.status(), 500);
    assert!(!response.headers().contains_key("x-secret"));
    assert_eq!(text(response).await, "500 Internal Server Error\n");
    lines.wait_for("ValueError: broken");
}

const FAILING: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [])
    yield b"some"
    raise ValueError("broken")
"#;

#[tokio::test]
async fn a_failure_after_the_head_is_an_error_of_the_body() {
    let mut body = ask(&service(FAILING), get("/")).await.into_body();
    assert_eq!(next(&mut body).await, "some");
    let error = body.frame().await.expect("no end").expect_err("an error");
    assert_eq!(error.to_string(), "the application failed in the middle of its response");
}

#[tokio::test]
async fn body_is_pending_once_between_the_last_block_and_a_failure() {
    let mut body = ask(&service(FAILING), get("/")).await.into_body();
    // There is one permit: this request runs when the other has ended.
    assert_eq!(text(ask(&service(HELLO), get("/")).await).await, "hello");
    let mut polls = Vec::new();
    for _ in 0..3 {
        polls.push(poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await);
    }
    assert!(matches!(polls[..], [Poll::Ready(Some(Ok(_))), Poll::Pending, Poll::Ready(Some(Err(_)))]), "{polls:?}");
}

#[tokio::test]
async fn status_and_headers_are_the_application_s() {
    let service = service(
        r#"
def application(environ, start_response):
    start_response("404 Gibt es nicht", [("Set-Cookie", "a"), ("X-B", "\xe9"), ("Set-Cookie", "c")])
    return []
"#,
    );
    let response = ask(&service, get("/")).await;
    assert_eq!(response.status(), 404);
    let reason = response.extensions().get::<hyper::ext::ReasonPhrase>().map(|reason| reason.as_bytes());
    assert_eq!(reason, Some(&b"Gibt es nicht"[..]));
    assert!(response.headers().get_all("set-cookie").iter().eq(["a", "c"]));
    assert_eq!(response.headers()["x-b"].as_bytes(), b"\xe9");
}

#[tokio::test]
async fn prefix_removed_by_a_router_is_restored() {
    let service = WsgiService::builder(gateway(), &location(SHOW)).stripped_prefix("/site").software("mine/1").build();
    let router = axum::Router::new().nest_service("/site", service);
    let request =
        get("/site/a%20b?SCRIPT_NAME&PATH_INFO&REQUEST_URI&SERVER_SOFTWARE&REMOTE_ADDR").map(axum::body::Body::new);
    let response = router.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let uri = "'/site/a%20b?SCRIPT_NAME&PATH_INFO&REQUEST_URI&SERVER_SOFTWARE&REMOTE_ADDR'";
    assert_eq!(body, format!("'/site'\n'/a b'\n{uri}\n'mine/1'\nNone"));
}

#[tokio::test]
async fn paths_outside_of_the_prefix_are_not_found() {
    let service = WsgiService::builder(gateway(), &location(HELLO)).prefix("/mnt").build();
    assert_eq!(ask(&service, get("/mnt")).await.status(), 200);
    let response = ask(&service, get("/mount")).await;
    assert_eq!(response.status(), 404);
    assert_eq!(text(response).await, "404 Not Found\n");
}
