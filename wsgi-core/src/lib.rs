//! A WSGI gateway (PEP 3333) that knows no server.
#![deny(unsafe_code)]

pub mod config;
pub mod environ;
pub mod error;
pub mod head;
pub mod host;
pub mod input;
pub mod output;
pub mod pool;
#[cfg(feature = "python")]
#[allow(unsafe_code, reason = "CPython is C; the fence is around this module")]
pub mod python;
pub mod record;
pub mod reload;
pub mod response;
pub mod snapshot;
