//! The process with the client: sends the request, and feeds the sink with the response.

use std::io;
use std::net::Shutdown;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::error::{Fault, HostError};
use crate::host::{BodyInterest, COPY_LIMIT, Chunk, Done, Flush, Level, RequestSnapshot, ResponseSink, Summary};
use crate::protocol::transfer::{Message, Outcome, write_request};
use crate::python::exchange::cell::ExchangeCell;
use crate::python::process::couriers::{Stream, Work};
use crate::python::process::handle::ExchangeHandle;
use crate::python::process::job::{Job, Step};
use crate::relay::Parker;

/// How long this process waits for the other one to receive a request. A process that was killed meanwhile never does.
const RECEIPT_TIMEOUT: Duration = Duration::from_millis(250);

/// A request whose response comes from another process.
pub(super) struct Sending {
    location: u64,
    /// `None` when the other process has begun.
    request: Option<RequestSnapshot>,
    cell: Arc<ExchangeCell>,
    handle: ExchangeHandle,
    done: Option<Done>,
    stream: Arc<Stream>,
    /// Wakes the thread that waits for the sink.
    parker: Arc<Parker>,
}

impl Work for Sending {
    fn run(mut self: Box<Self>) {
        if !self.send() {
            return self.stay();
        }
        self.request = None;
        self.cell.begin();
        let Some(mut sink) = self.cell.take_sink() else { return };
        let (cell, parker) = (Arc::clone(&self.cell), Arc::clone(&self.parker));
        let mut response = Response {
            cell: &cell,
            parker: &parker,
            sink: &mut *sink,
            stage: Stage::Open(None),
            summary: Summary { status: 0, body_bytes: 0 },
        };
        let result = self.receive(&mut response);
        if let Err(fault) = &result {
            response.fail(fault);
        }
        drop(sink);
        if let Some(done) = self.done.take() {
            done(result);
        }
    }

    fn refused(self: Box<Self>) {
        self.stay();
    }
}

impl Sending {
    pub(super) fn new(
        location: u64,
        request: RequestSnapshot,
        handle: ExchangeHandle,
        done: Option<Done>,
        stream: Stream,
    ) -> Self {
        let cell = Arc::clone(&handle.cell);
        Self { location, request: Some(request), cell, handle, done, stream: Arc::new(stream), parker: Arc::default() }
    }

    /// Sends the request. Returns false if the other process has not accepted it.
    fn send(&mut self) -> bool {
        if !matches!(self.wait_for_receiver(), Ok(Message::Ready)) {
            return false;
        }
        let (Ok(body), Some(request)) = (self.cell.copy_body(), &self.request) else { return false };
        let canceller = Canceller { stream: Arc::downgrade(&self.stream), parker: Arc::clone(&self.parker) };
        self.cell.wait_with(&Waker::from(Arc::new(canceller)));
        if self.cell.is_cancelled()
            || write_request(self.location, request, body.as_deref(), &mut &**self.stream).is_err()
        {
            return false;
        }
        // After an error it may have called the application.
        !matches!(self.stream.receive(), Ok(Message::Refused))
    }

    /// Blocks until the other process has received the stream, for a limited time.
    fn wait_for_receiver(&self) -> io::Result<Message> {
        self.stream.set_read_timeout(Some(RECEIPT_TIMEOUT))?;
        let message = self.stream.receive()?;
        self.stream.set_read_timeout(None)?;
        Ok(message)
    }

    /// Gives the request its place in the queue again.
    fn stay(mut self: Box<Self>) {
        let (Some(request), Some(pool)) = (self.request.take(), &self.handle.engine.pool) else { return };
        let step = Step::Begin { request, cell: Arc::clone(&self.cell) };
        let job = Job { step, done: self.done.take(), streams: false };
        self.cell.set_moving(false);
        // Refused at shutdown only. The dropped job then cancels the exchange.
        drop(pool.put_back(job, self.handle.ticket));
        // It may have been cancelled while it was in no queue.
        if self.cell.is_cancelled() {
            drop(pool.withdraw(self.handle.ticket));
        }
    }

    /// Feeds the sink until the other process has ended the request.
    fn receive(&mut self, response: &mut Response<'_>) -> Result<Summary, Fault> {
        let mut failure = None;
        loop {
            match self.stream.receive() {
                Ok(Message::Line(level, text)) => {
                    self.cell.log.forward(level, &text);
                    self.cell.log.flush();
                }
                Ok(Message::Over(outcome)) => return failure.map_or_else(|| response.result(outcome), Err),
                Ok(message) => match response.take(message) {
                    Ok(None) => {}
                    // The other process has ended if this fails, and the next message is an error.
                    Ok(Some(is_wanted)) => _ = self.stream.send(&Message::Interest(is_wanted)),
                    Err(fault) => {
                        cancel(&self.stream);
                        if let Fault::Host(error) = &fault {
                            let name = self.cell.location.target();
                            self.cell.log.log(fault.level(), &format!("response of {name} not sent: {error}"));
                        }
                        response.fail(&fault);
                        failure = Some(fault);
                    }
                },
                Err(_) if failure.is_some() || self.cell.is_cancelled() => {
                    return Err(failure.unwrap_or(Fault::Cancelled));
                }
                // The client has the whole response.
                Err(_) if response.stage == Stage::Over => return Ok(response.summary),
                Err(_) => {
                    self.cell.log.log(Level::Error, "the process that answered this request has ended");
                    return Err(Fault::Application);
                }
            }
        }
    }
}

/// After a panic: the exchange ends, and its owner gets to know.
impl Drop for Sending {
    fn drop(&mut self) {
        if self.request.is_some() || self.done.is_some() {
            self.cell.abandon(Some(&Fault::Application));
        }
        if let Some(done) = self.done.take() {
            done(Err(Fault::Application));
        }
    }
}

/// The response so far.
struct Response<'a> {
    cell: &'a ExchangeCell,
    parker: &'a Arc<Parker>,
    sink: &'a mut dyn ResponseSink,
    stage: Stage,
    summary: Summary,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Whether the sink wants a body is known after the head.
    Open(Option<BodyInterest>),
    Over,
}

impl Response<'_> {
    /// Passes a part to the sink. Returns whether the sink wants a body when that becomes known or changes.
    fn take(&mut self, message: Message) -> Result<Option<bool>, Fault> {
        let Stage::Open(interest) = self.stage else { return Ok(None) };
        match message {
            Message::Head(head) => {
                self.summary.status = head.status.code().as_u16();
                self.sink.send_head(head)?;
                return self.ask().map(Some);
            }
            Message::Block(data, flush) if interest == Some(BodyInterest::Wanted) => {
                if !self.ask()? {
                    // The client has all of the response that it asked for.
                    self.end()?;
                    return Ok(Some(false));
                }
                self.summary.body_bytes += data.len() as u64;
                let chunk = if data.len() <= COPY_LIMIT { Chunk::Borrowed(&data) } else { Chunk::Owned(data.clone()) };
                self.sink.send(chunk, if flush { Flush::Now } else { Flush::Later })?;
            }
            Message::Flush => self.sink.flush()?,
            Message::End => self.end()?,
            Message::Failed(status) => {
                self.fail(if status.is_some() { &Fault::Application } else { &Fault::Cancelled });
            }
            _ => {}
        }
        Ok(None)
    }

    /// Ends a response that is not over.
    fn fail(&mut self, fault: &Fault) {
        if self.stage != Stage::Over {
            self.stage = Stage::Over;
            self.sink.fail(fault);
        }
    }

    fn end(&mut self) -> Result<(), HostError> {
        self.stage = Stage::Over;
        self.sink.finish()
    }

    /// Blocks until the sink takes a block. Returns whether it wants one.
    fn ask(&mut self) -> Result<bool, Fault> {
        let waker = Waker::from(Arc::clone(self.parker));
        loop {
            if self.cell.is_cancelled() {
                return Err(Fault::Cancelled);
            }
            if let Poll::Ready(interest) = self.sink.poll_ready(&mut Context::from_waker(&waker)) {
                let interest = interest?;
                self.stage = Stage::Open(Some(interest));
                return Ok(interest == BodyInterest::Wanted);
            }
            self.parker.park(Duration::MAX);
        }
    }

    fn result(&self, outcome: Outcome) -> Result<Summary, Fault> {
        match outcome {
            Outcome::Complete => Ok(self.summary),
            Outcome::Application => Err(Fault::Application),
            Outcome::NoPython => Err(Fault::NoPython),
            Outcome::Cancelled => Err(Fault::Cancelled),
        }
    }
}

/// Wakes the thread and informs the other process when the request is cancelled.
struct Canceller {
    stream: Weak<Stream>,
    parker: Arc<Parker>,
}

impl Wake for Canceller {
    fn wake(self: Arc<Self>) {
        if let Some(stream) = self.stream.upgrade() {
            cancel(&stream);
        }
        Arc::clone(&self.parker).wake();
    }
}

/// Ends the messages of this process. The other one cancels the request, and still sends its last lines.
fn cancel(stream: &Stream) {
    // Fails if the other process has ended.
    let _ = stream.shutdown(Shutdown::Write);
}
