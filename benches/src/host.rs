//! An in-process host: sends requests from memory through the gateway, and counts the bytes of the responses.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};

use wsgi_core::config::{Mode, Target};
use wsgi_core::error::HostError;
use wsgi_core::host::{BodyInterest, Chunk, ErrorLog, Flush, HostParts, Level, ResponseHead, ResponseSink, Summary};
use wsgi_core::python::{Attached, Exchange, Gateway, GatewaySettings, Location};

use crate::request::Request;

/// The host of this process.
pub struct Host {
    gateway: Gateway,
    log: Arc<dyn ErrorLog>,
    counts: &'static Counts,
    folder: PathBuf,
}

/// Bytes that the client received.
#[derive(Debug, Default)]
struct Counts {
    /// Bytes of status, names and values.
    head: AtomicU64,
    body: AtomicU64,
}

impl Host {
    /// Starts Python. Panics if that fails, as nothing can be measured then.
    pub fn start(mode: Mode) -> Self {
        let log = Arc::new(Stderr);
        let gateway =
            Gateway::start(&GatewaySettings::new(mode), log.clone()).unwrap_or_else(|error| panic!("{error}"));
        let folder = std::env::temp_dir().join(format!("wsgi-benches-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for applications");
        Self { gateway, log, counts: Box::leak(Box::default()), folder }
    }

    /// Returns a location that serves the callable `application` of the Python code `source`.
    pub fn serve(&self, source: &str) -> Arc<Location> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let path = self.folder.join(format!("app{}.py", NEXT.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&path, source).expect("room for the application");
        Location::new(Target::Script { path, callable: "application".to_owned() })
    }

    /// Attaches the calling thread to Python until the result is dropped, as a host does around an event.
    pub fn attach(&self, at: &Location) -> Attached<'static> {
        self.gateway.attach(at)
    }

    /// Returns the objects that the gateway needs besides the request: an allocation for the body, if there is one, and one
    /// for the sink.
    #[inline(always)]
    pub fn parts(&self, request: &Request) -> HostParts {
        HostParts::new(Counting { counts: self.counts }, Arc::clone(&self.log)).body(request.source())
    }

    /// Begins to answer a request on the calling thread.
    pub fn begin(&self, at: &Arc<Location>, request: &Request, parts: HostParts) -> Exchange {
        self.gateway.begin(at, request, parts)
    }

    /// Answers a request on the calling thread. Panics if that fails.
    pub fn answer(&self, at: &Arc<Location>, request: &Request) -> Summary {
        let mut exchange = self.begin(at, request, self.parts(request));
        match exchange.advance(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(summary)) => summary,
            Poll::Ready(Err(fault)) => panic!("{}: {fault}", request.path),
            Poll::Pending => unreachable!("the sink takes everything"),
        }
    }

    /// Has a thread of the pool answer a request, and blocks until it has. Panics if that fails.
    pub fn answer_on_thread(&self, at: &Arc<Location>, request: &Request) -> Summary {
        let (done, result) = channel();
        let parts = self.parts(request).done(move |outcome| drop(done.send(outcome)));
        self.gateway.dispatch(at, request, parts).unwrap_or_else(|refused| panic!("{}: {refused}", request.path));
        let outcome = result.recv().expect("the thread answers");
        outcome.unwrap_or_else(|fault| panic!("{}: {fault}", request.path))
    }

    /// Returns the bytes of heads (status, names and values) and of bodies sent so far.
    pub fn bytes(&self) -> (u64, u64) {
        (self.counts.head.load(Ordering::Relaxed), self.counts.body.load(Ordering::Relaxed))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // An error is ignored: temporary files that stay do no harm.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A client that takes everything at once and discards it.
struct Counting {
    counts: &'static Counts,
}

impl ResponseSink for Counting {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        let headers = head.headers.iter().map(|header| header.name.len() + header.value.len());
        let length = head.status.as_bytes().len() + headers.sum::<usize>();
        self.counts.head.fetch_add(length as u64, Ordering::Relaxed);
        Ok(())
    }

    fn send(&mut self, chunk: Chunk<'_>, _flush: Flush) -> Result<(), HostError> {
        let length = match &chunk {
            Chunk::Borrowed(block) => block.len(),
            Chunk::Owned(block) => block.len(),
            _ => chunk.into_bytes()?.len(),
        };
        self.counts.body.fetch_add(length as u64, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), HostError> {
        Ok(())
    }

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        Poll::Ready(Ok(BodyInterest::Wanted))
    }

    fn drain(&mut self) -> Result<(), HostError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), HostError> {
        Ok(())
    }
}

/// Prints warnings and errors: a run that logs any does not measure the intended path.
struct Stderr;

impl ErrorLog for Stderr {
    fn log(&self, level: Level, text: &str) {
        if level >= Level::Warn {
            eprintln!("{level:?}: {text}");
        }
    }
}
