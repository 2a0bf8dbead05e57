//! Benchmarks of the gateway's cost.
//!
//! Criterion benches (`cargo bench -p wsgi-benches`) measure how long its parts take. The program `embedding` answers one
//! request many times, through the gateway and through a bare loop over Python's C API, to count instructions
//! (`scripts/measure/bench embedding`). The program `hop` serves HTTP, through wsgi-hyper and through a plain hyper that
//! hops to one thread (`scripts/measure/bench hop`).

pub mod bare;
pub mod hop;
pub mod host;
pub mod request;

/// The application that the gateway and the baselines serve.
pub const HELLO: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello, world"]
"#;
