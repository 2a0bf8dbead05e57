//! What the event loop and the application's thread share about one request: the response on its way to the loop, and
//! the loop's word on whether more may follow.
//!
//! The application's thread puts mail into the box and goes on; the loop empties it. The loop is woken once for all
//! that has come since it looked last. Inline there is no mail but log lines of other threads.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use wsgi_core::error::{Fault, HostError};
use wsgi_core::head::ResponseHead;
use wsgi_core::host::{BodyInterest, ErrorLog, Flush, Level};
use wsgi_core::output::FilePart;
use wsgi_core::python::{Exchange, ExchangeHandle};

use crate::chain::Output;
use crate::event;
use crate::log;
use crate::loop_cell::{LoopCell, on_loop_thread};
use crate::ngx::Request;

/// A thread goes on producing blocks while the loop has fewer bytes than this to take over.
const ROOM: usize = 64 * 1024;

/// The two sides of one request.
pub(crate) struct HandOver {
    /// nginx's side.
    pub(crate) output: LoopCell<Output>,
    /// Who runs the application.
    pub(crate) run: LoopCell<Run>,
    /// Whether it counts among the requests under way in this worker.
    pub(crate) counted: LoopCell<bool>,
    own: Weak<Self>,
    state: Mutex<State>,
    /// For a thread that blocks until there is room.
    room: Condvar,
}

#[derive(Default)]
struct State {
    mail: Vec<Mail>,
    /// Body bytes in `mail`.
    waiting: usize,
    /// The loop knows that there is mail.
    announced: bool,
    /// The client has not taken what nginx has.
    blocked: bool,
    /// Whether a body is wanted, once that is known.
    interest: Option<BodyInterest>,
    /// Why nobody listens any more.
    gone: Option<Gone>,
    waker: Option<Waker>,
    /// A thread sleeps in `wait_for_room`. Nobody else is worth a system call.
    sleeping: bool,
}

/// Where the exchange of a request is.
pub(crate) enum Run {
    /// It waits for its next turn on the event loop.
    Inline(Exchange),
    /// It has its turn now, further down on the stack.
    InlineNow,
    /// It runs on a thread.
    Threads(ExchangeHandle),
    Over,
}

// SAFETY: reached on the event loop's thread only (`LoopCell`), and `Over` by the time another thread drops it.
unsafe impl Send for Run {}

/// How a request ended before its response.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gone {
    Closed,
    TimedOut,
}

/// From the application's thread to the loop, in order.
pub(crate) enum Mail {
    Head(ResponseHead),
    Block(Bytes, Flush),
    /// Small blocks that came faster than the loop takes them.
    Joined(BytesMut),
    File(FilePart, Flush),
    Flush,
    Finish,
    Failed(Fault),
    Log(Level, String),
}

impl HandOver {
    /// `interest` is what is known of the body beforehand: nothing where a filter of nginx may answer in our place.
    pub(crate) fn new(output: Output, interest: Option<BodyInterest>) -> Arc<Self> {
        let state = State { interest, ..State::default() };
        Arc::new_cyclic(|own| Self {
            output: LoopCell::new(output),
            run: LoopCell::new(Run::Over),
            counted: LoopCell::new(false),
            own: own.clone(),
            state: Mutex::new(state),
            room: Condvar::new(),
        })
    }

    /// Puts something in the box; `announce` has the loop look at once. On any thread.
    pub(crate) fn post(&self, mail: Mail, announce: bool) -> Result<(), HostError> {
        let mut state = self.state();
        if let Some(gone) = state.gone
            && !matches!(mail, Mail::Log(..))
        {
            return Err(gone.error());
        }
        state.waiting += match &mail {
            Mail::Block(block, _) => block.len(),
            Mail::Joined(block) => block.len(),
            _ => 0,
        };
        state.mail.push(mail);
        let announce = announce && !state.announced;
        state.announced |= announce;
        drop(state);
        if announce && let Some(own) = self.own.upgrade() {
            event::announce(own);
        }
        Ok(())
    }

    /// Puts a small block into the box, joined to the one before if the loop has not taken that yet: what is there leaves
    /// as soon as the loop looks, so that nobody waits for what does not come.
    pub(crate) fn join(&self, block: &[u8]) -> Result<(), HostError> {
        {
            let mut state = self.state();
            if state.gone.is_none()
                && state.announced
                && let Some(Mail::Joined(joined)) = state.mail.last_mut()
            {
                joined.extend_from_slice(block);
                state.waiting += block.len();
                return Ok(());
            }
        }
        self.post(Mail::Joined(BytesMut::from(block)), true)
    }

    /// Whether the thread may produce a further block.
    pub(crate) fn poll_room(&self, head_sent: bool, cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        let mut state = self.state();
        if let Some(gone) = state.gone {
            return Poll::Ready(Err(gone.error()));
        }
        match state.interest {
            Some(BodyInterest::Unwanted) => return Poll::Ready(Ok(BodyInterest::Unwanted)),
            Some(BodyInterest::Wanted) if state.has_room() => return Poll::Ready(Ok(BodyInterest::Wanted)),
            None if !head_sent => return Poll::Ready(Ok(BodyInterest::Wanted)),
            _ => {}
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Blocks until there is room.
    pub(crate) fn wait_for_room(&self) -> Result<(), HostError> {
        let mut state = self.state();
        loop {
            if let Some(gone) = state.gone {
                return Err(gone.error());
            }
            if state.has_room() {
                return Ok(());
            }
            state.sleeping = true;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Empties the box. On the loop's thread.
    pub(crate) fn take(&self) -> Vec<Mail> {
        let mut state = self.state();
        state.announced = false;
        state.waiting = 0;
        std::mem::take(&mut state.mail)
    }

    /// The loop's word, after it has taken over what was there.
    pub(crate) fn progress(&self, blocked: bool, interest: BodyInterest) {
        let mut state = self.state();
        state.blocked = blocked;
        state.interest = Some(interest);
        self.wake(state, !blocked || interest == BodyInterest::Unwanted);
    }

    /// The client is gone, as nginx will notice: nothing more is to be produced.
    pub(crate) fn close_quietly(&self) {
        let mut state = self.state();
        state.gone.get_or_insert(Gone::Closed);
        self.wake(state, true);
    }

    /// Nothing that comes from now on reaches anybody. Returns the request, null if it was over already.
    pub(crate) fn close(&self, gone: Gone) -> *mut Request {
        let request = self.output.with(Output::close);
        let mut state = self.state();
        state.gone.get_or_insert(gone);
        self.wake(state, true);
        request
    }

    /// Wakes whoever waits for the loop's word. Wakers take locks of their own: this one is given back first.
    fn wake(&self, mut state: MutexGuard<'_, State>, progress: bool) {
        if !progress {
            return;
        }
        let waker = state.waker.take();
        let sleeping = std::mem::take(&mut state.sleeping);
        drop(state);
        if sleeping {
            self.room.notify_all();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self) -> bool {
        !self.blocked && self.waiting < ROOM
    }
}

impl Gone {
    fn error(self) -> HostError {
        match self {
            Gone::Closed => HostError::ClientGone,
            Gone::TimedOut => HostError::TimedOut,
        }
    }
}

/// The request's error log. Lines of other threads are written by the loop, which knows the request's context.
impl ErrorLog for HandOver {
    fn log(&self, level: Level, text: &str) {
        if on_loop_thread() {
            let request = self.output.with(|output| output.request());
            // SAFETY: the loop's thread; a request that is not null is alive.
            unsafe {
                let log = if request.is_null() { (*nginx_sys::ngx_cycle).log } else { (*(*request).connection).log };
                log::write(log, level, text);
            }
        } else if level >= Level::Crit {
            event::WorkerLog.log(level, text);
        } else {
            // Log lines are never refused.
            let _ = self.post(Mail::Log(level, text.to_owned()), true);
        }
    }
}
