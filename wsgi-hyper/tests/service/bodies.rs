//! Request bodies on their way to the application.

use super::*;

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
