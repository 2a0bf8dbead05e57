//! Signals that ask the program to stop.

use std::ffi::c_int;
use std::io;
use std::sync::mpsc::channel;
use std::thread::{self, Builder};
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use wsgi_core::python::exit_at_once;

/// Time limit for a regular end after the second signal.
const LAST_TIMEOUT: Duration = Duration::from_millis(2500);

/// Counts the requests to stop this process.
#[derive(Clone)]
pub(crate) struct Stop {
    times: watch::Receiver<usize>,
    /// The signals that count.
    pub(crate) signals: Vec<c_int>,
}

impl Stop {
    pub(crate) async fn asked(&self, times: usize) {
        // An error means that signals are no longer counted, because their thread has ended.
        let _ = self.times.clone().wait_for(|asked| *asked >= times).await;
    }
}

/// Counts SIGINT and SIGTERM from now on, on a separate thread: the second signal ends the process even if all other
/// threads are blocked.
pub(crate) fn watch_signals() -> io::Result<Stop> {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
    let (sender, times) = watch::channel(0);
    let (tell, started) = channel();
    Builder::new().name("wsgi-signals".to_owned()).spawn(move || {
        let runtime = match runtime::Builder::new_current_thread().enable_io().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(tell.send(Err(error))),
        };
        runtime.block_on(async {
            let signals = kinds.map(signal);
            let [Ok(interrupt), Ok(terminate)] = signals else {
                let error = signals.into_iter().find_map(Result::err);
                return drop(tell.send(error.map_or(Ok(()), Err)));
            };
            let _ = tell.send(Ok(()));
            count(interrupt, terminate, &sender).await;
        });
    })?;
    started.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
    Ok(Stop { times, signals: kinds.map(|kind| kind.as_raw_value()).to_vec() })
}

async fn count(mut interrupt: Signal, mut terminate: Signal, times: &watch::Sender<usize>) {
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        times.send_modify(|times| *times += 1);
        if *times.borrow() == 2 {
            // Sleeping here is fine: further signals have no effect.
            thread::sleep(LAST_TIMEOUT);
            exit_at_once(1);
        }
    }
}
