//! CPython, embedded: the half of the gateway that runs applications.
//!
//! Everything here speaks to Python through `pyo3::ffi` alone. PyO3's own conveniences keep state for the whole process
//! (an attach counter, deferred reference counts, class objects, interned strings) that is blind to sub-interpreters;
//! our types are heap types made in each interpreter instead, and references that are dropped on threads without
//! Python go to a release list of their interpreter.
//!
//! All unsafe code of the crate is here, but for the one mapping of a file in `output/spool.rs`.

mod cell;
mod convert;
mod data;
mod environ;
mod exchange;
mod exit;
mod fault_stack;
mod forked;
mod freeze;
mod gateway;
#[cfg(not(Py_3_13))]
mod gil_switch;
mod handle;
mod heap_type;
mod home;
mod installation;
mod interpreter;
mod job;
mod libpython;
mod loader;
mod loading;
mod location;
mod lock;
mod method;
mod middleware;
mod preflight;
mod processes;
mod raise;
mod reply;
mod report;
mod runtime;
mod signals;
mod source;
mod start;
mod stdio;
mod subinterpreter;
mod text;
mod thread;
mod token;
mod types;

pub use exchange::Exchange;
pub use exit::exit_at_once;
pub use gateway::{Gateway, GatewaySettings, Refused};
pub use handle::ExchangeHandle;
pub use home::Mode;
pub use job::Done;
pub use loader::module_name;
pub use location::{Location, LocationBuilder};
pub use middleware::{Callable, Middleware, MiddlewareError, PythonMiddleware};
pub use preflight::PythonSettings;
pub use reply::Summary;
pub use thread::Attached;
#[cfg(debug_assertions)]
pub(crate) use thread::is_attached;
