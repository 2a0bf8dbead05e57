//! WSGI applications (PEP 3333: Django, Flask...) as a [`Service`](tower_service::Service) for hyper, tower and axum.
//!
//! Requests run on the threads of a [`Gateway`](wsgi_core::python::Gateway), as in nginx: asynchronous tasks never
//! block on Python. Bodies stream in both directions, with backpressure.
//!
//! ```
//! use std::sync::Arc;
//!
//! use http_body_util::{BodyExt, Empty};
//! use tower::ServiceExt;
//! use wsgi_core::config::{Limits, Mode};
//! use wsgi_core::python::{Gateway, GatewaySettings, Location};
//! use wsgi_hyper::{StderrLog, WsgiService};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // An application in Python's standard library.
//!     let target = "wsgiref.simple_server:demo_app".parse()?;
//!
//!     // One gateway for the process: two requests may run Python at a time.
//!     let settings = GatewaySettings::new(Mode::Threads(Limits::new(2)));
//!     let gateway = Arc::new(Gateway::start(&settings, Arc::new(StderrLog::default()))?);
//!     // One service for each application.
//!     let service = WsgiService::new(&gateway, &Location::new(target));
//!
//!     let request = http::Request::get("/here").body(Empty::<bytes::Bytes>::new())?;
//!     let response = service.oneshot(request).await?;
//!     assert_eq!(response.status(), 200);
//!     let body = response.into_body().collect().await?.to_bytes();
//!     assert!(body.starts_with(b"Hello world!"));
//!
//!     // Last. Meanwhile tasks go on to read responses that applications still send.
//!     wsgi_hyper::shutdown(&gateway, std::time::Duration::from_secs(5)).await;
//!     Ok(())
//! }
//! ```
//!
//! In axum the service is mounted with `fallback_service`, or below a prefix:
//!
//! ```
//! # use std::sync::Arc;
//! # use wsgi_core::python::{Gateway, Location};
//! # use wsgi_hyper::WsgiService;
//! use axum::{Router, routing::get};
//!
//! fn router(gateway: &Arc<Gateway>, site: &Arc<Location>) -> Router {
//!     let site = WsgiService::builder(gateway, site).stripped_prefix("/site").build();
//!     Router::new().route("/health", get(|| async { "ok" })).nest_service("/site", site)
//! }
//! ```
//!
//! [`Connection`] explains how the addresses of a connection get into environ.
//!
//! # Linking
//!
//! The program must load the libpython that it was built for. It depends on `wsgi-core` directly, and `main` of its
//! `build.rs` records the folder:
//!
//! ```
//! if let Ok(folder) = std::env::var("DEP_WSGI_CORE_PYTHON_LIB_DIR") {
//!     println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
//! }
//! ```
//!
//! Otherwise the dynamic linker may load another libpython, and `Gateway::start` fails with
//! [`StartError::OtherInstallation`](wsgi_core::error::StartError::OtherInstallation).
//!
//! # Features
//!
//! The feature `server`, which is on by default, adds a `server::Server` for development and the program `wsgi-hyper`,
//! which uses it. A program with another server does not need it: `default-features = false`.
//!
//! # Differences from nginx
//!
//! - Names of response headers are sent in lower case, and headers of one name together, since `http` stores them so.
//!   In HTTP neither the case of names nor the order of headers with different names has a meaning.
//! - A request body of unknown length (chunked) is collected before the application is called, as in nginx
//!   ([`ServiceBuilder::collect_chunked_bodies`]).
//! - With a body of known length the application is called when the first part of the body has arrived; `wsgi.input`
//!   then has neither `seek` nor `tell`. While the application waits for more, another request has its permit. If the
//!   client disconnects in the middle of the body, reading raises `OSError`.
//! - A client that sends its body too slowly gets 408 ([`ServiceBuilder::body_rate`], [`ServiceBuilder::client_timeout`]). At
//!   most half of the threads wait for bodies.
//! - With `server::Server`, a client that closes its half of the connection after its request (`nc -N`) counts as
//!   disconnected, and gets only the part of the response that was sent before the server noticed. nginx with threads
//!   does the same. There is no other way to notice a disconnect while the application sends nothing; a streaming
//!   response would continue for such a client.
//! - The server around the service refuses malformed requests. `server::Server` is stricter than nginx, except for the
//!   size of bodies; `docs/conformance.md` has a list.
//! - `wsgi_allow_ranges` has no effect. The application handles conditional requests.
#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]

mod arrival;
mod blame;
mod body;
mod collected;
mod connection;
mod deadline;
mod file;
mod open;
mod request;
mod response;
#[cfg(feature = "server")]
pub mod server;
mod service;
mod shutdown;
mod sink;

pub use connection::Connection;
pub use response::{Cut, ResponseBody};
pub use service::{ResponseFuture, ServiceBuilder, WsgiService};
pub use shutdown::shutdown;
pub use wsgi_core::host::StderrLog;

/// For the fuzz targets of this repository. No part of the API: it may change at any time.
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod internal {
    pub use crate::server::memory::{Received, requests};
}
