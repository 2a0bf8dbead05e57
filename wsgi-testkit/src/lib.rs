//! In-process host.
