//! Embedded CPython: the half of the gateway that runs applications.
//!
//! This module calls CPython through `pyo3::ffi` alone. PyO3's safe API keeps state per process (an attach counter,
//! deferred reference counts, class objects, interned strings) and does not distinguish sub-interpreters. The gateway's
//! types are therefore heap types made in each interpreter, and references that are dropped on threads without the GIL
//! go to the release list of their interpreter.
//!
//! All unsafe code of the crate is here, except the file mapping in `protocol/output/spool.rs`.

// Floors, the lowest first: attach, objects, application, exchange, process. A file imports from its own floor and
// lower ones only (`scripts/check/floors.py`).
mod application;
mod attach;
mod exchange;
mod objects;
mod process;

pub use application::location::{Location, LocationBuilder};
pub use application::middleware::{Callable, Middleware, MiddlewareError, PythonMiddleware};
pub use attach::thread::Attached;
pub use exchange::Exchange;
pub use process::exit::exit_at_once;
pub use process::gateway::{Gateway, GatewaySettings, Refused};
pub use process::handle::ExchangeHandle;
pub use process::preflight::PythonSettings;
pub use process::transfer::PartsForTransfer;
