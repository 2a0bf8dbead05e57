//! Memory of applications that a host keeps: it is released in the interpreter that it belongs to.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll};

use bytes::Bytes;
use wsgi_core::config::{Flag, LevelSettings, Limits, Mode, Target};
use wsgi_core::error::HostError;
use wsgi_core::host::{BodyInterest, Chunk, Flush, HostParts, ResponseHead, ResponseSink};
use wsgi_core::python::{Gateway, GatewaySettings, Location};
use wsgi_testkit::{CapturingLog, get};

/// Sends a block that is large enough to be passed without a copy; other paths return its number of references.
const LARGE: &str = "
import sys
block = bytes(50000)
def application(environ, start_response):
    start_response('200 OK', [])
    return [block] if environ['PATH_INFO'] == '/block' else [str(sys.getrefcount(block)).encode() + bytes(50000)]
";

/// A sink that sends its blocks to the test.
struct Keeping(Sender<Bytes>);

impl ResponseSink for Keeping {
    fn send_head(&mut self, _head: ResponseHead) -> Result<(), HostError> {
        Ok(())
    }
    fn send(&mut self, chunk: Chunk<'_>, _flush: Flush) -> Result<(), HostError> {
        let Chunk::Owned(block) = chunk else { panic!("a copy") };
        self.0.send(block).map_err(|_| HostError::ClientGone)
    }
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        Poll::Ready(Ok(BodyInterest::Wanted))
    }
    fn flush(&mut self) -> Result<(), HostError> {
        Ok(())
    }
    fn drain(&mut self) -> Result<(), HostError> {
        Ok(())
    }
    fn finish(&mut self) -> Result<(), HostError> {
        Ok(())
    }
}

fn ask(gateway: &Gateway, at: &Arc<Location>, path: &str) -> Bytes {
    let ((sender, blocks), (done, result)) = (channel(), channel());
    let parts = HostParts::new(Keeping(sender), Arc::new(CapturingLog::default()))
        .done(move |outcome| done.send(outcome.is_ok()).expect("the test waits"));
    gateway.dispatch(at, &get(path), parts).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(result.recv(), Ok(true));
    blocks.recv().expect("a block")
}

fn references(gateway: &Gateway, at: &Arc<Location>) -> usize {
    let block = ask(gateway, at, "/");
    let digits = block.split(|byte| *byte == 0).next().expect("a number");
    String::from_utf8_lossy(digits).parse().expect("a number")
}

#[test]
fn objects_released_by_the_host_are_freed_in_their_own_interpreter() {
    let folder = tempfile::tempdir().expect("a folder");
    let mode = Mode::Threads(Limits::new(1).max_threads(4).queue(4));
    let gateway = Gateway::start(&GatewaySettings::new(mode), Arc::new(CapturingLog::default()))
        .unwrap_or_else(|error| panic!("{error}"));
    let places = [("a.py", true), ("b.py", true), ("c.py", false)].map(|(name, own)| {
        let path = folder.path().join(name);
        std::fs::write(&path, LARGE).expect("a script");
        let mut settings = LevelSettings::default();
        settings.set(Flag::Subinterpreters, own);
        Location::builder(Target::Script { path, callable: "application".to_owned() }).settings(settings).build()
    });
    let before = places.each_ref().map(|at| references(&gateway, at));
    let kept = places.each_ref().map(|at| ask(&gateway, at, "/block"));
    let more = before.map(|count| count + 1);
    assert_eq!(places.each_ref().map(|at| references(&gateway, at)), more, "the host has them");
    // This thread is not attached to Python, so threads of the interpreters must release the references.
    drop(kept);
    assert_eq!(places.each_ref().map(|at| references(&gateway, at)), before);
}
