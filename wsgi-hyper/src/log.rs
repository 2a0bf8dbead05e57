//! The error log on the terminal.

use std::io::Write as _;

use wsgi_core::host::{ErrorLog, Level};

/// A log on stderr, one line a record: `[error] text`.
#[derive(Clone, Copy, Debug)]
pub struct StderrLog {
    least: Level,
}

impl StderrLog {
    /// Records of this level and more severe ones are written.
    pub fn new(least: Level) -> Self {
        Self { least }
    }
}

/// Everything from [`Level::Notice`]: clients that leave are not mentioned.
impl Default for StderrLog {
    fn default() -> Self {
        Self::new(Level::Notice)
    }
}

impl ErrorLog for StderrLog {
    fn log(&self, level: Level, text: &str) {
        if level >= self.least {
            let line = format!("[{}] {text}\n", name(level));
            // Where nobody can read it, nothing can be said about that either.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }
}

/// As nginx names them.
fn name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Notice => "notice",
        Level::Warn => "warn",
        Level::Error => "error",
        Level::Crit => "crit",
        Level::Alert => "alert",
        Level::Emerg => "emerg",
    }
}
