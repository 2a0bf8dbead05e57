//! The host's error log.

/// A log that takes whole records, one line each, from any thread at any time.
pub trait ErrorLog: Send + Sync {
    /// Logs `text`, one line without control characters. The host splits a text that its log would truncate. Never blocks for
    /// long.
    fn log(&self, level: Level, text: &str);

    /// Whether so many lines are queued that a thread of an application should [wait](Self::wait_for_room) before it logs
    /// another one. Called after each record of text that comes from an application.
    fn is_full(&self) -> bool {
        false
    }

    /// Blocks until the log has room again, for a limited time. Called detached from Python. Also called at the end of
    /// [`Gateway::shutdown`](crate::python::Gateway::shutdown), because lines still queued then would be lost.
    fn wait_for_room(&self) {}
}

/// Severity of a log record, in nginx's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Details for debugging.
    Debug,
    /// Part of normal operation, e.g. a client that left.
    Info,
    /// A notable event, e.g. an application was loaded.
    Notice,
    /// A problem that does not stop anything from working.
    Warn,
    /// A request failed.
    Error,
    /// The worker is impaired.
    Crit,
    /// A defect in the gateway itself.
    Alert,
    /// Nothing can be served.
    Emerg,
}

impl Level {
    /// Returns the name that nginx writes in its log, e.g. `warn`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Crit => "crit",
            Self::Alert => "alert",
            Self::Emerg => "emerg",
        }
    }
}
