//! An in-process host for the WSGI gateway: `cargo test` is enough.
//!
//! Requests are [`http::Request`]s, responses come back as a [`Captured`] with everything that crossed the host's
//! seam, in order. No socket, no nginx, no sleeping.
//!
//! ```
//! use wsgi_testkit::{Host, get};
//!
//! let host = Host::shared();
//! let app = host.app("def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hi']\n");
//! assert_eq!(host.send(&app, get("/")).body(), b"hi");
//! ```

mod captured;
pub mod conformance;
mod environ;
mod faults;
pub mod frameworks;
#[cfg(unix)]
mod gate;
#[cfg(unix)]
mod program;
mod request;
#[cfg(feature = "python")]
mod runner;
mod sink;
mod stamps;
mod validator;
mod waiting;
pub mod wire;

pub use captured::{Captured, Event, LogLine};
pub use environ::{ENVIRON, Environ};
pub use faults::{Faults, FullDisk};
#[cfg(unix)]
pub use gate::Gate;
#[cfg(unix)]
pub use program::Program;
pub use request::{Body, Request, get, post};
#[cfg(feature = "python")]
pub use runner::{App, Host, Pending};
pub use sink::{CapturingLog, CapturingSink, Client};
pub use stamps::Stamps;
pub use validator::Violation;
pub use waiting::{PATIENCE, wait_for};

/// The host of the embedding guide, compiled and run with the documentation's tests.
#[cfg(all(doctest, feature = "python"))]
#[doc = include_str!("../../docs/embedding.md")]
pub struct EmbeddingGuide;
