//! The response of one request on its way from the application's thread to the event loop, and the loop's word on whether
//! more may follow.
//!
//! The thread puts mail into the box and goes on; the loop empties it. The loop is woken once for all mail that has come
//! since it looked last. Inline there is no mail but log lines of other threads.

use std::sync::{Arc, Condvar};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use wsgi_core::error::{Fault, HostError};
use wsgi_core::head::ResponseHead;
use wsgi_core::host::{BodyInterest, Flush, Level};
use wsgi_core::lock::{Leaf, LeafGuard};
use wsgi_core::output::FilePart;

use crate::log_room;

/// A thread goes on producing blocks while the loop has fewer bytes than this to take over.
const ROOM: usize = 64 * 1024;

/// The same for the number of blocks. Each takes a way through nginx's filters, which look at all buffers that a client has not
/// taken: without a limit a generator of single bytes would hold up the loop for minutes.
const BLOCKS: usize = 64;

/// The box of one request.
pub(crate) struct Mailbox {
    state: Leaf<State>,
    /// For a thread that blocks until there is room.
    room: Condvar,
}

#[derive(Default)]
struct State {
    mail: Vec<Mail>,
    /// Body bytes of `mail` that are in memory.
    waiting: usize,
    /// Blocks in `mail` that are sent one by one.
    blocks: usize,
    /// The loop knows that there is mail.
    announced: bool,
    backlog: Backlog,
    /// Whether a body is wanted, once that is known.
    interest: Option<BodyInterest>,
    /// Why the response cannot be sent any more.
    gone: Option<Gone>,
    waker: Option<Waker>,
    /// A thread sleeps in `wait_for_room`: only then is `room` worth a system call.
    sleeping: bool,
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

/// What nginx's output of a request waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Backlog {
    #[default]
    None,
    /// The client, who has not taken what there is, or an event of nginx's.
    Client,
    /// Another request of the same page, whose output comes first (`ngx_http_postpone_filter`). That one may need a thread
    /// or a permit, so that a thread must not wait for it.
    Part,
}

/// How a request ended before its response.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gone {
    Closed,
    TimedOut,
}

/// Whether a thread may go on, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) interest: BodyInterest,
    /// The output waits for another part of the page: blocks are to be kept, see [`Mailbox::keep`].
    pub(crate) behind_part: bool,
}

impl Mailbox {
    /// `interest` is what is known of the body beforehand: nothing where a filter of nginx may answer in our place.
    pub(crate) fn new(interest: Option<BodyInterest>) -> Self {
        Self { state: Leaf::new(State { interest, ..State::default() }), room: Condvar::new() }
    }

    /// Puts something in the box; with `announce` the loop is to look at once. Returns whether it has to be told.
    pub(crate) fn post(&self, mail: Mail, announce: bool) -> Result<bool, HostError> {
        let mut state = self.state.lock();
        if let Some(gone) = state.gone
            && !matches!(mail, Mail::Log(..))
        {
            return Err(gone.error());
        }
        let length = match &mail {
            Mail::Block(block, _) => Some(block.len()),
            Mail::Joined(block) => Some(block.len()),
            Mail::File(..) => Some(0),
            _ => None,
        };
        if length.is_some() && state.is_unwanted() {
            return Ok(false);
        }
        state.waiting += length.unwrap_or(0);
        state.blocks += usize::from(length.is_some());
        state.mail.push(mail);
        Ok(state.announce(announce))
    }

    /// Puts a small block into the box, joined to the one before if the loop has not taken that yet: the loop sends what is
    /// there as soon as it looks, so that no block waits for one that does not come. Returns whether the loop has to be told.
    pub(crate) fn join(&self, block: &[u8]) -> Result<bool, HostError> {
        {
            let mut state = self.state.lock();
            if state.gone.is_none()
                && state.announced
                && let Some(Mail::Joined(joined)) = state.mail.last_mut()
            {
                joined.extend_from_slice(block);
                state.waiting += block.len();
                return Ok(false);
            }
        }
        self.post(Mail::Joined(BytesMut::from(block)), true)
    }

    /// Keeps a block of a response that waits for another part of the page, in memory. `None` where memory has enough of
    /// them, or a file has begun: then the block belongs into the file, see [`keep_in_file`](Self::keep_in_file). Else
    /// whether the loop has to be told.
    pub(crate) fn keep(&self, block: &[u8]) -> Result<Option<bool>, HostError> {
        let mut state = self.state.lock();
        if let Some(gone) = state.gone {
            return Err(gone.error());
        }
        if state.waiting + block.len() > ROOM || matches!(state.mail.last(), Some(Mail::File(..))) {
            return Ok(None);
        }
        state.waiting += block.len();
        match state.mail.last_mut() {
            Some(Mail::Joined(joined)) => joined.extend_from_slice(block),
            _ => state.mail.push(Mail::Joined(BytesMut::from(block))),
        }
        Ok(Some(state.announce_kept()))
    }

    /// Keeps a block that has been written to a file, as part of the one before where it follows that. Returns whether the
    /// loop has to be told.
    pub(crate) fn keep_in_file(&self, part: FilePart) -> Result<bool, HostError> {
        let mut state = self.state.lock();
        if let Some(gone) = state.gone {
            return Err(gone.error());
        }
        match state.mail.last_mut() {
            Some(Mail::File(before, _))
                if Arc::ptr_eq(&before.file, &part.file) && before.start + before.len == part.start =>
            {
                before.len += part.len;
            }
            _ => state.mail.push(Mail::File(part, Flush::Now)),
        }
        Ok(state.announce_kept())
    }

    /// Whether the thread may produce a further block. With `full` the file of a response that waits for another part of the
    /// page has no room any more. Calls `tell` if the box holds mail that the loop has not been told of.
    pub(crate) fn poll_room(
        &self,
        head_sent: bool,
        full: bool,
        cx: &mut Context<'_>,
        tell: impl FnOnce(),
    ) -> Poll<Result<Room, HostError>> {
        let mut state = self.state.lock();
        if let Some(gone) = state.gone {
            return Poll::Ready(Err(gone.error()));
        }
        let behind_part = state.backlog == Backlog::Part;
        let room = |interest| Poll::Ready(Ok(Room { interest, behind_part }));
        match state.interest {
            Some(BodyInterest::Unwanted) => return room(BodyInterest::Unwanted),
            Some(BodyInterest::Wanted) if state.has_room(full) => return room(BodyInterest::Wanted),
            None if !head_sent => return room(BodyInterest::Wanted),
            _ => {}
        }
        let before = state.waker.replace(cx.waker().clone());
        let unannounced = state.announce_before_waiting();
        drop(state);
        drop(before);
        if unannounced {
            tell();
        }
        Poll::Pending
    }

    /// Blocks until there is room. Calls `tell` if the box holds mail that the loop has not been told of.
    pub(crate) fn wait_for_room(&self, full: bool, tell: impl Fn()) -> Result<Room, HostError> {
        let mut state = self.state.lock();
        loop {
            if let Some(gone) = state.gone {
                return Err(gone.error());
            }
            if state.is_unwanted() || state.has_room(full) {
                let behind_part = state.backlog == Backlog::Part;
                return Ok(Room { interest: state.interest.unwrap_or(BodyInterest::Wanted), behind_part });
            }
            if state.announce_before_waiting() {
                drop(state);
                tell();
                state = self.state.lock();
                continue;
            }
            state.sleeping = true;
            state = state.wait(&self.room);
        }
    }

    /// Empties the box. On the loop's thread. As long as the output waits for another part of the page (`behind_part`),
    /// blocks stay here, where they are joined and go to a file, unless they are the last ones.
    pub(crate) fn take(&self, behind_part: bool) -> Vec<Mail> {
        let mut state = self.state.lock();
        state.announced = false;
        if behind_part && !state.mail.iter().any(Mail::is_end) {
            return state.mail.extract_if(.., |mail| matches!(mail, Mail::Log(..))).collect();
        }
        (state.waiting, state.blocks) = (0, 0);
        std::mem::take(&mut state.mail)
    }

    /// The loop's word, after it has taken over what was there. Returns whether it has to look again: blocks were kept since.
    pub(crate) fn progress(&self, backlog: Backlog, interest: BodyInterest) -> bool {
        let mut state = self.state.lock();
        let kept = state.backlog == Backlog::Part && !state.mail.is_empty();
        state.backlog = backlog;
        state.interest = Some(interest);
        let again = kept && state.announce_kept();
        self.wake(state, backlog != Backlog::Client || interest == BodyInterest::Unwanted);
        again
    }

    /// Nothing that comes from now on is sent.
    pub(crate) fn close(&self, gone: Gone) {
        let mut state = self.state.lock();
        state.gone.get_or_insert(gone);
        self.wake(state, true);
    }

    /// Wakes the thread that waits for the loop's word. Wakers take locks of their own: this one is given back first.
    fn wake(&self, mut state: LeafGuard<'_, State>, progress: bool) {
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
}

impl State {
    /// Notes that the loop is to look; whether it has to be told.
    fn announce(&mut self, wanted: bool) -> bool {
        let tell = wanted && !self.announced;
        self.announced |= tell;
        tell
    }

    /// No block of the body is sent.
    fn is_unwanted(&self) -> bool {
        self.interest == Some(BodyInterest::Unwanted)
    }

    /// As [`announce`](Self::announce), for blocks that may wait with the others for a part of the page.
    fn announce_kept(&mut self) -> bool {
        self.announce(self.backlog != Backlog::Part)
    }

    /// As [`announce`](Self::announce), for a thread that is about to wait for the loop's word: the loop gives it when it has
    /// emptied the box, and only looks into a box that has been announced.
    fn announce_before_waiting(&mut self) -> bool {
        !self.mail.is_empty() && self.announce_kept()
    }

    fn has_room(&self, full: bool) -> bool {
        match self.backlog {
            Backlog::None => self.waiting < ROOM && self.blocks < BLOCKS,
            Backlog::Client => false,
            Backlog::Part => !full,
        }
    }
}

impl Mail {
    /// The bytes that a log line counts in a [`LogRoom`](log_room::LogRoom); 0 for other mail.
    pub(crate) fn line(&self) -> usize {
        match self {
            Mail::Log(_, text) => log_room::size(text),
            _ => 0,
        }
    }

    fn is_end(&self) -> bool {
        matches!(self, Mail::Finish | Mail::Failed(..))
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
