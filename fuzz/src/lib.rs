//! The code of each fuzz target. The targets in `fuzz_targets/` get their input from libFuzzer, `replay` from files.
//!
//! An input is text, split at [`SEPARATOR`], where the target reads text, and a row of numbers that choose operations where
//! it drives a state machine. Either way, a small mutation of the bytes is a small change of the input.

pub mod config;
pub mod connection;
mod decode;
pub mod environ;
pub mod framing;
pub mod head;
pub mod input;
pub mod path;
pub mod python;
pub mod ranges;
pub mod record;
pub mod response;
pub mod spool;

pub use decode::{Numbers, SEPARATOR, fields};

/// A target: its name, and the function that runs on an input and panics if a rule is broken.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("config", config::run),
    ("connection", connection::run),
    ("environ", environ::run),
    ("framing", framing::run),
    ("head", head::run),
    ("input", input::run),
    ("path", path::run),
    ("python", python::run),
    ("ranges", ranges::run),
    ("record", record::run),
    ("response", response::run),
    ("spool", spool::run),
];
