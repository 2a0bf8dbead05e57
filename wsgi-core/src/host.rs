//! What a host (nginx, hyper, the testkit) gives to the gateway and takes from it.
//!
//! The gateway knows no server. A request is read through [`RequestView`], its body through [`BodySource`]; the
//! response leaves through [`ResponseSink`] and log lines through [`ErrorLog`]. The last three are handed over as
//! separate objects ([`HostParts`]), because an application may log from one thread while another waits for input.

mod plain;

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::error::{Fault, HostError};
use crate::head::{HeaderList, ResponseHead};
use crate::output::FilePart;

pub use plain::PlainRequest;

pub use crate::error_log::{ErrorLog, Level};

/// The request line, headers and connection of one request, as borrowed bytes.
///
/// It is read once, before the application is called, and never afterwards; values may point into memory that dies
/// with that call. All text is raw bytes as received unless a method says otherwise; the gateway decodes it as
/// latin-1 (PEP 3333, "A Note On String Types").
pub trait RequestView {
    /// Request method as sent, never empty. `HEAD` stays `HEAD`.
    fn method(&self) -> &[u8];

    /// `wsgi.url_scheme`.
    fn scheme(&self) -> Scheme;

    /// Protocol of the client, e.g. `HTTP/1.1`, never empty.
    fn protocol(&self) -> &[u8];

    /// Percent-decoded path prefix that names the application; see [`split_path`](crate::environ::split_path).
    /// Empty or `/...` without a trailing slash. `script_name` followed by `path_info` is the decoded path.
    fn script_name(&self) -> &[u8];

    /// Percent-decoded rest of the path, see [`script_name`](Self::script_name).
    fn path_info(&self) -> &[u8];

    /// Raw query string without the `?`; empty if there is none.
    fn query(&self) -> &[u8];

    /// `SERVER_NAME` and `SERVER_PORT`; the name is never empty. Without a port (a unix socket) the gateway uses the
    /// default port of the scheme.
    fn server(&self) -> Endpoint<'_>;

    /// `REMOTE_ADDR` and `REMOTE_PORT`. Each is left out when unknown, the address when the name is empty.
    fn peer(&self) -> Endpoint<'_>;

    /// Length of the de-chunked body in bytes, if there is a body or the client declared one.
    fn content_length(&self) -> Option<u64>;

    /// Request headers in order, duplicates included.
    fn headers(&self) -> impl Iterator<Item = HeaderField<'_>>;

    /// The host's own CGI variables beyond the required ones (`REQUEST_URI`, `DOCUMENT_ROOT`, `SSL_PROTOCOL`...).
    /// Names are ASCII. A name should keep its position from request to request: the position is the fast path.
    fn extra(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        std::iter::empty()
    }

    /// The operator's variables (`wsgi_var`), evaluated, each name at most once. They win over everything else; an
    /// empty value removes its key. Names are checked at configuration time, see
    /// [`config`](crate::config).
    fn variables(&self) -> impl Iterator<Item = (&str, &[u8])>;
}

/// One request header, with a hash of its name that the host usually has at hand.
#[derive(Clone, Copy, Debug)]
pub struct HeaderField<'a> {
    /// Name as received, case included.
    pub name: &'a [u8],
    /// Value as received. The gateway cuts white space around it.
    pub value: &'a [u8],
    /// [`name_hash`] of `name`.
    pub hash: u32,
}

impl<'a> HeaderField<'a> {
    /// A field whose hash is computed here, for hosts that have none.
    pub fn new(name: &'a [u8], value: &'a [u8]) -> Self {
        Self { name, value, hash: name_hash(name) }
    }
}

/// nginx's `ngx_hash_key_lc` cut to 32 bits: `hash * 31 + byte` over the name in lower case.
pub fn name_hash(name: &[u8]) -> u32 {
    let lower = |byte: u8| u32::from(LOWER[usize::from(byte)]);
    // Four bytes at a time: 5 instructions a byte instead of 12.
    let (fours, rest) = name.as_chunks::<4>();
    let hash = fours.iter().fold(0u32, |hash, [a, b, c, d]| {
        hash.wrapping_mul(31 * 31 * 31 * 31)
            .wrapping_add(lower(*a) * (31 * 31 * 31) + lower(*b) * (31 * 31) + lower(*c) * 31 + lower(*d))
    });
    rest.iter().fold(hash, |hash, byte| hash.wrapping_mul(31).wrapping_add(lower(*byte)))
}

/// Each byte in lower case.
const LOWER: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).to_ascii_lowercase();
        byte += 1;
    }
    table
};

/// URL scheme of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// One end of a connection, as text.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    /// Host name or address, without port. The gateway puts an address of version 6 in brackets for `SERVER_NAME`.
    pub name: &'a [u8],
    /// TCP port, unknown for unix sockets.
    pub port: Option<u16>,
}

/// A request body, de-chunked and bounded by the host (RFC 9112, 6.3).
///
/// A host whose clients may be slow limits how long they take for a body: [`Pace`](crate::input::Pace) does it.
pub trait BodySource: Send {
    /// Bytes still to be read, if known. A body whose length is known is read without a growing buffer. Called while Python's
    /// lock is held, as [`is_ready`](Self::is_ready) is: must not wait.
    fn remaining(&self) -> Option<u64>;

    /// Reads at least one byte into `buf` unless the body is at its end or `buf` is empty; returns the count, 0 at the
    /// end. May block; the gateway calls it detached from Python unless [`is_ready`](Self::is_ready).
    ///
    /// The bytes of `buf` are initialised, with zeros or with earlier bytes of this body: a count beyond those that were
    /// written shows these. A count beyond the length of `buf` is an error of the body, as `Err` is.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, HostError>;

    /// Whether the rest is in memory, so that no further `read` blocks.
    fn is_ready(&self) -> bool {
        false
    }

    /// The length of a body that is complete before the application is called and can be read from any position: `wsgi.input`
    /// has `seek` and `tell` then. `None` for a body that is read as it arrives.
    fn length(&self) -> Option<u64> {
        None
    }

    /// Has the next `read` begin at `position`, at most [`length`](Self::length). Called only where there is one; must not wait.
    fn seek(&mut self, position: u64) {
        let _ = position;
    }

    /// Whether bytes of it may still have to come from the client. On threads, requests with such bodies have half of them at
    /// most, so that slow clients cannot occupy all. False for a body that the host has collected, in a file for instance.
    fn streams(&self) -> bool {
        !self.is_ready()
    }

    /// Whether the next `read` may wait for the client. Meanwhile another request has the permit of this one.
    fn may_wait(&self) -> bool {
        self.streams()
    }
}

/// Where a response goes. Calls arrive in the order `send_head`, `send`..., `finish`, from one thread at a time.
///
/// A response that ends by [`fail`](Self::fail), or by being dropped, was cut short: the host must not let it look complete. It
/// closes or resets the connection or, when no head was sent, answers with an error page.
pub trait ResponseSink: Send {
    /// Takes status and headers. Does not block. The host may hold them back until the first `send` that is to be
    /// flushed, `flush` or `finish`.
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError>;

    /// Whether this host answers a response with these headers with a body of its own. The application's is not asked for then,
    /// or dropped. Asked at each call of `start_response`.
    fn replaces_body(&self, headers: &HeaderList) -> bool {
        let _ = headers;
        false
    }

    /// Whether small blocks of this response may be joined ([`Flush::Soon`]), where its head decides that for this host. Asked
    /// once, after `send_head`. `None`: as the operator says (`wsgi_output_buffering`).
    fn joins_blocks(&self) -> Option<bool> {
        None
    }

    /// Takes one non-empty block. Never blocks: what the client does not take yet is queued, and
    /// [`poll_ready`](Self::poll_ready) tells when to go on.
    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError>;

    /// Pushes what has been taken, the head included, towards the client. Does not block.
    fn flush(&mut self) -> Result<(), HostError>;

    /// Whether a further block may be sent, and whether one is wanted at all (not for HEAD, nor when the host turned
    /// the answer into a 304 or 412). Asked before a block is pulled from the application, also before the first.
    /// `Pending` wakes `cx` once that can have changed.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>>;

    /// Blocks until a further block may be sent, as [`poll_ready`](Self::poll_ready) says, bounded by the host's own send
    /// time-out. Only for the unbuffered `write` callable, whose blocks leave while the application goes on (PEP 3333, "The
    /// write() Callable").
    fn drain(&mut self) -> Result<(), HostError>;

    /// The response is complete. Nothing follows.
    fn finish(&mut self) -> Result<(), HostError>;

    /// The exchange has failed; its iterable is closed and the reason is in the log. [`Fault::status_hint`] says what to answer
    /// if no head was sent. Called last, also after `finish` if the failure came later; not called for an exchange that the
    /// host itself drops.
    fn fail(&mut self, fault: &Fault) {
        let _ = fault;
    }
}

/// A block of response body.
#[derive(Debug)]
pub enum Chunk<'a> {
    /// A small block (at most [`COPY_LIMIT`] bytes): copy it, the bytes die with the call.
    Borrowed(&'a [u8]),
    /// A larger one: keep it until it is sent. Dropping it never blocks and needs no Python.
    Owned(Bytes),
    /// A part of a file, which does not change. Send it from there, or see [`FilePart::map`].
    File(FilePart),
}

impl Chunk<'_> {
    /// The block as memory that can be kept. Only a mapping can fail.
    pub fn into_bytes(self) -> std::io::Result<Bytes> {
        match self {
            Chunk::Borrowed(block) => Ok(Bytes::copy_from_slice(block)),
            Chunk::Owned(block) => Ok(block),
            Chunk::File(part) => part.map(),
        }
    }
}

/// Blocks up to this size are copied, larger ones held by reference: copying and holding cost the same CPU somewhere
/// between 4 and 16 KiB (measured with nginx 1.22 and CPython 3.11 on x86-64).
pub const COPY_LIMIT: usize = 8 * 1024;

/// Whether a block must go out at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// More follows without waiting: another `send` or `finish`.
    Later,
    /// It may wait for what follows (`wsgi_output_buffering`), but not for long: whoever is ready to take it gets it. What
    /// waits is never much, for sooner or later a block is to be sent `Now`.
    Soon,
    /// Push it towards the client now (PEP 3333, "Buffering and Streaming").
    Now,
}

/// Whether the host wants the body of this response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyInterest {
    /// Send it.
    Wanted,
    /// Do not produce it: no byte of it would be sent.
    Unwanted,
}

/// Lets a host keep its descriptors from processes that applications start, by any way that Python has.
///
/// A process that a plain Python program starts has no descriptors but those that the program made inheritable: Python opens
/// all others with `FD_CLOEXEC`. A host whose descriptors have no such flag sets it here, and closes them in processes that
/// run no other program.
pub trait ChildProcesses: Send + Sync + std::fmt::Debug {
    /// A process is about to be started, or another program to be run in this one. Called on any thread, attached to Python.
    fn before_start(&self) {}

    /// An application has forked this process, and goes on in it. The process has one thread, the caller: a lock that another
    /// thread held at the fork is never released.
    fn after_fork(&self) {}
}

/// Receives the end of a gateway; see [`Gateway::on_shutdown`](crate::python::Gateway::on_shutdown).
pub trait Shutdown: Send + Sync {
    /// Exchanges that are not complete by now are not waited for any more. Their sinks may never be dropped. Does not block.
    fn abandoned(&self);
}

/// Everything of one exchange that the gateway calls back into.
pub struct HostParts {
    /// The request body; `None` if there is none (cheaper than an empty one).
    pub body: Option<Box<dyn BodySource>>,
    /// Where the response goes.
    pub sink: Box<dyn ResponseSink>,
    /// Where the request's log lines go.
    pub log: Arc<dyn ErrorLog>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_hash_is_that_of_nginx_whatever_the_length_and_the_bytes() {
        let by_the_byte = |name: &[u8]| {
            name.iter()
                .fold(0u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte.to_ascii_lowercase())))
        };
        let every: Vec<u8> = (0..=255).collect();
        for begin in 0..every.len() {
            for end in begin..every.len().min(begin + 40) {
                assert_eq!(name_hash(&every[begin..end]), by_the_byte(&every[begin..end]));
            }
        }
        assert_eq!(name_hash(b"HOST"), name_hash(b"host"));
        assert_eq!(name_hash(b"host"), 3_208_616);
    }
}
