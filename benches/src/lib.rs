//! What the gateway costs.
//!
//! Criterion benches (`cargo bench -p wsgi-benches`) tell how long its parts take; the program `embedding` answers one
//! request many times, through the gateway and through a bare loop over Python's C API, for whoever counts instructions
//! (`scripts/bench embedding`).

pub mod bare;
pub mod host;
pub mod request;

/// What both answer with.
pub const HELLO: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello, world"]
"#;
