//! The service without a server: the tests send request bodies and read response bodies.

#[path = "common/mod.rs"]
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
use wsgi_core::pool::Limits;
use wsgi_core::python::Gateway;
use wsgi_hyper::{ResponseBody, WsgiService};
use wsgi_testkit::Gate;

/// One permit: if another request runs after an exchange has begun, the exchange has released its permit.
fn gateway() -> &'static Arc<Gateway> {
    common::gateway(Limits { max_threads: 32, queue: 64, ..Limits::new(1) })
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

#[tokio::test]
async fn an_application_reads_while_its_client_still_sends() {
    let service = service(
        r#"
def application(environ, start_response):
    first = environ["wsgi.input"].read(3)
    start_response("200 OK", [])
    yield first
    while block := environ["wsgi.input"].read(3):
        yield block
"#,
    );
    let (request, mut client) = post();
    client.send_data(Bytes::from_static(b"abc")).await.unwrap();
    let mut body = ask(&service, request).await.into_body();
    assert_eq!(next(&mut body).await, "abc");
    client.send_data(Bytes::from_static(b"defg")).await.unwrap();
    assert_eq!(next(&mut body).await, "def");
    drop(client);
    assert_eq!(next(&mut body).await, "g");
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_body_of_unknown_length_is_collected_and_has_its_length() {
    let source = r#"
import hashlib
def application(environ, start_response):
    body = environ["wsgi.input"]
    digest = hashlib.md5(body.read()).hexdigest()
    again = (body.seek(1), body.read(3), body.seek(0, 2), body.tell())
    start_response("200 OK", [])
    return [repr((environ["CONTENT_LENGTH"], digest, again)).encode()]
"#;
    let service = WsgiService::builder(gateway(), &location(source)).collect_chunked_bodies(3_000_000).build();
    let expected = |length: usize, digest: &str| format!("('{length}', '{digest}', (1, b'bcd', {length}, {length}))");
    // In memory, and in a file.
    for (times, digest) in [(1, "e80b5017098950fc58aad83c8c14978e"), (500_000, "")] {
        let (request, mut client) = post();
        let sending = tokio::spawn(async move {
            for _ in 0..10 {
                let part = Bytes::from(b"abcdef".repeat(times / 10 + usize::from(times == 1)));
                client.send_data(part).await.unwrap();
                if times == 1 {
                    break;
                }
            }
        });
        let answer = text(ask(&service, request).await).await;
        sending.await.unwrap();
        match digest {
            "" => assert!(
                answer.starts_with("('3000000', ") && answer.ends_with("(1, b'bcd', 3000000, 3000000))"),
                "{answer}"
            ),
            digest => assert_eq!(answer, expected(6, digest)),
        }
    }
    let (request, mut client) = post();
    let sending = tokio::spawn(async move { client.send_data(Bytes::from(vec![0; 3_000_001])).await });
    let refused = ask(&service, request).await;
    assert_eq!(
        (refused.status(), refused.headers()["connection"].as_bytes()),
        (http::StatusCode::PAYLOAD_TOO_LARGE, &b"close"[..])
    );
    assert_eq!(text(refused).await, "413 Payload Too Large\n");
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_body_of_unknown_length_that_is_read_as_it_arrives_has_no_length() {
    let source = r#"
def application(environ, start_response):
    start_response("200 OK", [])
    return [repr((environ.get("CONTENT_LENGTH"), environ["wsgi.input_terminated"], environ["wsgi.input"].read())).encode()]
"#;
    let service = service(source);
    let (request, mut client) = post();
    client.send_data(Bytes::from_static(b"abc")).await.unwrap();
    drop(client);
    assert_eq!(text(ask(&service, request).await).await, "(None, True, b'abc')");
    let request = Request::post("/").body(Full::new(Bytes::from_static(b"abc"))).unwrap();
    assert_eq!(text(ask(&service, request).await).await, "('3', True, b'abc')");
    let request = Request::post("/").header("content-length", "0").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(text(ask(&service, request).await).await, "('0', True, b'')");
}

#[tokio::test]
async fn a_large_body_goes_through_in_both_directions() {
    let service = service(
        r#"
def application(environ, start_response):
    start_response("200 OK", [])
    return iter(lambda: environ["wsgi.input"].read(100_000), b"")
"#,
    );
    let sent = Bytes::from((0..5_000_000u32).map(|number| (number % 251) as u8).collect::<Vec<_>>());
    let (request, mut client) = post();
    let feed = sent.clone();
    let feeding = tokio::spawn(async move {
        for start in (0..feed.len()).step_by(70_001) {
            client.send_data(feed.slice(start..feed.len().min(start + 70_001))).await.unwrap();
        }
    });
    let received = ask(&service, request).await.into_body().collect().await.unwrap().to_bytes();
    feeding.await.unwrap();
    assert!(received == sent);
}

#[tokio::test]
async fn a_client_that_sends_less_than_it_declared_is_an_error_where_the_application_reads() {
    let (service, lines) = with_log(
        r#"
def application(environ, start_response):
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        print("error:", error, file=environ["wsgi.errors"])
    start_response("200 OK", [])
    return [environ["CONTENT_LENGTH"].encode()]
"#,
    );
    let (mut request, mut client) = post();
    request.headers_mut().insert("content-length", "7".parse().unwrap());
    client.send_data(Bytes::from_static(b"abc")).await.unwrap();
    drop(client);
    assert_eq!(text(ask(&service, request).await).await, "7");
    lines.wait_for("] client closed the connection");
}

#[tokio::test]
async fn an_error_of_a_layer_in_between_reaches_the_application() {
    let service = service(
        r#"
def application(environ, start_response):
    start_response("200 OK", [])
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        return [str(error).encode()]
"#,
    );
    let body = http_body_util::Limited::new(Full::new(Bytes::from_static(b"abcdef")), 3);
    let answer = text(ask(&service, Request::post("/").body(body).unwrap()).await).await;
    assert!(answer.ends_with("length limit exceeded"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_generator_is_not_asked_while_nobody_takes_its_blocks() {
    let (service, lines) = with_log(
        r#"
def application(environ, start_response):
    start_response("200 OK", [])
    number = 0
    while True:
        number += 1
        print("block", number, file=environ["wsgi.errors"])
        yield b"x" * 32768
"#,
    );
    let mut body = ask(&service, get("/")).await.into_body();
    lines.wait_for("block 2");
    // There is one permit: this request runs while the generator waits.
    assert_eq!(text(ask(&self::service(HELLO), get("/")).await).await, "hello");
    assert!(lines.0.try_recv().is_err());
    next(&mut body).await;
    lines.wait_for("block 3");
}

#[tokio::test]
async fn dropping_the_body_closes_the_iterable() {
    let (service, lines) = with_log(
        r#"
class Endless:
    def __init__(self, errors):
        self.errors = errors
    def __iter__(self):
        return self
    def __next__(self):
        return b"x" * 1000
    def close(self):
        print("closed", file=self.errors)

def application(environ, start_response):
    start_response("200 OK", [])
    return Endless(environ["wsgi.errors"])
"#,
    );
    let mut body = ask(&service, get("/")).await.into_body();
    next(&mut body).await;
    drop(body);
    lines.wait_for("closed");
}

#[tokio::test]
async fn writing_raises_when_the_client_has_left() {
    let (service, lines) = with_log(
        r#"
def application(environ, start_response):
    write = start_response("200 OK", [])
    try:
        while True:
            write(b"x")
    except OSError as error:
        print("error:", error, file=environ["wsgi.errors"])
    return []
"#,
    );
    let mut body = ask(&service, get("/")).await.into_body();
    assert_eq!(next(&mut body).await, "x");
    drop(body);
    lines.wait_for("] client closed the connection");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up_by_a_writer() {
    let (builder, lines) = logged(
        gateway(),
        r#"
def application(environ, start_response):
    write = start_response("200 OK", [])
    try:
        write(b"x" * 65536)
    except OSError as error:
        print("error:", error, file=environ["wsgi.errors"])
    return []
"#,
    );
    let service = builder.patience(Duration::from_millis(10)).build();
    let body = ask(&service, get("/")).await.into_body();
    lines.wait_for("] client timed out");
    drop(body);
}

#[tokio::test]
async fn a_client_that_sends_nothing_more_is_given_up_by_a_reader() {
    let (builder, lines) = logged(gateway(), READING);
    let service = builder.patience(Duration::from_millis(10)).build();
    let (request, mut client) = post();
    client.send_data(Bytes::from_static(b"first")).await.unwrap();
    assert_eq!(text(ask(&service, request).await).await, "");
    lines.wait_for("] client timed out");
}

#[tokio::test]
async fn a_client_that_sends_nothing_of_its_body_gets_408_and_no_application() {
    let (builder, lines) = logged(gateway(), READING);
    let service = builder.patience(Duration::from_millis(10)).build();
    let (request, _client) = post();
    let response = ask(&service, request).await;
    assert_eq!((response.status().as_u16(), response.headers()["connection"].to_str().unwrap()), (408, "close"));
    assert_eq!(text(response).await, "408 Request Timeout\n");
    assert!(lines.0.try_recv().is_err());
}

#[tokio::test]
async fn an_application_that_fails_by_a_slow_client_is_answered_for_with_408() {
    let source = "def application(environ, start_response):\n    environ['wsgi.input'].read()\n";
    let (builder, lines) = logged(gateway(), source);
    let service = builder.patience(Duration::from_millis(10)).build();
    let (request, mut client) = post();
    client.send_data(Bytes::from_static(b"first")).await.unwrap();
    assert_eq!(ask(&service, request).await.status(), 408);
    lines.wait_for("TimeoutError");
}

/// How many uploads with a received byte may have a thread: half of the threads.
const UPLOADS: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_wait_for_their_clients_keep_neither_the_permit_nor_all_threads() {
    let (reading, lines) = with_log(READING);
    let mut clients = Vec::new();
    let mut uploads = tokio::task::JoinSet::new();
    for _ in 0..UPLOADS {
        let (request, mut client) = post();
        client.send_data(Bytes::from_static(b"x")).await.unwrap();
        uploads.spawn(reading.clone().oneshot(request));
        clients.push(client);
    }
    (0..UPLOADS).for_each(|_| lines.wait_for("reading"));
    // There is one permit. Other requests are answered, also with a body that is complete.
    assert_eq!(text(ask(&service(HELLO), get("/")).await).await, "hello");
    let (request, mut client) = post();
    client.send_data(Bytes::from_static(b"a")).await.unwrap();
    let whole = tokio::spawn(service(HELLO).oneshot(request));
    client.send_data(Bytes::from_static(b"b")).await.unwrap();
    drop(client);
    assert_eq!(text(whole.await.unwrap().unwrap()).await, "hello");
    // A further upload waits until one of the others ends.
    let (request, mut client) = post();
    client.send_data(Bytes::from(vec![b'x'; 100_000])).await.unwrap();
    let further = tokio::spawn(reading.clone().oneshot(request));
    assert_eq!(text(ask(&service(HELLO), get("/")).await).await, "hello");
    assert!(lines.0.try_recv().is_err(), "it has no thread");
    drop(clients.pop());
    lines.wait_for("reading");
    drop((clients, client));
    while let Some(response) = uploads.join_next().await {
        assert_eq!(response.unwrap().unwrap().status(), 200);
    }
    assert_eq!(further.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_that_panics_is_an_error_where_the_application_reads() {
    struct Broken(bool);

    impl Body for Broken {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            assert!(!std::mem::replace(&mut self.0, true), "as with a timer whose runtime has ended");
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"abc")))))
        }
    }

    let (service, lines) = with_log(READING);
    let request = Request::post("/").body(Broken(false)).unwrap();
    assert_eq!(text(ask(&service, request).await).await, "");
    lines.wait_for("reading");
    lines.wait_for("] the request body panicked");
    assert!(lines.0.try_recv().is_err(), "it is no defect of the gateway");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_of_tower_frees_the_thread_that_reads() {
    let (service, lines) = with_log(READING);
    let (request, mut client) = post();
    client.send_data(Bytes::from_static(b"first")).await.unwrap();
    let impatient = Timeout::new(service, Duration::from_millis(20));
    let error = impatient.oneshot(request).await.expect_err("it takes too long");
    assert!(error.is::<tower::timeout::error::Elapsed>());
    lines.wait_for("reading");
    lines.wait_for("] client closed the connection");
    // The permit of the request is free again.
    assert_eq!(text(ask(&self::service(HELLO), get("/")).await).await, "hello");
}

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
async fn a_server_has_a_turn_to_send_what_came_before_a_failure() {
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
async fn a_client_that_has_all_it_was_promised_may_leave() {
    let (service, lines) = with_log(
        r#"
def application(environ, start_response):
    write = start_response("200 OK", [("Content-Length", "1")])
    write(b"x")
    print("read", environ["wsgi.input"].read(), file=environ["wsgi.errors"])
    return []
"#,
    );
    let (request, mut client) = post();
    client.send_data(Bytes::from_static(b"some ")).await.unwrap();
    let mut body = ask(&service, request).await.into_body();
    assert_eq!(next(&mut body).await, "x");
    assert!(body.is_end_stream());
    drop(body);
    client.send_data(Bytes::from_static(b"more")).await.unwrap();
    drop(client);
    lines.wait_for("read b'some more'");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_client_leaves_while_it_waits_never_begins() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::new(folder.path().join("gate"));
    let (first, _) = with_log(&format!(
        "
def application(environ, start_response):
    open({:?}).read()
    start_response('200 OK', [])
    return []
",
        folder.path().join("gate")
    ));
    let (second, second_lines) = with_log(READING);
    let holding = tokio::spawn(first.oneshot(get("/")));
    let arrived = gate.arrival();
    // The first request has the only permit.
    drop(tower_service::Service::call(&mut second.clone(), get("/")));
    drop(arrived);
    holding.await.unwrap().unwrap();
    assert_eq!(text(ask(&service(HELLO), get("/")).await).await, "hello");
    assert!(second_lines.0.try_recv().is_err());
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
async fn a_router_that_takes_the_prefix_off_is_made_up_for() {
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

/// A body that is delayed.
#[derive(Default)]
struct Late(Option<Pin<Box<tokio::time::Sleep>>>);

impl Body for Late {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let timer = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(1))));
        timer.as_mut().poll(cx).map(|()| None)
    }
}

#[tokio::test]
async fn a_body_may_use_timers_of_the_runtime() {
    let (service, lines) = with_log(READING);
    let response = ask(&service, Request::post("/").body(Late::default()).unwrap()).await;
    assert_eq!(text(response).await, "");
    lines.wait_for("reading");
    assert!(lines.0.try_recv().is_err());
}

#[tokio::test]
async fn trailers_are_not_data() {
    let service = service(
        r#"
def application(environ, start_response):
    start_response("200 OK", [])
    return [environ["wsgi.input"].read()]
"#,
    );
    let (request, mut client) = post();
    tokio::spawn(async move {
        client.send_data(Bytes::from_static(b"abc")).await.unwrap();
        client.send(Frame::trailers(http::HeaderMap::new())).await.unwrap();
    });
    assert_eq!(text(ask(&service, request).await).await, "abc");
}
