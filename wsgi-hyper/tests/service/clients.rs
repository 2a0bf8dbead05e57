//! Clients that are slow, or leave.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn endless_generator_is_not_iterated_while_its_blocks_are_not_read() {
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
    // Blocks that wait are joined.
    assert!(next(&mut body).await.starts_with(b"x"));
    drop(body);
    lines.wait_for("] client closed the connection");
}

#[tokio::test]
async fn write_times_out_if_the_client_does_not_read() {
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
    let service = builder.client_timeout(Duration::from_millis(10)).build();
    let body = ask(&service, get("/")).await.into_body();
    lines.wait_for("] client timed out");
    drop(body);
}

#[tokio::test]
async fn read_times_out_if_the_client_stops_sending() {
    let (builder, lines) = logged(gateway(), READING);
    let service = builder.client_timeout(Duration::from_millis(10)).build();
    let (request, mut client) = post();
    client.send_data(Bytes::from_static(b"first")).await.unwrap();
    assert_eq!(text(ask(&service, request).await).await, "");
    lines.wait_for("] client timed out");
}

#[tokio::test]
async fn a_client_that_sends_nothing_of_its_body_gets_408_and_no_application() {
    let (builder, lines) = logged(gateway(), READING);
    let service = builder.client_timeout(Duration::from_millis(10)).build();
    let (request, _client) = post();
    let response = ask(&service, request).await;
    assert_eq!((response.status().as_u16(), response.headers()["connection"].to_str().unwrap()), (408, "close"));
    assert_eq!(text(response).await, "408 Request Timeout\n");
    assert!(lines.0.try_recv().is_err());
}

#[tokio::test]
async fn failure_caused_by_a_slow_client_is_answered_with_408() {
    let source = "def application(environ, start_response):\n    environ['wsgi.input'].read()\n";
    let (builder, lines) = logged(gateway(), source);
    let service = builder.client_timeout(Duration::from_millis(10)).build();
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
async fn request_body_stays_readable_after_the_complete_response() {
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
