//! A WSGI gateway (PEP 3333) that knows no server.

pub mod config;
pub mod environ;
pub mod error;
pub mod head;
pub mod host;
pub mod input;
pub mod pool;
#[cfg(feature = "python")]
pub mod python;
pub mod record;
pub mod response;
pub mod snapshot;
