//! Checks that the bare loop and the gateway do the same work.

use wsgi_benches::HELLO;
use wsgi_benches::bare::{Bare, Sent};
use wsgi_benches::host::Host;
use wsgi_benches::request::SETS;
use wsgi_core::config::Mode;

/// Called in pairs: the second call of each pair raises unless its environ equals that of the first. Objects that the server
/// provides need only exist, and the two run different scripts.
const COMPARING: &str = r#"
import sys

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    own = {"wsgi.input", "wsgi.errors", "wsgi.file_wrapper", "wsgi_gateway.script"}
    seen = {key: value is not None if key in own else (type(value), value) for key, value in environ.items()}
    assert type(environ) is dict and environ["wsgi.input"].read() == b""
    other = sys.__dict__.pop("environ of the other", None)
    if other is None:
        setattr(sys, "environ of the other", seen)
    else:
        assert seen == other, sorted(seen.items() ^ other.items(), key=str)
    return []
"#;

#[test]
fn bare_loop_makes_the_environ_of_the_gateway_and_sends_as_much() {
    // One test, because Python must be used on the thread that started it.
    let host = Host::start(Mode::Inline);
    let (hello, comparing) = (host.serve(HELLO), host.serve(COMPARING));
    let _attached = host.attach(&hello);
    for (set, requests) in SETS {
        for request in requests {
            let before = host.bytes();
            host.answer(&hello, request);
            let (head, body) = host.bytes();
            let expected = Sent { head: head - before.0, body: body - before.1 };
            // SAFETY: attached for as long as `_attached` lives.
            assert_eq!(unsafe { Bare::new(HELLO, *request).answer() }, expected, "{set}");
            // SAFETY: attached for as long as `_attached` lives.
            unsafe { Bare::new(COMPARING, *request).answer() };
            host.answer(&comparing, request);
        }
    }
}
