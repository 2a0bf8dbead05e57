//! What the objects of one request share, and what is left of it when the request is over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::interpreter::Interpreter;
use super::location::Location;
use super::processes;
use super::raise::{Raised, runtime_error};
use super::reply::Reply;
use super::thread::this_thread;
use super::token::Token;
use crate::host::{ErrorLog, Level, ResponseSink};
use crate::input::Input;
use crate::record::LineBuffer;
use crate::response::Response;

/// The counted cell behind `start_response`, `write`, `wsgi.input` and `wsgi.errors`.
///
/// The parts are locked one by one, because an application may log in one thread while another waits for input. No
/// lock is waited for while attached, and no Python runs under one.
pub(crate) struct ExchangeCell {
    pub(crate) interpreter: &'static Interpreter,
    pub(crate) location: Arc<Location>,
    pub(crate) log: Arc<dyn ErrorLog>,
    live: AtomicBool,
    cancelled: AtomicBool,
    has_input: bool,
    reply: Mutex<Reply>,
    input: Mutex<Option<Input>>,
    errors: Mutex<LineBuffer>,
    /// Somebody has asked for `errors`.
    has_errors: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl ExchangeCell {
    pub(crate) fn new(
        interpreter: &'static Interpreter,
        location: Arc<Location>,
        log: Arc<dyn ErrorLog>,
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
            has_input: input.is_some(),
            reply: Mutex::new(Reply::new(response, sink)),
            input: Mutex::new(input),
            errors: Mutex::new(LineBuffer::new()),
            has_errors: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }

    /// Refuses late calls, and with inline execution those from other threads: the host's objects live on one.
    pub(crate) fn check(&self, token: Token<'_>, what: &str) -> Result<(), Raised> {
        if !self.live.load(Ordering::Acquire) {
            return Err(runtime_error(token, &format!("{what}: the request is over")));
        }
        if processes::is_forked() {
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

    /// The response side. Never held while Python runs.
    pub(crate) fn reply(&self, token: Token<'_>) -> MutexGuard<'_, Reply> {
        lock(token, &self.reply)
    }

    /// The request body.
    pub(crate) fn input(&self, token: Token<'_>) -> MutexGuard<'_, Option<Input>> {
        lock(token, &self.input)
    }

    /// `wsgi.errors`.
    pub(crate) fn errors(&self, token: Token<'_>) -> MutexGuard<'_, LineBuffer> {
        self.has_errors.store(true, Ordering::Release);
        lock(token, &self.errors)
    }

    /// Ends the life of everything that points here; the sink is dropped, whatever state it is in.
    pub(crate) fn expire(&self, token: Token<'_>) {
        self.live.store(false, Ordering::Release);
        if self.has_errors.load(Ordering::Acquire) {
            self.errors(token).finish(|line| self.log.log(Level::Error, line));
        }
        let sink = self.reply(token).sink.take();
        let input = if self.has_input { self.input(token).take() } else { None };
        drop((sink, input));
    }

    /// As `expire`, for an exchange that never began: nothing of Python points here yet.
    pub(crate) fn abandon(&self) {
        self.live.store(false, Ordering::Release);
        let sink = self.reply.lock().unwrap_or_else(PoisonError::into_inner).sink.take();
        let input = self.input.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop((sink, input));
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
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Who to wake when the exchange is cancelled while it waits.
    pub(crate) fn wait_with(&self, waker: &Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }
}

/// Takes a lock without holding up Python: a thread that must wait for it waits detached.
#[inline]
pub(super) fn lock<'a, T>(token: Token<'_>, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
    match mutex.try_lock() {
        Ok(guard) => guard,
        Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(std::sync::TryLockError::WouldBlock) => wait_for(token, mutex),
    }
}

#[cold]
fn wait_for<'a, T>(token: Token<'_>, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
    // Whoever holds it may be waiting for the GIL. Getting the GIL back while holding the lock is harmless: its owner
    // never waits for this lock attached.
    token.detached(|| mutex.lock().unwrap_or_else(PoisonError::into_inner))
}
