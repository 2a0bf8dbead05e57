//! What the gateway costs.
//!
//! Criterion benches (`cargo bench -p wsgi-benches`) tell how long its parts take; the program `embedding` answers one
//! request many times, through the gateway and through a bare loop over Python's C API, for whoever counts instructions
//! (`scripts/bench embedding`); the program `hop` serves HTTP, through wsgi-hyper and through a plain hyper that hops to one
//! thread (`scripts/bench hop`).

pub mod bare;
pub mod hop;
pub mod host;
pub mod request;

/// What both answer with.
pub const HELLO: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello, world"]
"#;
