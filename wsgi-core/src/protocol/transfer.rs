//! A request that one process answers for another: the messages between both, over a stream of bytes.
//!
//! ```text
//! process with the application:  Ready          Accepted  Head            Block, Flush, Line...  End or Failed  Line...  Over
//! process with the client:              Request                 Interest
//! ```
//!
//! The process with the application may refuse the request instead. The other one sends a further `Interest` if it no longer wants
//! the body, and goes on reading.
//!
//! A message is its kind, the length of its content, and the content, in native byte order: both processes run the same program.
//! A stream that ends in the middle means that the other process has ended.

pub(crate) mod fields;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};

use bytes::Bytes;
use http::StatusCode;

use self::fields::{Fields, put, put_bytes};
use crate::error::{Fault, HostError};
use crate::error_log::Level;
use crate::host::{RequestSnapshot, Summary};
use crate::protocol::head::{HeaderList, ResponseHead, StatusLine};
use crate::protocol::response::Framing;

/// A message.
#[derive(Debug)]
pub(crate) enum Message {
    /// The process has received the stream, and will answer a request.
    Ready,
    /// The number of the location, the request, and its body, if it has one.
    Request(u64, RequestSnapshot, Option<Vec<u8>>),
    /// The application will be called, or has been called.
    Accepted,
    /// The application will not be called.
    Refused,
    /// Whether the client wants a body.
    Interest(bool),
    Head(ResponseHead),
    /// A block, and whether it must be sent now.
    Block(Bytes, bool),
    Flush,
    End,
    Failed(Option<StatusCode>),
    /// A line for the log of the request.
    Line(Level, String),
    /// The application has ended.
    Over(Outcome),
}

/// How an application has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Complete,
    Application,
    NoPython,
    Cancelled,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Complete, Self::Application, Self::NoPython, Self::Cancelled];

    pub(crate) fn of(result: &Result<Summary, Fault>) -> Self {
        match result {
            Ok(_) => Self::Complete,
            Err(Fault::NoPython) => Self::NoPython,
            Err(Fault::Application | Fault::Host(HostError::Io(_))) => Self::Application,
            Err(Fault::Host(_) | Fault::Cancelled) => Self::Cancelled,
        }
    }
}

/// The largest content of a message: larger than a request with its body, and than a block.
const LARGEST: usize = 64 << 20;

/// The largest block. Larger ones of an application are sent as several, unless the head promises a single block.
pub(crate) const PIECE: usize = 1 << 20;

/// The kinds of messages.
mod kind {
    pub(super) const READY: u8 = 0;
    pub(super) const REQUEST: u8 = 1;
    pub(super) const ACCEPTED: u8 = 2;
    pub(super) const REFUSED: u8 = 3;
    pub(super) const INTEREST: u8 = 4;
    pub(super) const HEAD: u8 = 5;
    pub(super) const BLOCK: u8 = 6;
    pub(super) const FLUSH: u8 = 7;
    pub(super) const END: u8 = 8;
    pub(super) const FAILED: u8 = 9;
    pub(super) const LINE: u8 = 10;
    pub(super) const OVER: u8 = 11;
}

/// The size of kind and length.
const PREFIX: usize = 5;

impl Message {
    /// Writes the message. Blocks.
    pub(crate) fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        stream.write_all(&self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        framed(|out| match self {
            Self::Ready => kind::READY,
            Self::Request(location, request, body) => put_request(*location, request, body.as_deref(), out),
            Self::Refused => kind::REFUSED,
            Self::Accepted => kind::ACCEPTED,
            Self::Interest(wanted) => {
                put(out, u64::from(*wanted));
                kind::INTEREST
            }
            Self::Head(head) => {
                put_head(head, out);
                kind::HEAD
            }
            Self::Block(data, flush) => {
                put(out, u64::from(*flush));
                put_bytes(out, data);
                kind::BLOCK
            }
            Self::Flush => kind::FLUSH,
            Self::End => kind::END,
            Self::Failed(status) => {
                put(out, status.map_or(0, |status| u64::from(status.as_u16())));
                kind::FAILED
            }
            Self::Line(level, text) => {
                put(out, *level as u64);
                put_bytes(out, text.as_bytes());
                kind::LINE
            }
            Self::Over(outcome) => {
                put(out, *outcome as u64);
                kind::OVER
            }
        })
    }

    /// Reads a message. Blocks. Returns an error at the end of the stream.
    pub(crate) fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut prefix = [0; PREFIX];
        stream.read_exact(&mut prefix)?;
        let [kind, length @ ..] = prefix;
        let length = u32::from_ne_bytes(length) as usize;
        if length > LARGEST {
            return Err(invalid());
        }
        let mut content = vec![0; length];
        stream.read_exact(&mut content)?;
        Self::decode(kind, content.into()).ok_or_else(invalid)
    }

    fn decode(kind: u8, content: Bytes) -> Option<Self> {
        let mut fields = Fields(&content);
        let message = match kind {
            kind::READY => Self::Ready,
            kind::REQUEST => {
                let location = fields.number()?;
                let request = RequestSnapshot::decode(&mut fields)?;
                let has_body = fields.number()? != 0;
                let body = fields.bytes()?;
                Self::Request(location, request, has_body.then(|| body.to_vec()))
            }
            kind::REFUSED => Self::Refused,
            kind::ACCEPTED => Self::Accepted,
            kind::INTEREST => Self::Interest(fields.number()? != 0),
            kind::HEAD => Self::Head(take_head(&mut fields)?),
            kind::BLOCK => {
                let flush = fields.number()? != 0;
                let data = fields.bytes()?;
                Self::Block(content.slice_ref(data), flush)
            }
            kind::FLUSH => Self::Flush,
            kind::END => Self::End,
            kind::FAILED => Self::Failed(match fields.number()? {
                0 => None,
                status => Some(StatusCode::from_u16(u16::try_from(status).ok()?).ok()?),
            }),
            kind::LINE => {
                let level = *LEVELS.get(fields.size()?)?;
                Self::Line(level, String::from_utf8(fields.bytes()?.to_vec()).ok()?)
            }
            kind::OVER => Self::Over(*Outcome::ALL.get(fields.size()?)?),
            _ => return None,
        };
        Some(message)
    }
}

/// Writes [`Message::Request`] without a copy of the request. Blocks.
pub(crate) fn write_request(
    location: u64,
    request: &RequestSnapshot,
    body: Option<&[u8]>,
    stream: &mut impl Write,
) -> io::Result<()> {
    stream.write_all(&framed(|out| put_request(location, request, body, out)))
}

fn put_request(location: u64, request: &RequestSnapshot, body: Option<&[u8]>, out: &mut Vec<u8>) -> u8 {
    put(out, location);
    request.encode(out);
    put(out, u64::from(body.is_some()));
    put_bytes(out, body.unwrap_or_default());
    kind::REQUEST
}

/// Returns a message of the kind that `content` returns.
fn framed(content: impl FnOnce(&mut Vec<u8>) -> u8) -> Vec<u8> {
    let mut out = vec![0; PREFIX];
    out[0] = content(&mut out);
    let length = (out.len() - PREFIX) as u32;
    out[1..PREFIX].copy_from_slice(&length.to_ne_bytes());
    out
}

/// Each level at the index of its number.
const LEVELS: [Level; 8] =
    [Level::Debug, Level::Info, Level::Notice, Level::Warn, Level::Error, Level::Crit, Level::Alert, Level::Emerg];

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message of another process is invalid")
}

fn put_head(head: &ResponseHead, out: &mut Vec<u8>) {
    put_bytes(out, head.status.as_bytes());
    let (framing, length) = match head.framing {
        Framing::Length(length) => (0, length),
        Framing::Unknown => (1, 0),
        Framing::NoBody => (2, 0),
    };
    put(out, framing);
    put(out, length);
    put(out, u64::from(head.single_block));
    put(out, head.headers.content_length().map_or(0, |length| length + 1));
    put(out, head.headers.len() as u64);
    for header in head.headers.iter() {
        put_bytes(out, header.name);
        put_bytes(out, header.value);
    }
}

fn take_head(fields: &mut Fields<'_>) -> Option<ResponseHead> {
    let status = StatusLine::parse(fields.bytes()?).ok()?;
    let (framing, length) = (fields.number()?, fields.number()?);
    let framing = match framing {
        0 => Framing::Length(length),
        1 => Framing::Unknown,
        2 => Framing::NoBody,
        _ => return None,
    };
    let single_block = fields.number()? != 0;
    let mut headers = HeaderList::new();
    if let Some(length) = fields.number()?.checked_sub(1) {
        headers.push(b"Content-Length", length.to_string().as_bytes()).ok()?;
    }
    for _ in 0..fields.number()? {
        headers.push(fields.bytes()?, fields.bytes()?).ok()?;
    }
    let mut head = ResponseHead::new(status, headers, framing);
    head.single_block = single_block;
    Some(head)
}
