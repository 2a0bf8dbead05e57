//! The machines that the gateway consists of: plain data, rules and state machines, without a server and without Python.
//!
//! They are public for gateways with another interpreter, for hosts that need one of the rules, and for fuzzing. They may
//! change in any minor version; types that hosts need are re-exported by [`host`](crate::host) and
//! [`config`](crate::config), and do not.

pub mod environ;
pub mod head;
pub mod input;
pub mod output;
pub mod pool;
pub mod record;
pub mod reload;
pub mod response;
