//! WSGI applications and gateways, tested in the process of `cargo test`: no socket, no nginx, no sleeping.
//!
//! A test takes three lines. Requests are [`http::Request`]s, created by [`get`] and [`post`]; applications come from source
//! text, from a file or by a dotted name; the result is a [`Captured`].
//!
//! ```
//! use wsgi_testkit::{Host, get};
//!
//! let host = Host::shared();
//! let app = host.app("def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hi']\n");
//! assert_eq!(host.send(&app, get("/")).body(), b"hi");
//! ```
//!
//! Existing applications are named as for the server, and [`Host::start`] takes a virtual environment:
//!
//! ```
//! use wsgi_testkit::{Host, get};
//!
//! // A module of Python's standard library. A file would be "folder/app.py:application".
//! let app = Host::shared().named("wsgiref.simple_server:demo_app");
//! let response = Host::shared().send(&app, get("/?q=1"));
//! assert!(response.text().starts_with("Hello world!"));
//! ```
//!
//! # Recorded events
//!
//! A host sees more of an exchange than its client does. [`Captured::events`] has all of it, in order: the head, each block
//! with its flush mark, waits, log lines, the end. [`Captured::check`] checks them against the rules of PEP 3333 and HTTP.
//!
//! ```
//! use wsgi_core::host::{Flush, Level};
//! use wsgi_testkit::{Event, Host, get};
//!
//! let app = Host::shared().app("
//! def application(environ, start_response):
//!     start_response('200 OK', [('Content-Length', '3')])
//!     yield b'one'
//!     print('behind the last block')
//! ");
//! let response = Host::shared().send(&app, get("/"));
//! response.check();
//! // The end follows the block at once.
//! assert!(response.events().iter().any(|event| matches!(event, Event::Block(_, Flush::Later))));
//! assert_eq!((response.content_length(), response.text().as_str()), (Some(3), "one"));
//! assert!(response.log_text(Level::Notice).ends_with("behind the last block\n"));
//! ```
//!
//! # Faults
//!
//! [`Faults`] determines what fails in an exchange: the client leaves after some bytes, reads slowly, or a call of the
//! gateway to its host fails. [`Body`] determines how the request body arrives, [`FullDisk`] simulates a full disk, and
//! [`Stamps`] make a script appear changed.
//!
//! ```
//! use wsgi_testkit::{Faults, Host, get};
//!
//! let app = Host::shared().app("
//! class Result(list):
//!     def close(self): print('closed')
//! def application(environ, start_response):
//!     start_response('200 OK', [])
//!     return Result([b'one', b'two'])
//! ");
//! let faults = Faults { leaves_after: Some(3), ..Faults::default() };
//! let response = Host::shared().send_to(&app, get("/"), faults).finish();
//! assert!(!response.is_complete());
//! assert_eq!(response.log().filter(|line| line.text == "closed").count(), 1);
//! ```
//!
//! # Hosts
//!
//! A new host of the gateway is tested with [`conformance`], the clauses of PEP 3333 written once for all hosts; [`Program`]
//! starts a server for it, [`wire`] is a strict client, and a [`Gate`] stops an application at a chosen point.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod captured;
pub mod conformance;
mod environ;
mod faults;
mod figure;
mod gate;
mod process;
mod program;
mod request;
#[cfg(feature = "python")]
mod runner;
mod sink;
mod stamps;
#[cfg(feature = "python")]
mod transfers;
mod validator;
mod waiting;
pub mod wire;

pub use captured::{Captured, Event, LogLine};
pub use environ::{ENVIRON, Environ};
pub use faults::{Faults, FullDisk};
pub use figure::figure;
pub use gate::Gate;
pub use process::Process;
pub use program::{End, Program};
pub use request::{Body, Request, get, post};
#[cfg(feature = "python")]
pub use runner::{App, Host, Pending};
pub use sink::{CapturingLog, CapturingSink, Client};
pub use stamps::Stamps;
pub use validator::Violation;
pub use waiting::{WAIT_TIMEOUT, wait_for};

/// The host of the embedding guide, compiled and run with the documentation's tests.
#[cfg(all(doctest, feature = "python"))]
#[doc = include_str!("../../docs/embedding.md")]
pub struct EmbeddingGuide;
