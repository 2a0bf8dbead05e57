//! WSGI applications (PEP 3333: Django, Flask...) as a [`Service`](tower_service::Service) for hyper, tower and axum.
//!
//! Requests run on the threads of a [`Gateway`](wsgi_core::python::Gateway), the same as below nginx: nothing
//! asynchronous ever waits for Python. Bodies stream in both directions, and whoever is slow holds up the other side.
//!
//! ```
//! use std::sync::Arc;
//!
//! use http_body_util::{BodyExt, Empty};
//! use tower::ServiceExt;
//! use wsgi_core::pool::Limits;
//! use wsgi_core::python::{Gateway, GatewaySettings, Location, Mode};
//! use wsgi_hyper::{StderrLog, WsgiService};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // Python has this one in its standard library.
//!     let target = "wsgiref.simple_server:demo_app".parse()?;
//!
//!     // Once a process: two requests may run Python at a time.
//!     let settings = GatewaySettings::new(Mode::Threads(Limits::new(2)));
//!     let gateway = Arc::new(Gateway::start(&settings, Arc::new(StderrLog::default()))?);
//!     // Once for each application.
//!     let service = WsgiService::new(&gateway, &Location::new(target));
//!
//!     let request = http::Request::get("/here").body(Empty::<bytes::Bytes>::new())?;
//!     let response = service.oneshot(request).await?;
//!     assert_eq!(response.status(), 200);
//!     let body = response.into_body().collect().await?.to_bytes();
//!     assert!(body.starts_with(b"Hello world!"));
//!
//!     // Last. Tasks go on meanwhile, and take what applications still send.
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
//! [`Connection`] tells how the addresses of a connection get into environ. What `wsgi-core` says about
//! [linking](https://doc.rust-lang.org/cargo/reference/build-scripts.html#the-links-manifest-key) holds here as well: a
//! program that depends on `wsgi-core` directly is told the folder of libpython in its build script, in
//! `DEP_WSGI_CORE_PYTHON_LIB_DIR`.
//!
//! With the feature `server`, which is on by default, there are also a `server::Server` for development and
//! the program `wsgi-hyper` around it. A program with a server of its own does without: `default-features = false`.
//!
//! # What differs from nginx
//!
//! - Names of response headers are sent in lower case, and headers of one name together: that is how `http` keeps them.
//!   HTTP does not tell names by their case, nor by their order.
//! - A request body of unknown length (chunked) is collected before the application is called, as below nginx
//!   ([`ServiceBuilder::collect_chunked_bodies`]).
//! - With a body of known length the application is called when the first part of it has arrived; `wsgi.input` has neither
//!   `seek` nor `tell` then. While it waits for more, another request has its permit. A client that leaves in the middle of
//!   it is an `OSError` where the application reads.
//! - A client that sends its body too slowly gets 408 ([`ServiceBuilder::body_rate`], [`ServiceBuilder::patience`]). Half of
//!   the threads at most wait for bodies.
//! - With `server::Server`, a client that closes its half of the connection behind its request (`nc -N`) has left, and gets no
//!   answer that is not out before the end is seen. nginx with threads does the same. There is no other way to notice a client that leaves while its application is
//!   silent; a response that streams would go on for it.
//! - Malformed requests are refused by the server around the service. `server::Server` is stricter than nginx, but for the
//!   size of bodies; `docs/conformance.md` has a list.
//! - `wsgi_allow_ranges` has no effect. Conditional requests are the application's.
#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]

mod arrival;
mod blame;
mod body;
mod collected;
mod connection;
mod deadline;
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
pub use wsgi_core::stderr_log::StderrLog;
