//! What the objects of one request share, and what is left of it when the request is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use super::reply::Reply;
use crate::error::Fault;
use crate::host::{Level, ResponseSink};
use crate::input::Input;
use crate::lock::Leaf;
use crate::python::application::location::Location;
use crate::python::attach::forked::is_forked;
use crate::python::attach::interpreter::Interpreter;
use crate::python::attach::lock::{Part, PartGuard, UnderWay};
use crate::python::attach::thread::this_thread;
use crate::python::attach::token::Token;
use crate::python::objects::raise::{Raised, runtime_error};
use crate::record::{LineBuffer, Log};
use crate::response::Response;

/// The counted cell behind `start_response`, `write`, `wsgi.input` and `wsgi.errors`.
///
/// The parts are locked one by one, because an application may log in one thread while another waits for input. The
/// host's sink, body and log are called under the lock of their part.
pub(crate) struct ExchangeCell {
    pub(crate) interpreter: &'static Interpreter,
    pub(crate) location: Arc<Location>,
    pub(crate) log: Log,
    live: AtomicBool,
    cancelled: AtomicBool,
    /// A thread has taken it up, or nothing will.
    begun: AtomicBool,
    has_input: bool,
    reply: Part<Reply>,
    input: Part<Option<Input>>,
    errors: Part<LineBuffer>,
    /// Somebody has asked for `errors`.
    has_errors: AtomicBool,
    waker: Leaf<Option<Waker>>,
}

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
            begun: AtomicBool::new(false),
            has_input: input.is_some(),
            reply: Part::new(Reply::new(response, sink)),
            input: Part::new(input),
            errors: Part::new(LineBuffer::new()),
            has_errors: AtomicBool::new(false),
            waker: Leaf::new(None),
        }
    }

    /// Refuses late calls, and with inline execution those from other threads: the host's objects live on one.
    pub(crate) fn check(&self, token: Token<'_>, what: &str) -> Result<(), Raised> {
        if !self.live.load(Ordering::Acquire) {
            return Err(runtime_error(token, &format!("{what}: the request is over")));
        }
        if is_forked() {
            let reason = "this process was forked by the application, and only the one that has forked it answers";
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

    /// The response side.
    #[inline]
    pub(crate) fn reply(&self, token: Token<'_>) -> Result<PartGuard<'_, Reply>, UnderWay> {
        self.reply.lock(token)
    }

    /// The request body.
    #[inline]
    pub(crate) fn input(&self, token: Token<'_>) -> Result<PartGuard<'_, Option<Input>>, UnderWay> {
        self.input.lock(token)
    }

    /// `wsgi.errors`.
    pub(crate) fn errors(&self, token: Token<'_>) -> Result<PartGuard<'_, LineBuffer>, UnderWay> {
        self.has_errors.store(true, Ordering::Release);
        self.errors.lock(token)
    }

    /// Ends the life of everything that points here; the sink is given `fault`, if there is one, and dropped.
    ///
    /// A part that a call further up on the stack of this thread holds is dropped with the cell: the host or a change of
    /// stacks has ended the exchange from within that call.
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

    /// As `expire`, for an exchange that never began: nothing of Python points here yet.
    pub(crate) fn abandon(&self, fault: Option<&Fault>) {
        self.live.store(false, Ordering::Release);
        let mut sink = self.reply.lock_alone().sink.take();
        let input = self.input.lock_alone().take();
        fail(&mut sink, fault);
        drop((sink, input));
    }

    /// The exchange waits in no queue from here on.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// Whether [`begin`](Self::begin) was called. It may not show yet on other threads: the queue knows.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether the request has a body.
    pub(crate) fn has_input(&self) -> bool {
        self.has_input
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// From the host, on any thread, attached or not.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.replace(None) {
            waker.wake();
        }
    }

    /// Who to wake when the exchange is cancelled while it waits.
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
