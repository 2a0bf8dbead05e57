//! The host's error log.

/// A log that takes whole records, one line each, from any thread and at any time.
pub trait ErrorLog: Send + Sync {
    /// Logs `text`: one line without control characters. The host splits what its log would cut. Never blocks for long.
    fn log(&self, level: Level, text: &str);

    /// Whether so many lines wait to be written that a thread of an application should [wait](Self::wait_for_room) before it
    /// writes another one. Asked after each record of a text that applications decide about.
    fn is_full(&self) -> bool {
        false
    }

    /// Blocks until lines can be taken again, for a limited time. Called detached from Python. At the end of
    /// [`Gateway::shutdown`](crate::python::Gateway::shutdown) as well, for what waits then would be lost.
    fn wait_for_room(&self) {}
}

/// Severity of a log record, in nginx's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the curious.
    Debug,
    /// Part of normal operation, e.g. a client that left.
    Info,
    /// Worth knowing, e.g. an application was loaded.
    Notice,
    /// Something is odd and works nevertheless.
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
    /// As nginx writes it in its log: `"warn"`.
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
