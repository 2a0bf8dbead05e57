//! The process with the free permit: runs the application, and sends its response over the stream.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::net::{RecvFlags, recv};

use super::events::{Event, Lines, Notify};
use crate::error::HostError;
use crate::host::{ApplicationFile, BodySource, ErrorLog, HostParts, Level, RequestSnapshot, RequestView as _};
use crate::protocol::head::ResponseHead;
use crate::protocol::response::Framing;
use crate::protocol::transfer::{Message, Outcome, PIECE};
use crate::python::application::location::Location;
use crate::python::process::couriers::{Stream, Work};
use crate::python::process::gateway::Gateway;
use crate::python::process::handle::ExchangeHandle;
use crate::relay::{Closed, Demand, Part, ROOM, Relay, RelaySink, relay};

/// Makes the host's objects for a request of another process: the response goes to the relay, lines go to the log.
pub type PartsForTransfer = Box<dyn FnOnce(RelaySink, Arc<dyn ErrorLog>, &Arc<Location>) -> HostParts + Send>;

/// A request of another process.
pub(super) struct Receiving {
    gateway: &'static Gateway,
    locations: &'static [Arc<Location>],
    stream: Stream,
    parts: Option<PartsForTransfer>,
    /// Dropped when the request is over, or its client is gone.
    ended: Option<Ended>,
}

/// Calls a function when it is dropped.
pub(super) struct Ended(Option<Box<dyn FnOnce() + Send>>);

impl Ended {
    pub(super) fn new(ended: Box<dyn FnOnce() + Send>) -> Self {
        Self(Some(ended))
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(ended) = self.0.take() {
            ended();
        }
    }
}

/// The response of the application.
struct Answer {
    response: Relay,
    handle: ExchangeHandle,
    waker: Arc<Notify>,
    lines: Arc<Lines>,
    events: Receiver<Event>,
    /// Unknown before the head was sent.
    demand: Option<Demand>,
    outcome: Option<Outcome>,
    /// The time until which lines of a cancelled request are sent.
    cancelled: Option<Instant>,
    /// Whether the body is one block that must stay whole.
    is_whole: bool,
}

/// How often the thread looks whether the client is gone, while nothing else happens.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long the last lines of a cancelled request are sent. Later ones go to the log of this process.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The largest block that is sent whole if that is necessary.
const LARGEST_WHOLE: u64 = 32 << 20;

impl Answer {
    fn cancel(&mut self) {
        self.handle.cancel();
        self.response.close(Closed::Gone);
        self.cancelled.get_or_insert_with(|| Instant::now() + LAST_LINES);
    }

    /// Blocks until something happens. `None` if it is time to look whether the client is gone.
    fn next(&self) -> Option<Event> {
        self.events.recv_timeout(LOOK_INTERVAL).ok()
    }

    /// Whether no more lines are sent.
    fn is_abandoned(&self) -> bool {
        self.cancelled.is_some_and(|until| Instant::now() >= until)
    }
}

impl Work for Receiving {
    fn run(mut self: Box<Self>) {
        if self.stream.send(&Message::Ready).is_err() {
            return;
        }
        let answer = match self.stream.receive() {
            Ok(Message::Request(location, request, body)) => self.begin(location, request, body),
            _ => None,
        };
        let Some(mut answer) = answer else {
            // The other process has ended if this fails.
            let _ = self.stream.send(&Message::Refused);
            return;
        };
        if self.stream.send(&Message::Accepted).is_err() {
            answer.cancel();
        }
        while answer.outcome.is_none() && !answer.is_abandoned() {
            if self.send(&mut answer).is_err() {
                answer.cancel();
            }
            if answer.cancelled.is_some() {
                // The worker may end, as after the end of a client of its own.
                self.ended = None;
            }
        }
        // As above.
        let _ = self.stream.send(&Message::Over(answer.outcome.unwrap_or(Outcome::Cancelled)));
        for event in answer.events.try_iter() {
            if let Event::Line(level, text) = event {
                answer.lines.log_later(level, &text);
            }
        }
    }
}

impl Receiving {
    pub(super) fn new(
        gateway: &'static Gateway,
        locations: &'static [Arc<Location>],
        stream: Stream,
        parts: PartsForTransfer,
        ended: Ended,
    ) -> Self {
        Self { gateway, locations, stream, parts: Some(parts), ended: Some(ended) }
    }

    /// Passes the request to the pool. `None` if that is not possible.
    fn begin(&mut self, location: u64, request: RequestSnapshot, body: Option<Vec<u8>>) -> Option<Answer> {
        let location = self.locations.get(usize::try_from(location).ok()?)?;
        let (sink, response) = relay(ROOM);
        // The answer depends on the head.
        let asks = request.headers().any(|field| is_condition(field.name));
        if asks {
            response.ask_after_head();
        }
        let demand = (!asks).then_some(Demand::Open);
        let (sender, events) = channel();
        let waker = Arc::new(Notify(sender.clone()));
        response.report(demand, Waker::from(Arc::clone(&waker)));
        let lines = Arc::new(Lines::new(sender.clone(), self.gateway.log().clone()));
        let log: Arc<dyn ErrorLog> = Arc::clone(&lines) as _;
        let body = body.map(|bytes| Box::new(Body { bytes: bytes.into(), at: 0 }) as Box<dyn BodySource>);
        let parts = self.parts.take()?(sink, log, location).body(body).done(move |result| {
            // The thread has ended if this fails.
            let _ = sender.send(Event::Over(Outcome::of(&result)));
        });
        let handle = self.gateway.dispatch_first(location, request, parts).ok()?;
        Some(Answer { response, handle, waker, lines, events, demand, outcome: None, cancelled: None, is_whole: false })
    }

    fn send(&mut self, answer: &mut Answer) -> io::Result<()> {
        let event = answer.next();
        self.look(answer)?;
        match event {
            None => Ok(()),
            Some(Event::Parts) => self.send_parts(answer),
            Some(Event::Line(level, text)) => self.send_line(answer, level, text),
            Some(Event::Over(outcome)) => {
                answer.outcome = Some(outcome);
                // The last parts may have come without an event.
                self.send_parts(answer)
            }
        }
    }

    fn send_line(&mut self, answer: &Answer, level: Level, text: String) -> io::Result<()> {
        answer.lines.sent(text.len());
        let line = Message::Line(level, text);
        self.stream.send(&line).inspect_err(|_| {
            if let Message::Line(level, text) = &line {
                answer.lines.log_later(*level, text);
            }
        })
    }

    /// Sends the parts that have come.
    fn send_parts(&mut self, answer: &mut Answer) -> io::Result<()> {
        for part in answer.response.take_all() {
            match part {
                Part::Head(head) => self.send_head(answer, head)?,
                Part::Block { data, flush } => self.send_block(answer, data, flush)?,
                Part::File { part, flush } => self.send_block(answer, part.map()?, flush)?,
                Part::ApplicationFile { part, flush } => self.send_file(answer, part, flush)?,
                Part::Flush => self.stream.send(&Message::Flush)?,
                Part::End => self.send_end(answer, Message::End)?,
                Part::Failed(status) => self.send_end(answer, Message::Failed(status))?,
            }
        }
        answer.response.report(answer.demand, Waker::from(Arc::clone(&answer.waker)));
        Ok(())
    }

    fn send_head(&mut self, answer: &mut Answer, mut head: ResponseHead) -> io::Result<()> {
        head.single_block &= matches!(head.framing, Framing::Length(length) if length <= LARGEST_WHOLE);
        answer.is_whole = head.single_block;
        self.stream.send(&Message::Head(head))?;
        if answer.demand.is_none() {
            let Message::Interest(is_wanted) = self.stream.receive()? else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            answer.demand = Some(if is_wanted { Demand::Open } else { Demand::Unwanted });
        }
        Ok(())
    }

    fn send_block(&mut self, answer: &Answer, mut data: Bytes, flush: bool) -> io::Result<()> {
        while data.len() > PIECE && !answer.is_whole {
            self.stream.send(&Message::Block(data.split_to(PIECE), false))?;
        }
        self.stream.send(&Message::Block(data, flush))
    }

    /// Sends a file of the application in blocks. Blocks for the disk, but not in the thread of the application.
    fn send_file(&mut self, answer: &Answer, mut part: ApplicationFile, flush: bool) -> io::Result<()> {
        let limit = if answer.is_whole { usize::MAX } else { PIECE };
        while part.len > 0 {
            let block = part.read(limit)?;
            self.send_block(answer, block, flush && part.len == 0)?;
        }
        Ok(())
    }

    /// Sends the lines that were logged before the end of the response, and the end.
    fn send_end(&mut self, answer: &mut Answer, end: Message) -> io::Result<()> {
        while let Ok(event) = answer.events.try_recv() {
            match event {
                Event::Parts => {}
                Event::Line(level, text) => self.send_line(answer, level, text)?,
                Event::Over(outcome) => answer.outcome = Some(outcome),
            }
        }
        self.stream.send(&end)
    }

    /// Looks whether the other process still wants the body. An error, or the end of the stream, means that the client is gone.
    fn look(&mut self, answer: &mut Answer) -> io::Result<()> {
        match recv(&*self.stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
            Ok((_, 0)) => answer.cancel(),
            Ok(_) => {
                if let Message::Interest(false) = self.stream.receive()? {
                    answer.response.close(Closed::Satisfied);
                }
            }
        }
        Ok(())
    }
}

/// Whether the header may make the other process answer without the body.
fn is_condition(name: &[u8]) -> bool {
    name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"if-")) || name.eq_ignore_ascii_case(b"range")
}

/// The body of a received request.
struct Body {
    bytes: Bytes,
    at: usize,
}

impl BodySource for Body {
    fn remaining(&self) -> Option<u64> {
        Some((self.bytes.len() - self.at) as u64)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, HostError> {
        let rest = &self.bytes[self.at..];
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn length(&self) -> Option<u64> {
        Some(self.bytes.len() as u64)
    }

    fn seek(&mut self, position: u64) {
        self.at = usize::try_from(position).map_or(self.bytes.len(), |at| at.min(self.bytes.len()));
    }
}
