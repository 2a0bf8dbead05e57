//! Writes lines to a pipe or a terminal on a separate thread, because such a write may block at any time.
//!
//! A write to standard error blocks until its reader reads: a pager, a terminal after Ctrl-S, a supervisor that has stopped.
//! So threads that serve requests never write themselves. Lines wait in a queue with a limit; lines beyond it are dropped and
//! counted.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar};
use std::thread::{self, Builder};
use std::time::Duration;

use crate::lock::{Leaf, LeafGuard};

/// Limit of the queued lines, in bytes.
const LIMIT: usize = 1024 * 1024;

/// Bytes that a line counts in addition to its text.
const LINE: usize = 64;

/// A reader that has read nothing for this long is taken as stopped. No thread waits for it until it reads again.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Up to this size, a write to a pipe is atomic (POSIX, PIPE_BUF of Linux), so that lines of other writers do not get in
/// between.
const PIECE: usize = 4096;

/// Interval between attempts to write to a full non-blocking descriptor.
const BUSY_INTERVAL: Duration = Duration::from_millis(10);

/// Writes lines in the order in which they were pushed. The first line starts its thread.
pub struct LineWriter {
    shared: Arc<Shared>,
    /// The process that created this. A forked process does not have the thread.
    process: u32,
}

type Write = Box<dyn Fn(&[u8]) -> io::Result<usize> + Send + Sync>;
type Lost = Box<dyn Fn(u64) -> Option<String> + Send + Sync>;

struct Shared {
    name: &'static str,
    /// As `write(2)`; may block.
    write: Write,
    /// Returns the text that replaces lines that were dropped.
    lost: Lost,
    state: Leaf<State>,
    /// Signalled when there are lines and the thread is idle.
    pushed: Condvar,
    /// Signalled when something was written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<String>,
    /// Size of the queued lines and of those being written.
    bytes: usize,
    lost: u64,
    /// Number of lines pushed, and below, of those written or discarded.
    come: u64,
    gone: u64,
    /// Number of writes so far.
    writes: u64,
    /// Whether the reader has stopped.
    stalled: bool,
    has_thread: bool,
    is_idle: bool,
}

impl LineWriter {
    /// `write` is as `write(2)` and may block. Once there is room again, `lost` is called with the number of lines dropped
    /// since the last time because the queue was full; its result is written in their place.
    pub fn new(
        name: &'static str,
        write: impl Fn(&[u8]) -> io::Result<usize> + Send + Sync + 'static,
        lost: impl Fn(u64) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared {
            name,
            write: Box::new(write),
            lost: Box::new(lost),
            state: Leaf::default(),
            pushed: Condvar::new(),
            written: Condvar::new(),
        };
        Self { shared: Arc::new(shared), process: std::process::id() }
    }

    /// Creates a writer for standard output.
    pub fn stdout(lost: impl Fn(u64) -> Option<String> + Send + Sync + 'static) -> Self {
        // Bypasses the lock of the standard library, which a blocked thread would hold.
        Self::new("wsgi-stdout", |bytes| Ok(rustix::io::write(io::stdout(), bytes)?), lost)
    }

    /// Creates a writer for standard error.
    pub fn stderr(lost: impl Fn(u64) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::new("wsgi-stderr", |bytes| Ok(rustix::io::write(io::stderr(), bytes)?), lost)
    }

    /// Adds a line, which must end with a line feed. Never blocks.
    pub fn push(&self, line: String) {
        if std::process::id() != self.process {
            return self.shared.write_all(line.as_bytes());
        }
        let mut line = Some(line);
        let (is_new, is_idle) = self.shared.state.with(|state| {
            let size = line.as_ref().map_or(0, |line| line.len() + LINE);
            if state.bytes + size > LIMIT {
                state.lost += 1;
                return (false, false);
            }
            state.bytes += size;
            state.come += 1;
            state.lines.extend(line.take());
            (!std::mem::replace(&mut state.has_thread, true), std::mem::take(&mut state.is_idle))
        });
        if is_new {
            self.start_thread();
        } else if is_idle {
            self.shared.pushed.notify_one();
        }
    }

    /// Whether lines are still to be written, and the reader has not stopped.
    pub fn is_behind(&self) -> bool {
        self.shared.state.with(|state| !state.stalled && state.gone < state.come) && std::process::id() == self.process
    }

    /// Blocks until all lines queued now are written, or their reader has read nothing for a second.
    pub fn wait(&self) {
        if std::process::id() != self.process {
            return;
        }
        let mut state = self.shared.state.lock();
        let wanted = state.come;
        while state.gone < wanted && !state.stalled {
            let writes = state.writes;
            let timed_out;
            (state, timed_out) = state.wait_timeout(&self.shared.written, STALL_TIMEOUT);
            if timed_out && state.writes == writes {
                state.stalled = true;
                self.shared.written.notify_all();
            }
        }
    }

    #[cold]
    fn start_thread(&self) {
        let shared = Arc::clone(&self.shared);
        let started = Builder::new().name(self.shared.name.to_owned()).spawn(move || shared.serve());
        if started.is_err() {
            // Without a thread, the caller writes. The next line tries again to start one.
            let lines = self.shared.state.with(|state| {
                state.has_thread = false;
                state.gone = state.come;
                state.bytes = 0;
                std::mem::take(&mut state.lines)
            });
            lines.iter().for_each(|line| self.shared.write_all(line.as_bytes()));
        }
    }
}

impl std::fmt::Debug for LineWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LineWriter").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl Shared {
    /// Writes lines until the process ends; the body of the thread.
    fn serve(&self) {
        let (mut piece, mut lines) = (String::new(), 0);
        loop {
            let lost = self.take(&mut piece, &mut lines);
            self.write_all(piece.as_bytes());
            let size = piece.len() + lines as usize * LINE;
            self.state.with(|state| {
                state.bytes -= size;
                state.gone += lines;
            });
            self.written.notify_all();
            if lost > 0
                && let Some(line) = (self.lost)(lost)
            {
                self.write_all(line.as_bytes());
            }
        }
    }

    /// Blocks until there are lines, and takes as many as fit into one piece. Returns the number of lines dropped after them.
    fn take(&self, piece: &mut String, lines: &mut u64) -> u64 {
        piece.clear();
        *lines = 0;
        let mut state: LeafGuard<'_, State> = self.state.lock();
        while state.lines.is_empty() {
            state.is_idle = true;
            state = state.wait(&self.pushed);
        }
        state.is_idle = false;
        while let Some(line) = state.lines.front()
            && (piece.is_empty() || piece.len() + line.len() <= PIECE)
        {
            piece.push_str(line);
            *lines += 1;
            state.lines.pop_front();
        }
        if state.lines.is_empty() { std::mem::take(&mut state.lost) } else { 0 }
    }

    fn write_all(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let piece = &bytes[..bytes.len().min(PIECE)];
            match (self.write)(piece) {
                Ok(count) if count > 0 => bytes = &bytes[count.min(bytes.len())..],
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(BUSY_INTERVAL);
                    continue;
                }
                // The reader has gone; that cannot be reported either.
                _ => return,
            }
            self.state.with(|state| {
                state.writes += 1;
                state.stalled = false;
            });
            self.written.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// A writer whose reader takes one piece for each permission, and reports it.
    fn gated() -> (Arc<LineWriter>, Sender<()>, Receiver<String>) {
        let ((permit, permitted), (tell, taken)) = (channel(), channel());
        let permitted = std::sync::Mutex::new(permitted);
        let write = move |bytes: &[u8]| {
            if permitted.lock().unwrap().recv().is_err() {
                return Err(ErrorKind::BrokenPipe.into());
            }
            let _ = tell.send(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        };
        (Arc::new(LineWriter::new("gated", write, |lost| Some(format!("{lost} lost\n")))), permit, taken)
    }

    fn taken(receiver: &Receiver<String>) -> String {
        receiver.recv_timeout(LONG).expect("a piece")
    }

    #[test]
    fn lines_are_written_in_order_and_in_pieces_that_a_pipe_takes_as_a_whole() {
        let (writer, permit, pieces) = gated();
        let lines: Vec<_> = (0..2000).map(|number| format!("line {number}\n")).collect();
        lines.iter().for_each(|line| writer.push(line.clone()));
        let mut all = String::new();
        while all.len() < lines.concat().len() {
            permit.send(()).unwrap();
            let piece = taken(&pieces);
            assert!(piece.len() <= PIECE && piece.ends_with('\n'));
            all.push_str(&piece);
        }
        assert_eq!(all, lines.concat());
        writer.wait();
        assert!(!writer.is_behind());
    }

    #[test]
    fn wait_returns_when_the_line_is_written() {
        let (writer, permit, pieces) = gated();
        writer.push("a\n".to_owned());
        assert!(writer.is_behind());
        let waiting = thread::spawn({
            let writer = Arc::clone(&writer);
            move || writer.wait()
        });
        permit.send(()).unwrap();
        assert_eq!(taken(&pieces), "a\n");
        waiting.join().unwrap();
        assert!(!writer.is_behind());
    }

    #[test]
    fn stopped_reader_is_waited_for_once_until_it_reads_again() {
        let (writer, permit, pieces) = gated();
        writer.push("a\n".to_owned());
        writer.wait();
        writer.push("b\n".to_owned());
        assert!(!writer.is_behind(), "nobody waits for it");
        (0..2).for_each(|_| permit.send(()).unwrap());
        assert_eq!([taken(&pieces), taken(&pieces)], ["a\n", "b\n"]);
        while writer.shared.state.with(|state| state.stalled || state.gone < 2) {
            thread::yield_now();
        }
        writer.push("c\n".to_owned());
        assert!(writer.is_behind());
        permit.send(()).unwrap();
        writer.wait();
        assert_eq!(taken(&pieces), "c\n");
    }

    #[test]
    fn lines_beyond_the_limit_are_counted_and_take_no_memory() {
        let (writer, permit, pieces) = gated();
        let line = "x".repeat(1000);
        (0..5000).for_each(|_| writer.push(format!("{line}\n")));
        assert!(writer.shared.state.with(|state| state.bytes) <= LIMIT);
        let (mut all, mut counted) = (0, None);
        while counted.is_none() {
            permit.send(()).unwrap();
            let piece = taken(&pieces);
            all += piece.matches(&line).count();
            counted = piece.strip_suffix(" lost\n").map(|count| count.parse::<usize>().unwrap());
        }
        assert_eq!(all + counted.unwrap(), 5000);
        assert!(all > 900, "{all}");
    }

    #[test]
    fn lines_for_a_closed_reader_are_dropped() {
        let (writer, permit, _pieces) = gated();
        drop(permit);
        writer.push("a\n".to_owned());
        writer.wait();
        assert!(!writer.is_behind());
        assert_eq!(writer.shared.state.with(|state| state.bytes), 0);
    }
}
