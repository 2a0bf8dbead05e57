//! More requests than can be served, and an application that does not release the GIL.

use wsgi_testkit::Process;

use crate::harness::{Gate, Mode, Nginx, Site, get, request, wait_for};

/// `/hold` waits at the gate with the GIL held, as a badly behaved extension module would: no other Python code runs in
/// that worker meanwhile.
const HOLDS: &str = "
import ctypes, os
def application(environ, start_response):
    if environ['PATH_INFO'] == '/hold':
        gate = os.open(os.path.join(os.path.dirname(__file__), 'gate'), os.O_RDONLY)
        ctypes.PyDLL(None).read(gate, ctypes.create_string_buffer(1), 1)
        os.close(gate)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'x']
";

/// Largest number of waiting requests, and number of includes in a page that fills the queue.
const QUEUE: usize = 1024;

/// Bytes of the page that nginx sends at once, with its head (`postpone_output`).
const FLUSHED: usize = 2048;

fn site() -> (Nginx, Gate) {
    let nginx = Site::new(Mode::Threads(1))
        .file("app.py", HOLDS)
        .file("html/full.html", "x".repeat(FLUSHED) + &"<!--#include virtual=\"/a\"-->".repeat(QUEUE))
        .file("html/file", "file")
        .location("/", "wsgi_pass app.py;")
        .location("= /full.html", "root html;\nssi on;")
        .location("= /file", "root html;")
        .start();
    let gate = Gate::new(nginx.path("gate"));
    (nginx, gate)
}

#[test]
fn blk_4_the_event_loop_never_takes_the_gil() {
    let (nginx, gate) = site();
    let (mut holder, mut second) = (nginx.connect(), nginx.connect());
    holder.send(get("/hold"));
    let at_gate = gate.arrival();
    second.send(get("/"));
    for _ in 0..20 {
        assert_eq!(nginx.get("/file").ok(), "file");
        // This client disconnects while its request waits: nginx drops the request without Python.
        nginx.connect().send(get("/"));
    }
    drop(at_gate);
    assert_eq!(holder.response().ok(), "x");
    assert_eq!(second.response().ok(), "x");
    assert_eq!(nginx.get("/").ok(), "x");
}

#[test]
fn a_full_queue_is_answered_with_503_at_once_and_without_python() {
    let (nginx, gate) = site();
    assert_eq!(nginx.get("/").ok(), "x");
    let (mut holder, mut page) = (nginx.connect(), nginx.connect());
    holder.send(get("/hold"));
    let at_gate = gate.arrival();
    page.send(get("/full.html"));
    // The head shows that the page is being served; its includes are queued.
    let mut response = page.head();
    assert_eq!(response.status, 200);
    let mut client = nginx.connect();
    for _ in 0..10 {
        client.send(get("/"));
        let refused = client.response();
        assert_eq!(refused.status, 503);
        assert_eq!(refused.header("Retry-After"), Some("1"));
    }
    assert_eq!(nginx.post("/", b"body").status, 503);
    assert_eq!(nginx.get("/file").ok(), "file");
    assert!(nginx.log_lines("too many requests").iter().all(|line| line.contains("[error]")));
    drop(at_gate);
    assert_eq!(holder.response().ok(), "x");
    while let Some(chunk) = page.chunk().filter(|chunk| !chunk.is_empty()) {
        response.body.extend(chunk);
    }
    assert_eq!(response.body, vec![b'x'; FLUSHED + QUEUE]);
    assert_eq!(nginx.get("/").ok(), "x");
}

/// Larger than nginx keeps in memory (`wsgi_body_buffer_size`).
static BODY: [u8; 140_000] = [b'x'; 140_000];

#[test]
fn requests_whose_clients_have_left_leave_the_queue_with_their_bodies() {
    let (nginx, gate) = site();
    assert_eq!(nginx.get("/").ok(), "x");
    let mut holder = nginx.connect();
    holder.send(get("/hold"));
    let at_gate = gate.arrival();
    let worker = Process::new(nginx.worker());
    // The descriptor of the gate may not be visible yet. A request has three: its connection, nginx's body file and the
    // module's duplicate.
    let descriptors = worker.descriptors() + 1;
    // More requests in total than may wait, and few enough at a time for nginx.
    for _ in 0..=QUEUE / 100 {
        for _ in 0..100 {
            nginx.connect().send(request("POST", "/", "", &BODY));
        }
        wait_for("descriptors to be closed", || (worker.descriptors() <= descriptors).then_some(()));
    }
    let mut other = nginx.connect();
    other.send(request("POST", "/", "", &BODY));
    drop(at_gate);
    assert_eq!(holder.response().ok(), "x");
    assert_eq!(other.response().ok(), "x");
}
