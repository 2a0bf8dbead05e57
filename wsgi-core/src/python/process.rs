//! Floor 5: Python in this process, from start to exit, and the threads that run applications.
//!
//! A [`Gateway`](gateway::Gateway) checks the installation (`preflight`), starts Python (`runtime`) and sets up an
//! interpreter (`start`). Each interpreter has an `engine`; with threads the engine has a pool, whose tasks are `job`s.
//! `exit` ends the interpreters.

mod couriers;
pub(crate) mod engine;
pub(crate) mod exit;
mod fault_stack;
pub(crate) mod gateway;
pub(crate) mod handle;
mod installation;
pub(crate) mod job;
mod libpython;
pub(crate) mod preflight;
mod processes;
mod runtime;
mod start;
mod subinterpreter;
pub(crate) mod transfer;
