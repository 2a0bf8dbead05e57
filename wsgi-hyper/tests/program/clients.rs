//! Clients that send their bodies slowly, that still send when they are answered, or that stop sending.

use wsgi_testkit::Gate;

use crate::harness::Program;
use crate::{ECHO, HELLO, IGNORE};

#[test]
fn three_hundred_slow_uploads_hold_up_no_other_request() {
    let program = Program::with(ECHO, &["--threads", "2", "app.py"]);
    let mut clients: Vec<_> = (0..300).map(|_| program.client()).collect();
    for client in &mut clients {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    }
    assert!(program.get("/").ends_with("\r\n\r\n"));
    // After its first byte an upload takes a thread, but all uploads together do not take all threads.
    clients.iter_mut().for_each(|client| client.send("x"));
    (0..128).for_each(|_| drop(program.errors.wait_for("reading")));
    for _ in 0..3 {
        assert!(program.get("/").ends_with("\r\n\r\n"));
        let mut client = program.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc");
        assert!(client.rest().ends_with("\r\n\r\nabc"));
    }
    // Each upload is answered when it continues.
    for client in &mut clients {
        client.send(&"x".repeat(999));
        assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"));
        client.read(1000);
    }
}

/// Requests that are refused before an application is called, followed by more bytes than a connection buffers.
fn refused_with_more_behind() -> Vec<(&'static str, String)> {
    let more = "z".repeat(300_000);
    let fields: String = (0..120).map(|number| format!("X-{number}: y\r\n")).collect();
    let long = format!("X: {}\r\n", "y".repeat(4000)).repeat(50);
    vec![
        ("431", format!("GET / HTTP/1.1\r\nHost: a\r\n{long}\r\n{more}")),
        ("431", format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n{fields}\r\n{more}")),
        (
            "400",
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\nContent-Length: 300000\r\n\r\n{more}"),
        ),
        ("400", format!("nonsense\r\n\r\n{more}")),
        ("400", format!("POST / HTTP/1.1\r\nContent-Length: 300000\r\n\r\n{more}")),
    ]
}

#[test]
fn no_refusal_is_followed_by_a_reset_while_the_client_still_sends() {
    let program = Program::serve(HELLO);
    for (status, request) in refused_with_more_behind() {
        for _ in 0..4 {
            let mut client = program.client();
            client.send(&request);
            let answer = client.try_rest().unwrap_or_else(|error| panic!("{status}: {error}"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
    }
}

#[test]
fn no_answer_during_a_stop_is_followed_by_a_reset() {
    let body = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n{}", "z".repeat(200_000));
    let pipelined = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3000);
    for request in [body, pipelined] {
        let folder = tempfile::tempdir().unwrap();
        let gate = Gate::new(folder.path().join("gate"));
        // The first request waits. The server may begin others before the connection notices the stop.
        let wait = "    gates and open(gates.pop()).read()\n    start_response(\"413";
        let source = IGNORE.replace("    start_response(\"413", wait);
        let program = Program::serve(&format!("gates = [{:?}]\n{source}", folder.path().join("gate")));
        let mut client = program.client();
        client.send(&request);
        let arrived = gate.arrival();
        program.signal("TERM");
        program.wait_until_closed();
        drop(arrived);
        assert!(client.head().starts_with("HTTP/1.1 413 Too Much\r\n"));
        let rest = client.try_rest().expect("no reset");
        assert!(rest.ends_with("not wanted\n"), "{rest}");
        assert!(program.end().success());
    }
}

#[test]
fn a_client_that_closes_its_half_of_the_connection_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::new(folder.path().join("gate"));
    let source = HELLO.replace("    return", &format!("    open({:?}).read()\n    return", folder.path().join("gate")));
    let program = Program::serve(&source);
    let mut client = program.client();
    client.send("GET /half HTTP/1.1\r\nHost: a\r\n\r\n");
    let arrived = gate.arrival();
    client.end();
    assert_eq!(client.rest(), "");
    program.out.wait_for("\"GET /half HTTP/1.1\" 499 0 ");
    drop(arrived);
}
