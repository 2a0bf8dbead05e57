//! PEP 3333 clause by clause, as tests that any host of the gateway can run.
//!
//! A host implements [`HostUnderTest`]: it serves an application from source text, and lets the suite send requests to it.
//! One line in a test file then makes a `#[test]` of every clause, whose name is the sentence that fails:
//!
//! ```
//! # #[cfg(feature = "python")]
//! wsgi_testkit::conformance_suite!(wsgi_testkit::conformance::InProcess::shared());
//! ```
//!
//! Hosts that speak HTTP over sockets also run [`wire_conformance_suite!`](crate::wire_conformance_suite), which has the
//! rules of framing and of connections. `docs/conformance.md` maps clauses to tests.

mod calling;
mod close;
mod connections;
mod environ;
mod errors;
mod errors_stream;
mod exact;
mod exc_info;
mod exits;
mod extensions;
mod failures;
mod file_wrapper;
mod file_wrapper_object;
mod framing;
mod headers;
mod host;
#[cfg(feature = "python")]
mod in_process;
mod input;
mod input_wire;
mod iterable;
mod leaks;
mod paths;
mod probe;
mod refusals;
mod response_headers;
mod splitting;
mod spoofing;
mod standard_streams;
mod start_response;
mod streaming;
mod suite;
mod threads;
mod write;

pub use host::{HostUnderTest, Served, Site, Traits, get, post};
#[cfg(feature = "python")]
pub use in_process::InProcess;
pub use leaks::check_leaks;
pub use probe::{After, Probe};
pub use spoofing::check_spoofing;

type Clause = fn(&dyn HostUnderTest);

/// Runs one clause; called by the macros of the suites. Panics with the failure.
pub fn run(name: &str, host: &dyn HostUnderTest) {
    let found = suite::CLAUSES.iter().chain(suite::WIRE_CLAUSES).find(|(clause, _)| *clause == name);
    let (_, clause) = found.unwrap_or_else(|| panic!("there is no clause {name}"));
    clause(host);
}
