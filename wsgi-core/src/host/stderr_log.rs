//! The error log on standard error.

use std::sync::LazyLock;

use crate::error_log::{ErrorLog, Level};
use crate::host::line_writer::LineWriter;

/// A log on stderr, with one line for each record: `[error] text`.
///
/// Lines are written by a dedicated thread, see [`LineWriter`]. An application waits until its lines are written. If they are
/// not read, it waits for a second once; then up to a megabyte of lines is queued, and further ones are dropped and counted.
/// [`Gateway::shutdown`](crate::python::Gateway::shutdown) waits for the last ones.
#[derive(Clone, Copy, Debug)]
pub struct StderrLog {
    least: Level,
}

/// One writer for the process, as there is one standard error.
static WRITER: LazyLock<LineWriter> =
    LazyLock::new(|| LineWriter::stderr(|lost| Some(line(Level::Warn, &lost_text(lost)))));

fn lost_text(lost: u64) -> String {
    format!("{lost} lines of this log were dropped, because standard error was not read")
}

impl StderrLog {
    /// Creates a log of the records of level `least` and above.
    pub fn new(least: Level) -> Self {
        Self { least }
    }
}

/// Logs from [`Level::Notice`] up, so clients that leave are not mentioned.
impl Default for StderrLog {
    fn default() -> Self {
        Self::new(Level::Notice)
    }
}

impl ErrorLog for StderrLog {
    fn log(&self, level: Level, text: &str) {
        if level >= self.least {
            WRITER.push(line(level, text));
        }
    }

    /// Whether lines are queued. A queued line could be lost with the process, for instance by a crash in an extension.
    fn is_full(&self) -> bool {
        WRITER.is_behind()
    }

    fn wait_for_room(&self) {
        WRITER.wait();
    }
}

fn line(level: Level, text: &str) -> String {
    format!("[{}] {text}\n", level.name())
}
