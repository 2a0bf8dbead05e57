//! A host that lets each request wait, and transfers it, as a host of several processes does.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::slice;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use wsgi_core::config::{Limits, Mode};
use wsgi_core::error::Fault;
use wsgi_core::host::{BodySource, HostParts, Summary};
use wsgi_core::python::{ExchangeHandle, Gateway, Location};

use crate::Gate;
use crate::faults::Faults;
use crate::request::Request;
use crate::sink::CapturingSink;

/// The largest body that is transferred, in bytes.
const LARGEST_BODY: u64 = 64 * 1024;

/// Both ends of transfers, in one process: requests wait in an interpreter without a free permit, and run in another one.
pub(crate) struct Transfers {
    pub(crate) gateway: &'static Gateway,
    busy: Arc<Location>,
    waiting: Mutex<Sender<Waiting>>,
}

/// A request that waits, and the location of its application.
type Waiting = (ExchangeHandle, Arc<Location>);

/// Time between two attempts to transfer a request.
const RETRY_INTERVAL: Duration = Duration::from_millis(1);

/// The threads of each interpreter.
const THREADS: usize = 2;

/// The mode of the gateway.
pub(crate) fn mode() -> Mode {
    Mode::Threads(Limits::new(THREADS).queue(64))
}

/// The application that holds the permits of its interpreter, waiting at a gate beside it.
pub(crate) const BUSY: &str = "
def application(environ, start_response):
    open(__file__ + '.gate').read()
";

impl Transfers {
    /// `busy` is [`BUSY`] in an interpreter of its own, from the file `script`.
    pub(crate) fn start(gateway: &'static Gateway, busy: Arc<Location>, script: &Path) -> Self {
        let gate = Gate::new(format!("{}.gate", script.display()));
        for _ in 0..THREADS {
            let (sink, client) = CapturingSink::new(Faults::default());
            let parts = HostParts::new(sink, client.log());
            gateway.dispatch(&busy, &crate::get("/"), parts).expect("a queue with room");
        }
        // It never passes.
        std::mem::forget(gate.arrival());
        let (waiting, requests) = channel();
        let at = Arc::clone(&busy);
        thread::spawn(move || transfer_all(gateway, &at, &requests));
        Self { gateway, busy, waiting: Mutex::new(waiting) }
    }

    pub(crate) fn send(
        &self,
        location: &Arc<Location>,
        request: &Request,
        parts: HostParts,
        done: impl FnOnce(Result<Summary, Fault>) + Send + 'static,
    ) -> ExchangeHandle {
        let is_small = |body: Box<dyn BodySource>| body.length().is_some_and(|length| length <= LARGEST_BODY);
        let at = if request.source().is_none_or(is_small) { &self.busy } else { location };
        let handle = self.gateway.dispatch(at, request, parts.done(done)).expect("a queue with room");
        if Arc::ptr_eq(at, &self.busy) {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.send((handle.clone(), Arc::clone(location))).expect("the thread runs");
        }
        handle
    }
}

/// Transfers requests until they have begun: those that find no free permit come back.
fn transfer_all(gateway: &'static Gateway, busy: &Arc<Location>, new: &Receiver<Waiting>) {
    let mut requests = Vec::new();
    loop {
        match new.recv_timeout(if requests.is_empty() { Duration::MAX } else { RETRY_INTERVAL }) {
            Ok(request) => requests.push(request),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        requests.retain(|(handle, _)| !handle.has_begun() && !handle.is_cancelled());
        for (handle, location) in requests.iter().filter(|(handle, _)| handle.can_transfer()) {
            let (here, there) = UnixStream::pair().expect("a pair of sockets");
            let locations = Box::leak(Box::new([Arc::clone(location)]));
            gateway.answer(there, locations, Box::new(|sink, log, _| HostParts::new(sink, log)), || {});
            handle.transfer(slice::from_ref(busy), here);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::runner::{Host, Running};

    /// Kinds of messages: the process is ready, a request, the process refuses it.
    const READY: u8 = 0;
    const REQUEST: u8 = 1;
    const REFUSED: u8 = 3;

    #[test]
    fn a_request_that_cannot_be_read_is_refused() {
        let (mut here, there) = UnixStream::pair().expect("a pair of sockets");
        let Running::Transfers(host) = &Host::shared_with_transfers().gateway else { panic!("a host of another kind") };
        host.gateway.answer(there, &[], Box::new(|sink, log, _| HostParts::new(sink, log)), || {});
        let [a, b, c, d] = 1u32.to_ne_bytes();
        here.write_all(&[REQUEST, a, b, c, d, 0xff]).expect("the stream takes a few bytes");
        let mut answer = Vec::new();
        here.read_to_end(&mut answer).expect("the process closes the stream");
        assert_eq!(answer, [READY, 0, 0, 0, 0, REFUSED, 0, 0, 0, 0]);
    }
}
