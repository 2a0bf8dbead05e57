//! `wsgi-hyper`: a server for development.
#![forbid(unsafe_code)]

mod options;

use std::ffi::c_int;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use wsgi_core::config::{Flag, Target};
use wsgi_core::host::ErrorLog;
use wsgi_core::python::{Gateway, GatewaySettings, Location};
use wsgi_hyper::server::Server;
use wsgi_hyper::{StderrLog, WsgiService};

use options::{Command, Options};

/// How long requests under way may take after the first signal, and applications at their end after that.
const GRACE: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(5);

/// The same after a second signal.
const HURRY: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let folder = match std::env::current_dir() {
        Ok(folder) => folder,
        Err(error) => return fail(1, &format!("there is no current folder: {error}")),
    };
    match options::parse(std::env::args_os().skip(1), &folder) {
        Ok(Command::Help) => say(options::HELP.trim_end()),
        Ok(Command::Version) => say(concat!("wsgi-hyper ", env!("CARGO_PKG_VERSION"))),
        Ok(Command::Serve(options)) => match run(*options) {
            Ok(code) => return code,
            Err(error) => return fail(1, &error),
        },
        Err(error) => return fail(2, &error),
    }
    ExitCode::SUCCESS
}

/// Serves until a signal comes. On this thread Python starts and ends; another one takes care of the clients.
fn run(options: Options) -> Result<ExitCode, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let entered = runtime.enter();
    let server = Server::bind(&options.bind).map_err(|error| format!("cannot listen on {}: {error}", options.bind))?;
    // Before Python starts, which would install a handler of its own for one that has none.
    let stop = watch_signals().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let log: Arc<dyn ErrorLog> = Arc::new(StderrLog::default());
    let gateway = Gateway::start(&settings(&options, &stop.signals), Arc::clone(&log));
    let gateway = Arc::new(gateway.map_err(|error| error.to_string())?);
    let preload = options.level.is_on(Flag::Preload);
    let location = Location::builder(options.target).settings(options.level).build();
    if preload {
        gateway.preload(&location);
    }
    let service = WsgiService::builder(&gateway, &location).prefix(&options.prefix).log(Arc::clone(&log)).build();
    let prefix = options.prefix.trim_matches('/');
    let slash = if prefix.is_empty() { "" } else { "/" };
    say(format_args!("Serving {} on http://{}/{prefix}{slash}", options.script, server.address()));
    drop(entered);

    let graceful = runtime.block_on(async {
        let serving = server.serve(service, stop.asked(1), GRACE, log, |access| say(access));
        tokio::select! {
            () = serving => true,
            // Whatever is under way is dropped with `serving`.
            () = stop.asked(2) => false,
        }
    });
    if graceful {
        let again = stop.clone();
        runtime.spawn(async move {
            again.asked(2).await;
            std::process::exit(1);
        });
    }
    gateway.shutdown(if graceful { PATIENCE } else { HURRY });
    Ok(if graceful { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn settings(options: &Options, signals: &[c_int]) -> GatewaySettings {
    let mut settings = GatewaySettings::from(&options.process);
    if let Target::Module { .. } = options.target
        && let Ok(folder) = std::env::current_dir()
    {
        // As with `python -m`.
        settings.python.path.push(folder);
    }
    settings.reserved_signals = signals.to_vec();
    settings
}

/// How often this process was asked to stop.
#[derive(Clone)]
struct Stop {
    times: watch::Receiver<usize>,
    /// The signals that ask for it.
    signals: Vec<c_int>,
}

impl Stop {
    async fn asked(&self, times: usize) {
        // An error means that nobody listens for signals any more, as when the runtime ends.
        let _ = self.times.clone().wait_for(|asked| *asked >= times).await;
    }
}

/// Counts SIGINT and SIGTERM from now on.
fn watch_signals() -> io::Result<Stop> {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
    let [mut interrupt, mut terminate]: [Signal; 2] = [signal(kinds[0])?, signal(kinds[1])?];
    let (sender, times) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            sender.send_modify(|times| *times += 1);
        }
    });
    Ok(Stop { times, signals: kinds.map(|kind| kind.as_raw_value()).to_vec() })
}

/// A line on stdout. Where nobody reads it, nothing is lost.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn fail(status: u8, error: &str) -> ExitCode {
    eprintln!("wsgi-hyper: {error}");
    ExitCode::from(status)
}
