//! The interface between the gateway and its host (nginx, hyper, the testkit).
//!
//! The gateway depends on no server. It reads a request through [`RequestView`] and its body through [`BodySource`],
//! and writes the response to a [`ResponseSink`] and log lines to an [`ErrorLog`]. The last three are separate objects
//! ([`HostParts`]), because an application may log on one thread while another thread waits for input.

mod line_writer;
mod plain;
mod snapshot;
mod stderr_log;

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::error::{Fault, HostError};

pub use line_writer::LineWriter;
pub use plain::PlainRequest;
pub use snapshot::RequestSnapshot;
pub use stderr_log::StderrLog;

pub use crate::error_log::{ErrorLog, Level};
pub use crate::lock::{Leaf, LeafGuard};
pub use crate::protocol::environ::{Mount, decode_path, decode_prefix, host_and_port, split_path};
pub use crate::protocol::head::{
    Accel, AccelHeader, AccelHeaders, HeadError, Header, HeaderList, Ranges, ResponseHead, StatusLine, decimal,
};
pub use crate::protocol::input::Pace;
pub use crate::protocol::output::{ApplicationFile, FilePart, SpoolStore};
pub use crate::protocol::pool::Shares;
pub use crate::protocol::record::Log;
pub use crate::protocol::reload::{Decision, FileStamp, ReloadPolicy, StampSource, Version, WorkerControl};
pub use crate::protocol::response::Framing;

/// The request line, headers and connection of one request, as borrowed bytes.
///
/// The gateway reads it once, before it calls the application. Values may point into memory that is freed after that
/// call. All text is raw bytes as received unless a method says otherwise; the gateway decodes it as latin-1 (PEP 3333,
/// "A Note On String Types").
pub trait RequestView {
    /// Request method as sent, never empty. `HEAD` stays `HEAD`.
    fn method(&self) -> &[u8];

    /// Scheme for `wsgi.url_scheme`.
    fn scheme(&self) -> Scheme;

    /// Protocol version of the client's request, e.g. `HTTP/1.1`, never empty.
    fn protocol(&self) -> &[u8];

    /// Percent-decoded path prefix of the application; see [`split_path`]. Empty, or `/...`
    /// without a trailing slash. `script_name` followed by `path_info` is the decoded path.
    fn script_name(&self) -> &[u8];

    /// Percent-decoded rest of the path, see [`script_name`](Self::script_name).
    fn path_info(&self) -> &[u8];

    /// Raw query string without the `?`; empty if there is none.
    fn query(&self) -> &[u8];

    /// Values for `SERVER_NAME` and `SERVER_PORT`; the name is never empty. Without a port (a unix socket) the gateway
    /// uses the default port of the scheme.
    fn server(&self) -> Endpoint<'_>;

    /// Values for `REMOTE_ADDR` and `REMOTE_PORT`. The environ has no `REMOTE_ADDR` if the name is empty, and no
    /// `REMOTE_PORT` if the port is unknown.
    fn peer(&self) -> Endpoint<'_>;

    /// Length of the de-chunked body in bytes, if there is a body or the client declared a length.
    fn content_length(&self) -> Option<u64>;

    /// Request headers in order, duplicates included.
    fn headers(&self) -> impl Iterator<Item = HeaderField<'_>>;

    /// CGI variables that the host adds to the required ones (`REQUEST_URI`, `DOCUMENT_ROOT`, `SSL_PROTOCOL`...). Names
    /// are ASCII. A name should keep its position from request to request, because the gateway looks up its key by
    /// position first.
    fn extra(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        std::iter::empty()
    }

    /// The operator's variables (`wsgi_var`), evaluated, each name at most once. They override all other variables; an
    /// empty value removes the key. Names are checked at configuration time, see [`config`](crate::config).
    fn variables(&self) -> impl Iterator<Item = (&str, &[u8])>;
}

/// One request header, with the hash of its name, which most hosts have already computed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HeaderField<'a> {
    /// Name as received, case included.
    pub name: &'a [u8],
    /// Value as received. The gateway removes white space around it.
    pub value: &'a [u8],
    /// [`name_hash`] of `name`.
    pub hash: u32,
}

impl<'a> HeaderField<'a> {
    /// Creates a field and computes its hash, for hosts that have none.
    pub fn new(name: &'a [u8], value: &'a [u8]) -> Self {
        Self::hashed(name, value, name_hash(name))
    }

    /// Creates a field from a hash that the host has computed, as [`name_hash`] does.
    #[inline]
    pub fn hashed(name: &'a [u8], value: &'a [u8], hash: u32) -> Self {
        Self { name, value, hash }
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

/// Lower-case form of each byte.
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
    /// Host name or address, without port. The gateway puts an IPv6 address in brackets for `SERVER_NAME`.
    pub name: &'a [u8],
    /// TCP port; `None` for unix sockets.
    pub port: Option<u16>,
}

/// A request body, de-chunked and bounded by the host (RFC 9112, 6.3).
///
/// A host with slow clients limits the time that they take to send a body, for instance with
/// [`Pace`].
pub trait BodySource: Send {
    /// Bytes still to be read, if known. A body of known length is read without a growing buffer. Must not block:
    /// called with the GIL held, as [`is_ready`](Self::is_ready) is.
    fn remaining(&self) -> Option<u64>;

    /// Reads at least one byte into `buf` unless the body is at its end or `buf` is empty; returns the count, 0 at the
    /// end. May block; the gateway calls it detached from Python unless [`is_ready`](Self::is_ready).
    ///
    /// The bytes of `buf` are initialised, with zeros or with earlier bytes of this body; a returned count larger than
    /// the number of bytes written exposes them. A count beyond the length of `buf` is an error of the body, like
    /// `Err`.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, HostError>;

    /// Whether the rest is in memory, so that no further `read` blocks.
    fn is_ready(&self) -> bool {
        false
    }

    /// Length of a body that is complete before the application is called and can be read from any position:
    /// `wsgi.input` then has `seek` and `tell`. `None` for a body that is read as it arrives.
    fn length(&self) -> Option<u64> {
        None
    }

    /// Makes the next `read` begin at `position`, which is at most [`length`](Self::length). Called only if there is a
    /// length; must not block.
    fn seek(&mut self, position: u64) {
        let _ = position;
    }

    /// Whether some of its bytes may still have to come from the client. Requests with such bodies use at most half of
    /// the pool's threads, so that slow clients cannot occupy all of them. False for a body that the host has
    /// collected, for instance in a file.
    fn streams(&self) -> bool {
        !self.is_ready()
    }

    /// Whether the next `read` may wait for the client. During such a `read` another request uses the permit of this
    /// one.
    fn may_wait(&self) -> bool {
        self.streams()
    }
}

/// Destination of a response. Calls arrive in the order `send_head`, `send`..., `finish`, from one thread at a time.
///
/// A response that ends with [`fail`](Self::fail), or whose sink is dropped before `finish`, is truncated: the host
/// must not let it look complete. It closes or resets the connection or, if no head was sent, answers with an error
/// page.
pub trait ResponseSink: Send {
    /// Takes status and headers. Does not block. The host may hold them back until `flush`, `finish`, or the first
    /// `send` whose block is to be flushed.
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError>;

    /// Whether this host sends another body in place of the application's for a response with these headers. The
    /// gateway then does not ask the application for its body, or drops it. Called at each call of `start_response`.
    fn replaces_body(&self, headers: &HeaderList) -> bool {
        let _ = headers;
        false
    }

    /// Whether small blocks of this response may be joined ([`Flush::Soon`]), for hosts where the head decides that.
    /// Called once, after `send_head`. `None`: the operator's setting applies (`wsgi_output_buffering`).
    fn joins_blocks(&self) -> Option<bool> {
        None
    }

    /// Whether this host takes files of the application ([`Chunk::ApplicationFile`]) and sends them while the application
    /// no longer runs. Otherwise the gateway reads them in blocks. Called before the head is sent.
    fn sends_files(&self) -> bool {
        false
    }

    /// Takes one non-empty block. Never blocks: data that the client does not accept yet is queued, and
    /// [`poll_ready`](Self::poll_ready) reports when to continue.
    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError>;

    /// Pushes all data taken so far, the head included, towards the client. Does not block.
    fn flush(&mut self) -> Result<(), HostError>;

    /// Polls whether a further block may be sent, and whether the host wants one at all (not for HEAD, nor when the
    /// host turned the answer into a 304 or 412). Called before each block is pulled from the application, also before
    /// the first. After `Pending`, `cx` is woken once the answer can have changed.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>>;

    /// Blocks until a further block may be sent, as [`poll_ready`](Self::poll_ready) reports, or until the host's own
    /// send timeout expires. Called only for the unbuffered `write` callable, whose blocks are sent while the
    /// application continues (PEP 3333, "The write() Callable").
    fn drain(&mut self) -> Result<(), HostError>;

    /// Completes the response. No call follows, except perhaps [`fail`](Self::fail).
    fn finish(&mut self) -> Result<(), HostError>;

    /// Reports that the exchange has failed; its iterable is closed and the reason is in the log.
    /// [`Fault::status_hint`] is the status to answer with if no head was sent. The last call, also after `finish` if
    /// the exchange failed later; not called for an exchange that the host itself drops.
    fn fail(&mut self, fault: &Fault) {
        let _ = fault;
    }
}

/// A block of response body. A host passes kinds that it does not know to [`into_bytes`](Self::into_bytes).
#[derive(Debug)]
#[non_exhaustive]
pub enum Chunk<'a> {
    /// A small block (at most [`COPY_LIMIT`] bytes): copy it, the bytes are valid during the call only.
    Borrowed(&'a [u8]),
    /// A larger block: keep it until it is sent. Dropping it never blocks and needs no GIL.
    Owned(Bytes),
    /// A part of a file whose bytes do not change. Send it from the file, or see [`FilePart::map`].
    File(FilePart),
    /// A part of a file of the application, for a sink that [sends files](ResponseSink::sends_files).
    ApplicationFile(ApplicationFile),
}

impl Chunk<'_> {
    /// Returns the block as memory that can be kept. Fails only if a file cannot be mapped or read.
    pub fn into_bytes(self) -> std::io::Result<Bytes> {
        match self {
            Chunk::Borrowed(block) => Ok(Bytes::copy_from_slice(block)),
            Chunk::Owned(block) => Ok(block),
            Chunk::File(part) => part.map(),
            Chunk::ApplicationFile(mut part) => part.read(usize::MAX),
        }
    }
}

/// Size limit for copying: blocks up to this size are copied, larger blocks are held by reference. Copying and holding
/// cost the same CPU time somewhere between 4 and 16 KiB (measured with nginx 1.22 and CPython 3.11 on x86-64).
pub const COPY_LIMIT: usize = 8 * 1024;

/// When a block must be sent. A host treats kinds that it does not know as `Now`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flush {
    /// Another `send` or `finish` follows without waiting.
    Later,
    /// The block may wait for the blocks that follow (`wsgi_output_buffering`), but not for long: the host sends it as
    /// soon as the client can take it. The amount that waits is small, because a later block is sent with `Now`.
    Soon,
    /// Push the block towards the client now (PEP 3333, "Buffering and Streaming").
    Now,
}

/// Whether the host wants the body of this response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyInterest {
    /// Send the body.
    Wanted,
    /// Do not produce the body: no byte of it would be sent.
    Unwanted,
}

/// Lets a host keep its descriptors out of processes that applications start, in any way that Python offers.
///
/// A process that a plain Python program starts inherits only the descriptors that the program made inheritable: Python
/// opens all others with `FD_CLOEXEC`. A host whose descriptors lack that flag sets it in `before_start`, and closes
/// them in `after_fork`, in processes that run no other program.
pub trait ChildProcesses: Send + Sync + std::fmt::Debug {
    /// Called before a process is started, or before another program is run in this process. On any thread, attached to
    /// Python.
    fn before_start(&self) {}

    /// Called in a process that an application has forked and that continues to run the application. The process has
    /// one thread, the caller: a lock that another thread held at the fork is never released.
    fn after_fork(&self) {}
}

/// Receives the load of the thread pools, for a host that has several processes and chooses one for each connection.
///
/// ```
/// # use std::sync::atomic::{AtomicUsize, Ordering};
/// # use wsgi_core::host::LoadObserver;
/// #[derive(Debug)]
/// struct Requests(AtomicUsize);
///
/// impl LoadObserver for Requests {
///     fn load_changed(&self, before: usize, now: usize) {
///         // Wraps around if there are less.
///         self.0.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
///     }
/// }
/// ```
pub trait LoadObserver: Send + Sync + std::fmt::Debug {
    /// The number of requests of one interpreter that run or wait for a permit has changed. A request that waits for its
    /// client does not count. Called on any thread, with the lock of the pool: returns at once, and does not call the gateway.
    fn load_changed(&self, before: usize, now: usize);

    /// Called on a thread that has answered a request while others are queued. With a result the thread waits for so long for a
    /// request of another process that is to be answered before the queued ones.
    fn waits_for_older(&self) -> Option<std::time::Duration> {
        None
    }
}

/// Receives events at the end of a gateway; see [`Gateway::on_shutdown`](crate::python::Gateway::on_shutdown).
pub trait Shutdown: Send + Sync {
    /// The gateway no longer waits for the exchanges that are not complete yet. Their sinks may never be dropped. Does
    /// not block.
    fn abandoned(&self);
}

/// The objects of one exchange that the gateway calls.
///
/// ```
/// # use std::sync::Arc;
/// # use wsgi_core::{host::{HostParts, ResponseHead, StderrLog}, relay::{ROOM, relay}};
/// let (sink, response) = relay::<ResponseHead>(ROOM);
/// let parts = HostParts::new(sink, Arc::new(StderrLog::default())).done(|result| println!("{result:?}"));
/// # drop((parts, response));
/// ```
#[must_use]
#[cfg_attr(not(feature = "python"), allow(dead_code, reason = "only the gateway reads the fields"))]
pub struct HostParts {
    pub(crate) body: Option<Box<dyn BodySource>>,
    pub(crate) sink: Box<dyn ResponseSink>,
    pub(crate) log: Arc<dyn ErrorLog>,
    pub(crate) done: Option<Done>,
}

/// See [`HostParts::done`].
pub(crate) type Done = Box<dyn FnOnce(Result<Summary, Fault>) + Send>;

impl HostParts {
    /// The response goes to `sink`, log lines of the request go to `log`. The request has no body.
    #[inline]
    pub fn new(sink: impl ResponseSink + 'static, log: Arc<dyn ErrorLog>) -> Self {
        Self { body: None, sink: Box::new(sink), log, done: None }
    }

    /// Adds the request body, if there is one. No body is cheaper than an empty one.
    #[inline]
    pub fn body(mut self, body: impl Into<Option<Box<dyn BodySource>>>) -> Self {
        self.body = body.into();
        self
    }

    /// Has `done` called with the result of an exchange on a thread, after the sink was dropped: on that thread or, for a request
    /// that was still queued, where it is cancelled. It is not called for a request that is refused. With inline execution
    /// [`Exchange::advance`](crate::python::Exchange::advance) returns the result instead.
    #[inline]
    pub fn done(mut self, done: impl FnOnce(Result<Summary, Fault>) + Send + 'static) -> Self {
        self.done = Some(Box::new(done));
        self
    }
}

/// The figures of a complete exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Status code that was sent.
    pub status: u16,
    /// Bytes of body that the host took.
    pub body_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_hash_equals_nginxs_for_any_name() {
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
