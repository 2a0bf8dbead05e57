//! What each fuzz target does with its input. The targets in `fuzz_targets/` hand it over from libFuzzer, `replay` from files.
//!
//! An input is text, split at [`SEPARATOR`], where the target reads text, and a row of numbers that choose operations where
//! it drives a state machine: what a mutation does to an input stays small either way.

mod decode;
pub mod head;
pub mod path;
pub mod record;

pub use decode::{Numbers, SEPARATOR, fields};

/// A target: its name, and what it does with an input. It panics where a rule is broken.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[("head", head::run), ("path", path::run), ("record", record::run)];
