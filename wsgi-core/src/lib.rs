//! A WSGI gateway (PEP 3333) that depends on no server: it turns requests into `environ`, calls a Python application,
//! and pushes the response into a sink.
//!
//! A server embeds it by implementing the traits of [`host`]: [`RequestView`](host::RequestView) for a request,
//! [`BodySource`](host::BodySource) for its body, [`ResponseSink`](host::ResponseSink) for the response and
//! [`ErrorLog`](host::ErrorLog) for log lines. The gateway's side of these traits implements all rules of WSGI.
//! Applications run on a bounded pool of threads, or inline on the thread of an event loop; CPython is embedded.
//!
//! The protocol consists of plain data and state machines, without I/O and without Python (turn the feature `python`
//! off):
//!
//! ```
//! use wsgi_core::host::{Framing, HeaderList, StatusLine};
//! use wsgi_core::protocol::{HeadAt, Response};
//!
//! // The arguments of start_response(). Values that cannot be sent are rejected here.
//! let status = StatusLine::parse(b"200 OK").expect("a status");
//! let mut headers = HeaderList::new();
//! headers.push(b"Content-Type", b"text/plain").expect("a header");
//! assert!(headers.push(b"X-Bad", b"a\r\nb").unwrap_err().to_string().contains("control character"));
//!
//! // The state machine decides which head and how many bytes are sent.
//! let mut response = Response::new(false, HeadAt::FirstBlock);
//! response.start(status, headers, false)?;
//! assert!(response.item(0)?.head.is_none(), "an empty block does not commit the head");
//! let accepted = response.item(5)?;
//! assert_eq!(accepted.head.expect("now it does").framing, Framing::Unknown);
//! assert_eq!(accepted.take, 5);
//! response.end()?;
//! # Ok::<(), wsgi_core::error::ProtocolError>(())
//! ```
//!
//! With Python, start at `python::Gateway`. The guide to embedding shows a complete host on one page. `wsgi-hyper` is a
//! host for hyper, tower and axum; `wsgi-testkit` is a host for tests, with a conformance suite for other hosts.
//!
//! # Stability
//!
//! [`config`], [`error`], [`host`], `http1`, `python` and [`relay`] are the API for hosts: they change incompatibly only with
//! a new major version (before 1.0: a new minor version). The machines in [`protocol`] may change in any minor version (before
//! 1.0: any version); [`host`] re-exports their types that appear in its traits.
#![deny(missing_docs, unsafe_code)]

pub mod config;
pub mod error;
mod error_log;
mod failpoint;
pub mod host;
#[cfg(feature = "http1")]
pub mod http1;
#[doc(hidden)]
pub mod internal;
mod lock;
pub mod protocol;
#[cfg(feature = "python")]
#[allow(unsafe_code, reason = "CPython is C; the fence is around this module")]
pub mod python;
pub mod relay;
