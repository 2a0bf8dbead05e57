//! The response as PEP 3333 allows it: a state machine that checks the application's calls and determines what to send.
//!
//! It sees no bytes, only lengths; the caller sends the data.
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
//! An empty item changes nothing, an empty write sends the head: only a block that is not empty, a call of the write
//! callable, or the end commits the head (PEP 3333, "The start_response() Callable"). Two settings of the operator change
//! that: with [`HeadAt::FirstItem`] an empty item commits the head as well, and written blocks can be collected
//! ([`collect`](Response::collect)) while `Started` lasts, until [`release`](Response::release) commits head and blocks.
//! Neither conforms to PEP 3333; both are off by default.

mod framing;
pub(crate) mod model;
#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;

pub use framing::Framing;

use crate::error::ProtocolError;
use crate::protocol::head::{HeaderList, ResponseHead, StatusLine};
use framing::{Body, frame};

/// The state of one response.
#[derive(Debug)]
pub struct Response {
    head_request: bool,
    /// Whether the application's body is discarded.
    head_only: bool,
    head_at: HeadAt,
    /// Length of the iterable's data, if the gateway knows it.
    total: Option<u64>,
    /// Whether the body is one block.
    single_block: bool,
    /// Bytes that were written and wait for the head.
    collected: u64,
    state: State,
}

/// Which item of the iterable commits the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadAt {
    /// The first non-empty one (PEP 3333, "The start_response() Callable").
    FirstBlock,
    /// The first one (`wsgi_optimize_send_headers`). If no body is wanted, no further item is produced.
    FirstItem,
}

#[derive(Debug)]
enum State {
    /// `start_response` has not been called.
    Idle,
    /// `start_response` was called with arguments that cannot be sent.
    Refused,
    /// The head is known, and may be replaced.
    Started { status: StatusLine, headers: HeaderList },
    /// The head has been sent.
    Sending(Body),
    /// Nothing may follow.
    Ended { head_sent: bool },
}

/// How to handle a block.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Accepted {
    /// The head to be sent before the block.
    pub head: Option<ResponseHead>,
    /// Bytes of the block to be sent, from its beginning. 0 if no body is wanted.
    pub take: u64,
    /// Bytes of the block beyond Content-Length, which are not sent.
    pub excess: u64,
    /// With this block the body has the length of Content-Length, so the response can be ended. The iterable may have more
    /// code to run, and is still iterated.
    pub complete: bool,
    /// No further item is needed.
    pub last: bool,
}

/// How to end the response.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Ending {
    /// The head, if it has not been sent yet.
    pub head: Option<ResponseHead>,
}

impl Response {
    /// Creates a response that has not begun. `head_request`: only its head is wanted.
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

    /// `start_response` was called with a status and headers that can be sent. With `exc_info` they replace earlier ones, and
    /// collected blocks are discarded; once the head has been sent, that is [`ProtocolError::HeadSent`], and the caller
    /// raises `exc_info` again.
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

    /// Sets whether the host answers with another body, so that the application's is discarded whatever its length. Called
    /// again for each head that [`start`](Self::start) accepts.
    pub fn replace_body(&mut self, replaced: bool) {
        self.head_only = self.head_request || replaced;
    }

    /// `start_response` was called and raised. That counts as a call: the next one needs `exc_info`. The head of an earlier
    /// call remains.
    pub fn start_refused(&mut self) {
        if matches!(self.state, State::Idle) {
            self.state = State::Refused;
        }
    }

    /// Declares the length of the iterable's data, to be sent as Content-Length. No effect once the head has been sent, as
    /// after a call of the write callable.
    pub fn declare_total(&mut self, total: u64) {
        self.total = Some(total);
    }

    /// Checks whether the [total](Self::declare_total), plus the collected bytes, is as long as the application promised. If
    /// not, and the head has not been sent, it should be withheld: the client then learns of the error.
    pub fn check_total(&self) -> Result<(), ProtocolError> {
        let (State::Started { status, headers }, Some(total)) = (&self.state, self.total) else { return Ok(()) };
        let Some(promised) = headers.content_length() else { return Ok(()) };
        let (_, mut body) = frame(status.code(), self.head_only, Some(promised), None);
        let _ = body.accept(None, total + self.collected);
        body.finish()
    }

    /// Declares that the next block is the whole body.
    pub fn declare_single_block(&mut self) {
        self.single_block = true;
    }

    /// The iterable produced a block of `len` bytes. Bytes beyond Content-Length are cut off.
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

    /// The write callable was called with a block of `len` bytes. A block that exceeds Content-Length is refused as a whole.
    pub fn write(&mut self, len: u64) -> Result<Accepted, ProtocolError> {
        // `total` is the length of the iterable alone.
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

    /// The write callable was called with a block of `len` bytes that should wait for [`release`](Self::release). Returns how
    /// many bytes to keep, 0 if no body is wanted; a block that exceeds Content-Length is refused as a whole. Returns `None`
    /// once the head has been sent: the block must be written directly.
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

    /// Returns the bytes that wait for [`release`](Self::release).
    pub fn collected(&self) -> u64 {
        self.collected
    }

    /// Sends the head and the collected blocks. The total, if it is known, includes both parts.
    pub fn release(&mut self) -> Result<Accepted, ProtocolError> {
        let collected = std::mem::take(&mut self.collected);
        let total = self.total.map(|total| total + collected);
        let (head, body) = self.commit(total)?;
        Ok(body.accept(head, collected))
    }

    /// The iterable is exhausted, or no more of it is needed. After an error the response has ended too: nothing more is
    /// sent, and the host must not make the response look complete.
    pub fn end(&mut self) -> Result<Ending, ProtocolError> {
        debug_assert_eq!(self.collected, 0, "what was collected is released first");
        let head_sent = self.head_sent();
        match std::mem::replace(&mut self.state, State::Ended { head_sent }) {
            State::Idle | State::Refused => Err(ProtocolError::NotStarted),
            State::Started { status, headers } => {
                // Nothing has been produced: the length is 0, unless another one was promised.
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

    /// Whether the head has been sent.
    pub fn head_sent(&self) -> bool {
        matches!(self.state, State::Sending(_) | State::Ended { head_sent: true })
    }

    /// Whether [`end`](Self::end) was called.
    pub fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended { .. })
    }

    /// Commits the head if that has not happened. Returns the head to be sent, and the body that follows it.
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

    /// Checks that no byte is missing at the end.
    fn finish(self) -> Result<(), ProtocolError> {
        match self {
            Body::Sized { declared, left: missing @ 1.. } => Err(ProtocolError::TooShort { declared, missing }),
            _ => Ok(()),
        }
    }
}
