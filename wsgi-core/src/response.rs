//! The response as PEP 3333 allows it: what the application may do next, and what has to be sent.
//!
//! No byte passes through here, only lengths; the caller sends what it is told to.
//!
//! | state        | `start`                     | `item(n)`, n > 0       | `write(n)`             | `end`                   |
//! |--------------|-----------------------------|------------------------|------------------------|-------------------------|
//! | `Idle`       | `Started`                   | error NotStarted       | error NotStarted       | `Ended`, NotStarted     |
//! | `Refused`    | exc_info: `Started`         | error NotStarted       | error NotStarted       | `Ended`, NotStarted     |
//! |              | else error AlreadyStarted   |                        |                        |                         |
//! | `Started`    | exc_info: `Started` anew    | head, block: `Sending` | head, block: `Sending` | head: `Ended`           |
//! |              | else error AlreadyStarted   |                        | or error TooLong       | or `Ended`, TooShort    |
//! | `Sending`    | exc_info: error HeadSent    | block                  | block                  | `Ended`                 |
//! |              | else error AlreadyStarted   |                        | or error TooLong       | or `Ended`, TooShort    |
//! | `Ended`      | error Ended                 | error Ended            | error Ended            | error Ended             |
//!
//! An empty item changes nothing, an empty write sends the head: a block that is not empty, a call of the write
//! callable or the end commits the head, nothing else (PEP 3333, "The start_response() Callable"). Two settings of the
//! operator change that: with [`HeadAt::FirstItem`] an empty item commits the head as well, and what is written can be
//! collected ([`collect`](Response::collect)) while `Started` lasts, until [`release`](Response::release) commits head
//! and blocks. Neither is PEP 3333; both are off by default.

mod framing;
#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
pub mod model;
#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;

pub use framing::Framing;

use crate::error::ProtocolError;
use crate::head::{HeaderList, ResponseHead, StatusLine};
use framing::{Body, frame};

/// One response under way.
#[derive(Debug)]
pub struct Response {
    head_request: bool,
    /// Nothing of the application's body is wanted.
    head_only: bool,
    head_at: HeadAt,
    /// Length of what the iterable gives, where the gateway knows it.
    total: Option<u64>,
    /// The body is one block.
    single_block: bool,
    /// Bytes that were written and wait for the head.
    collected: u64,
    state: State,
}

/// Which item of the iterable commits the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadAt {
    /// The first that is not empty (PEP 3333, "The start_response() Callable").
    FirstBlock,
    /// The first one (`wsgi_optimize_send_headers`): where nobody wants a body, nothing more is produced.
    FirstItem,
}

#[derive(Debug)]
enum State {
    /// `start_response` was not called.
    Idle,
    /// It was called, with arguments that cannot be sent.
    Refused,
    /// The head is there and may be replaced.
    Started { status: StatusLine, headers: HeaderList },
    /// The head is out.
    Sending(Body),
    /// Nothing may follow.
    Ended { head_sent: bool },
}

/// What to do with a block.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Accepted {
    /// To be sent before the block.
    pub head: Option<ResponseHead>,
    /// Bytes of the block to be sent, from its beginning. 0 if no body is wanted.
    pub take: u64,
    /// Bytes of the block beyond Content-Length, which are not sent.
    pub excess: u64,
    /// With this block the body is as long as Content-Length says: it can be ended. The iterable may have something to do
    /// yet, and is asked on.
    pub complete: bool,
    /// No further item is needed.
    pub last: bool,
}

/// What to do at the end.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Ending {
    /// To be sent before the end, if it is not out yet.
    pub head: Option<ResponseHead>,
}

impl Response {
    /// A response that has not begun. `head_request`: only its head is wanted.
    pub fn new(head_request: bool, head_at: HeadAt) -> Self {
        Self {
            head_request,
            head_only: head_request,
            head_at,
            total: None,
            single_block: false,
            collected: 0,
            state: State::Idle,
        }
    }

    /// `start_response` was called with a status and headers that can be sent. They replace earlier ones if `exc_info`
    /// was given, and what was collected is forgotten; once the head is out that is [`ProtocolError::HeadSent`], and the caller raises `exc_info` again.
    pub fn start(&mut self, status: StatusLine, headers: HeaderList, has_exc_info: bool) -> Result<(), ProtocolError> {
        match self.state {
            State::Idle => {}
            State::Refused | State::Started { .. } if has_exc_info => {}
            State::Sending(_) if has_exc_info => return Err(ProtocolError::HeadSent),
            State::Refused | State::Started { .. } | State::Sending(_) => return Err(ProtocolError::AlreadyStarted),
            State::Ended { .. } => return Err(ProtocolError::Ended),
        }
        self.state = State::Started { status, headers };
        self.collected = 0;
        Ok(())
    }

    /// Whether the host answers with a body of its own, so that the application's is dropped whatever its length. Said again for
    /// each head that [`start`](Self::start) accepts.
    pub fn replace_body(&mut self, replaced: bool) {
        self.head_only = self.head_request || replaced;
    }

    /// `start_response` was called and raised. That counts as a call: the next one needs `exc_info`. A head from an
    /// earlier call stays.
    pub fn start_refused(&mut self) {
        if matches!(self.state, State::Idle) {
            self.state = State::Refused;
        }
    }

    /// The iterable is known to give this length, so that Content-Length can say so. No effect once the head is out, as
    /// after a call of the write callable.
    pub fn declare_total(&mut self, total: u64) {
        self.total = Some(total);
    }

    /// Whether the [total](Self::declare_total), with what was collected, is as much as the application promised. If not,
    /// and the head is not out, it is better kept back: the client then learns of the error.
    pub fn check_total(&self) -> Result<(), ProtocolError> {
        let (State::Started { status, headers }, Some(total)) = (&self.state, self.total) else { return Ok(()) };
        let Some(promised) = headers.content_length() else { return Ok(()) };
        let (_, mut body) = frame(status.code(), self.head_only, Some(promised), None);
        let _ = body.accept(None, total + self.collected);
        body.finish()
    }

    /// The next block is the whole body.
    pub fn declare_single_block(&mut self) {
        self.single_block = true;
    }

    /// The iterable gave a block of `len` bytes. What exceeds Content-Length is cut off.
    pub fn item(&mut self, len: u64) -> Result<Accepted, ProtocolError> {
        let early = self.head_at == HeadAt::FirstItem && matches!(self.state, State::Started { .. });
        if len == 0 && !self.is_ended() && !early {
            let complete = matches!(self.state, State::Sending(Body::Sized { left: 0, .. }));
            let last = matches!(self.state, State::Sending(Body::Unwanted));
            return Ok(Accepted { head: None, take: 0, excess: 0, complete, last });
        }
        let (head, body) = self.commit(self.total)?;
        Ok(body.accept(head, len))
    }

    /// The write callable got a block of `len` bytes. One that exceeds Content-Length is refused whole.
    pub fn write(&mut self, len: u64) -> Result<Accepted, ProtocolError> {
        // `total` is that of the iterable alone.
        let total = None;
        let body = match &self.state {
            State::Started { status, headers } => {
                frame(status.code(), self.head_only, headers.content_length(), total).1
            }
            State::Sending(body) => *body,
            State::Idle | State::Refused => return Err(ProtocolError::NotStarted),
            State::Ended { .. } => return Err(ProtocolError::Ended),
        };
        match body {
            Body::Sized { declared, left } if len > left => {
                Err(ProtocolError::TooLong { declared, excess: len - left })
            }
            _ => {
                let (head, body) = self.commit(total)?;
                Ok(body.accept(head, len))
            }
        }
    }

    /// The write callable got a block of `len` bytes that is to wait for [`release`](Self::release). Returns how many bytes
    /// are to be kept, 0 where no body is wanted; one block that exceeds Content-Length is refused whole. Once the head is
    /// out, that is `None`: it must be written as it is.
    pub fn collect(&mut self, len: u64) -> Result<Option<u64>, ProtocolError> {
        let body = match &self.state {
            State::Started { status, headers } => {
                frame(status.code(), self.head_only, headers.content_length(), None).1
            }
            State::Sending(_) => return Ok(None),
            State::Idle | State::Refused => return Err(ProtocolError::NotStarted),
            State::Ended { .. } => return Err(ProtocolError::Ended),
        };
        match body {
            Body::Unwanted => Ok(Some(0)),
            Body::Sized { declared, left } if self.collected + len > left => {
                Err(ProtocolError::TooLong { declared, excess: self.collected + len - left })
            }
            Body::Sized { .. } | Body::Open => {
                self.collected += len;
                Ok(Some(len))
            }
        }
    }

    /// Bytes that wait for [`release`](Self::release).
    pub fn collected(&self) -> u64 {
        self.collected
    }

    /// Sends what was collected: the head goes first. The total, if it is known, is that of both.
    pub fn release(&mut self) -> Result<Accepted, ProtocolError> {
        let collected = std::mem::take(&mut self.collected);
        let total = self.total.map(|total| total + collected);
        let (head, body) = self.commit(total)?;
        Ok(body.accept(head, collected))
    }

    /// The iterable is exhausted, or no more of it is needed. An error is the end as well: nothing more is sent then,
    /// and the host must not let the response look complete.
    pub fn end(&mut self) -> Result<Ending, ProtocolError> {
        debug_assert_eq!(self.collected, 0, "what was collected is released first");
        let head_sent = self.head_sent();
        match std::mem::replace(&mut self.state, State::Ended { head_sent }) {
            State::Idle | State::Refused => Err(ProtocolError::NotStarted),
            State::Started { status, headers } => {
                // Nothing has been produced: that is the length, unless another one was promised.
                let total = self.total.or(Some(0));
                let (framing, body) = frame(status.code(), self.head_only, headers.content_length(), total);
                body.finish()?;
                self.state = State::Ended { head_sent: true };
                Ok(Ending { head: Some(ResponseHead { status, headers, framing, single_block: false }) })
            }
            State::Sending(body) => body.finish().map(|()| Ending { head: None }),
            State::Ended { .. } => Err(ProtocolError::Ended),
        }
    }

    /// Whether the head is out.
    pub fn head_sent(&self) -> bool {
        matches!(self.state, State::Sending(_) | State::Ended { head_sent: true })
    }

    /// Whether [`end`](Self::end) was called.
    pub fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended { .. })
    }

    /// Makes the head final if it is not. Gives it to be sent, and the body that follows it.
    fn commit(&mut self, total: Option<u64>) -> Result<(Option<ResponseHead>, &mut Body), ProtocolError> {
        let mut head = None;
        let single_block = self.single_block;
        self.state = match std::mem::replace(&mut self.state, State::Idle) {
            State::Started { status, headers } => {
                let (framing, body) = frame(status.code(), self.head_only, headers.content_length(), total);
                head = Some(ResponseHead { status, headers, framing, single_block });
                State::Sending(body)
            }
            state => state,
        };
        match &mut self.state {
            State::Sending(body) => Ok((head, body)),
            State::Ended { .. } => Err(ProtocolError::Ended),
            State::Idle | State::Refused | State::Started { .. } => Err(ProtocolError::NotStarted),
        }
    }
}

impl Body {
    /// Counts a block of `len` bytes.
    fn accept(&mut self, head: Option<ResponseHead>, len: u64) -> Accepted {
        let (take, excess, complete, last) = match self {
            Body::Unwanted => (0, 0, false, true),
            Body::Open => (len, 0, false, false),
            Body::Sized { left, .. } => {
                let take = len.min(*left);
                *left -= take;
                (take, len - take, *left == 0, len > take)
            }
        };
        Accepted { head, take, excess, complete, last }
    }

    /// Nothing more comes.
    fn finish(self) -> Result<(), ProtocolError> {
        match self {
            Body::Sized { declared, left: missing @ 1.. } => Err(ProtocolError::TooShort { declared, missing }),
            _ => Ok(()),
        }
    }
}
