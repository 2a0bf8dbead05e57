//! The flags about threads (PEP 3333, "Thread Support").

use super::host::{HostUnderTest, Site};
use crate::Gate;
use crate::wire::get;

/// If `wsgi.multithread` is false, the application runs one request at a time; if it is true, it can run two.
pub(super) fn wsgi_multithread_is_true_if_requests_run_concurrently(host: &dyn HostUnderTest) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("gate");
    let gate = Gate::new(&path);
    let site = host.serve(Site::new(format!(
        "
inside = peak = 0
def application(environ, start_response):
    global inside, peak
    inside += 1
    peak = max(peak, inside)
    if environ['PATH_INFO'] == '/wait':
        open({:?}).read()
    inside -= 1
    start_response('200 OK', [])
    return [b'%r %d' % (environ['wsgi.multithread'], peak)]
",
        path.to_str().expect("a path of text")
    )));
    let multithread = host.traits().multithread;
    let (mut first, mut second) = (site.connect(), site.connect());
    first.send(get("/wait"));
    let standing = gate.arrival();
    second.send(get("/"));
    if multithread {
        assert_eq!(second.response().ok(), "True 2");
        drop(standing);
        assert_eq!(first.response().ok(), "True 2");
    } else {
        drop(standing);
        assert_eq!(first.response().ok(), "False 1");
        assert_eq!(second.response().ok(), "False 1");
    }
}

/// An iterator written in C runs no bytecode, and so never releases the GIL by itself.
pub(super) fn empty_items_of_an_iterator_in_c_let_other_requests_run(host: &dyn HostUnderTest) {
    if !host.traits().multithread {
        return;
    }
    let site = host.serve(Site::of_functions(
        "
import itertools
def empty(environ, start_response):
    environ['wsgi.errors'].write('begins\\n')
    start_response('200 OK', [])
    return itertools.repeat(b'', 3_000_000)
def other(environ, start_response):
    start_response('200 OK', [])
    return [b'other']
",
    ));
    let mut client = site.connect();
    client.send(get("/empty"));
    site.logged("begins");
    // It takes some seconds in a debug build. If it held the GIL, the others would be answered only at its end, all at once.
    let over = std::thread::spawn(move || client.response());
    let mut answered = 0;
    while !over.is_finished() && answered < 5 {
        assert_eq!(site.get("/other").ok(), "other");
        answered += 1;
    }
    assert!(answered == 5 && !over.is_finished(), "{answered} other requests were answered meanwhile");
    assert_eq!(over.join().expect("a response").ok(), "");
}
