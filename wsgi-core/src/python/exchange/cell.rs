//! The state that the objects of one request share, and that outlives the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::Waker;

use super::reply::Reply;
use crate::error::{Fault, HostError};
use crate::host::{Level, ResponseSink};
use crate::lock::Leaf;
use crate::protocol::input::Input;
use crate::protocol::record::{LineBuffer, Log};
use crate::protocol::response::Response;
use crate::python::application::location::Location;
use crate::python::attach::forked::is_forked;
use crate::python::attach::interpreter::Interpreter;
use crate::python::attach::lock::{Part, PartGuard, UnderWay};
use crate::python::attach::thread::this_thread;
use crate::python::attach::token::Token;
use crate::python::objects::raise::{Raised, runtime_error};

/// The reference-counted state behind `start_response`, `write`, `wsgi.input` and `wsgi.errors`.
///
/// Each part has its lock, because an application may log in one thread while another waits for input. The host's sink,
/// body and log are called with the lock of their part held.
pub(crate) struct ExchangeCell {
    pub(crate) interpreter: &'static Interpreter,
    pub(crate) location: Arc<Location>,
    pub(crate) log: Log,
    live: AtomicBool,
    cancelled: AtomicBool,
    /// Whether the exchange has begun, or is in no queue for another reason: [`QUEUED`], [`MOVING`] or [`BEGUN`].
    place: AtomicU8,
    has_input: bool,
    reply: Part<Reply>,
    input: Part<Option<Input>>,
    errors: Part<LineBuffer>,
    /// Whether `errors` was ever locked, and may have an incomplete line.
    has_errors: AtomicBool,
    waker: Leaf<Option<Waker>>,
}

/// The exchange waits for a permit.
const QUEUED: u8 = 0;
/// Another process has been asked to begin the exchange.
const MOVING: u8 = 1;
const BEGUN: u8 = 2;

impl ExchangeCell {
    pub(crate) fn new(
        interpreter: &'static Interpreter,
        location: Arc<Location>,
        log: Log,
        response: Response,
        sink: Box<dyn ResponseSink>,
        input: Option<Input>,
    ) -> Self {
        Self {
            interpreter,
            location,
            log,
            live: AtomicBool::new(true),
            cancelled: AtomicBool::new(false),
            place: AtomicU8::new(QUEUED),
            has_input: input.is_some(),
            reply: Part::new(Reply::new(response, sink)),
            input: Part::new(input),
            errors: Part::new(LineBuffer::new()),
            has_errors: AtomicBool::new(false),
            waker: Leaf::new(None),
        }
    }

    /// Refuses calls after the end of the request and in forked processes, and with inline execution also calls on
    /// other threads: the host's objects belong to one thread.
    pub(crate) fn check(&self, token: Token<'_>, what: &str) -> Result<(), Raised> {
        if !self.live.load(Ordering::Acquire) {
            return Err(runtime_error(token, &format!("{what}: the request is over")));
        }
        if is_forked() {
            let reason = "this process was forked by the application; only its parent process can answer the request";
            return Err(runtime_error(token, &format!("{what}: {reason}")));
        }
        if let Some(thread) = self.interpreter.inline_thread
            && thread != this_thread()
        {
            return Err(runtime_error(
                token,
                &format!("{what}: with inline execution only the thread that runs the application may call this"),
            ));
        }
        Ok(())
    }

    /// Locks the response side.
    #[inline]
    pub(crate) fn reply(&self, token: Token<'_>) -> Result<PartGuard<'_, Reply>, UnderWay> {
        self.reply.lock(token)
    }

    /// Locks the request body.
    #[inline]
    pub(crate) fn input(&self, token: Token<'_>) -> Result<PartGuard<'_, Option<Input>>, UnderWay> {
        self.input.lock(token)
    }

    /// Locks the incomplete line of `wsgi.errors`.
    pub(crate) fn errors(&self, token: Token<'_>) -> Result<PartGuard<'_, LineBuffer>, UnderWay> {
        self.has_errors.store(true, Ordering::Release);
        self.errors.lock(token)
    }

    /// Ends the request for all objects that share the cell. The sink gets `fault`, if there is one, and is dropped.
    ///
    /// A part that is locked by a call further up on the stack of this thread is dropped with the cell: the host or a
    /// switch of stacks has ended the exchange within that call.
    pub(crate) fn expire(&self, token: Token<'_>, fault: Option<&Fault>) {
        self.live.store(false, Ordering::Release);
        if self.has_errors.load(Ordering::Acquire)
            && let Ok(mut errors) = self.errors(token)
        {
            self.log.finish(Level::Error, &mut errors);
        }
        let mut sink = self.reply(token).ok().and_then(|mut reply| reply.sink.take());
        let input = if self.has_input { self.input(token).ok().and_then(|mut input| input.take()) } else { None };
        fail(&mut sink, fault);
        drop((sink, input));
    }

    /// Returns the body, whose length is known, for an exchange that has not begun and has left the queue.
    pub(crate) fn copy_body(&self) -> Result<Option<Vec<u8>>, HostError> {
        self.input.lock_alone().as_mut().map(Input::copy).transpose()
    }

    /// Takes the sink of an exchange that will not begin here.
    pub(crate) fn take_sink(&self) -> Option<Box<dyn ResponseSink>> {
        self.live.store(false, Ordering::Release);
        drop(self.input.lock_alone().take());
        self.reply.lock_alone().sink.take()
    }

    /// Like `expire`, for an exchange that never began: no Python object points to the cell yet.
    pub(crate) fn abandon(&self, fault: Option<&Fault>) {
        self.live.store(false, Ordering::Release);
        let mut sink = self.reply.lock_alone().sink.take();
        let input = self.input.lock_alone().take();
        fail(&mut sink, fault);
        drop((sink, input));
    }

    /// Records that the exchange has left the queue.
    pub(crate) fn begin(&self) {
        self.place.store(BEGUN, Ordering::Relaxed);
    }

    /// Returns whether [`begin`](Self::begin) was called. Other threads may see that late: the queue is authoritative.
    pub(crate) fn has_begun(&self) -> bool {
        self.place.load(Ordering::Relaxed) == BEGUN
    }

    /// Records whether another process has been asked to begin the exchange.
    pub(crate) fn set_moving(&self, moving: bool) {
        self.place.store(if moving { MOVING } else { QUEUED }, Ordering::Relaxed);
    }

    pub(crate) fn is_moving(&self) -> bool {
        self.place.load(Ordering::Relaxed) == MOVING
    }

    /// Returns whether the request has a body.
    pub(crate) fn has_input(&self) -> bool {
        self.has_input
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Cancels the exchange. Called by the host on any thread, attached or not.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.replace(None) {
            waker.wake();
        }
    }

    /// Sets the waker for the case that the exchange is cancelled while it waits.
    pub(crate) fn wait_with(&self, waker: &Waker) {
        drop(self.waker.replace(Some(waker.clone())));
    }
}

#[inline]
fn fail(sink: &mut Option<Box<dyn ResponseSink>>, fault: Option<&Fault>) {
    if let (Some(sink), Some(fault)) = (sink, fault) {
        sink.fail(fault);
    }
}
