//! Signals that ask the program to end.

use std::ffi::c_int;
use std::io;
use std::sync::mpsc::channel;
use std::thread::{self, Builder};
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use wsgi_core::python::exit_at_once;

/// How long an orderly end may take after the second signal.
const LAST_TIMEOUT: Duration = Duration::from_millis(2500);

/// How often this process was asked to stop.
#[derive(Clone)]
pub(crate) struct Stop {
    times: watch::Receiver<usize>,
    /// The signals that ask for it.
    pub(crate) signals: Vec<c_int>,
}

impl Stop {
    pub(crate) async fn asked(&self, times: usize) {
        // An error means that signals are not counted any more, as when the thread for them ends.
        let _ = self.times.clone().wait_for(|asked| *asked >= times).await;
    }
}

/// Counts SIGINT and SIGTERM from now on, on a thread of its own: whatever the others wait for, the second signal ends the
/// process.
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
            // Not as a task: signals are of no further use.
            thread::sleep(LAST_TIMEOUT);
            exit_at_once(1);
        }
    }
}
