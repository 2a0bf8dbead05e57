//! `wsgi-hyper`: a server for development.
#![forbid(unsafe_code)]

mod options;
mod signals;

use std::ffi::c_int;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use wsgi_core::config::{Flag, Target};
use wsgi_core::host::{ErrorLog, Level, LineWriter};
use wsgi_core::python::{Gateway, GatewaySettings, Location};
use wsgi_hyper::server::Server;
use wsgi_hyper::{StderrLog, WsgiService};

use options::{Command, Options};
use signals::watch_signals;

/// Time limits after the first signal: for open requests, and then for the shutdown of applications.
const GRACE: Duration = Duration::from_secs(8);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Time limit for the shutdown of applications after a second signal.
const ABORT_TIMEOUT: Duration = Duration::from_millis(500);

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

/// Serves until a signal arrives. Python starts and ends on this thread. One other thread serves the clients, and
/// separate threads handle signals and write to the terminal.
fn run(options: Options) -> Result<ExitCode, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let entered = runtime.enter();
    let server = Server::bind(&options.bind).map_err(|error| format!("cannot listen on {}: {error}", options.bind))?;
    // Before Python starts: `import signal` takes over SIGINT if it has no handler.
    let stop = watch_signals().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let terminal = Arc::new(Terminal::new());
    let log = Arc::clone(&terminal.log);
    let gateway = Gateway::start(&settings(&options, &stop.signals), Arc::clone(&log));
    let gateway = Arc::new(gateway.map_err(|error| error.to_string())?);
    let preload = options.level.is_on(Flag::Preload);
    let location = Location::builder(options.target).settings(options.level).build();
    if preload {
        gateway.preload(&location);
    }
    let service = WsgiService::builder(&gateway, &location)
        .prefix(&options.prefix)
        .body_rate(options.body_rate)
        .log(Arc::clone(&log))
        .build();
    let prefix = options.prefix.trim_matches('/');
    let slash = if prefix.is_empty() { "" } else { "/" };
    terminal.say(format_args!("Serving {} on http://{}/{prefix}{slash}", options.script, server.address()));
    drop(entered);

    let lines = Arc::clone(&terminal);
    let graceful = runtime.block_on(async {
        let serving = server.serve(service, stop.asked(1), GRACE, log, move |access| lines.say(access));
        tokio::select! {
            () = serving => true,
            // Dropping `serving` drops all open requests.
            () = stop.asked(2) => false,
        }
    });
    if graceful {
        let (again, terminal) = (stop.clone(), Arc::clone(&terminal));
        runtime.spawn(async move {
            again.asked(2).await;
            terminal.flush();
            std::process::exit(1);
        });
    }
    gateway.shutdown(if graceful { SHUTDOWN_TIMEOUT } else { ABORT_TIMEOUT });
    terminal.flush();
    Ok(if graceful { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn settings(options: &Options, signals: &[c_int]) -> GatewaySettings {
    let mut settings = GatewaySettings::from(&options.process);
    // As with `python app.py` and `python -m`.
    let folder = match &options.target {
        Target::Script { path, .. } => path.parent().map(Path::to_owned),
        Target::Module { .. } => std::env::current_dir().ok(),
    };
    settings.python.path.extend(folder);
    settings.terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    settings.reserved_signals = signals.to_vec();
    settings
}

/// The output on the terminal: access lines, and the error log.
struct Terminal {
    lines: LineWriter,
    log: Arc<dyn ErrorLog>,
}

impl Terminal {
    fn new() -> Self {
        let log: Arc<dyn ErrorLog> = Arc::new(StderrLog::default());
        let told = Arc::clone(&log);
        let lines = LineWriter::stdout(move |lost| {
            let text = format!("{lost} lines of requests were dropped, because standard output was not read");
            told.log(Level::Warn, &text);
            None
        });
        Self { lines, log }
    }

    /// Queues a line for stdout. Never blocks.
    fn say(&self, line: impl std::fmt::Display) {
        self.lines.push(format!("{line}\n"));
    }

    /// Blocks until all queued lines are written, unless they are not read.
    fn flush(&self) {
        self.lines.wait();
        if self.log.is_full() {
            self.log.wait_for_room();
        }
    }
}

/// Writes a line to stdout directly; it is the only one. An error is ignored.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn fail(status: u8, error: &str) -> ExitCode {
    eprintln!("wsgi-hyper: {error}");
    ExitCode::from(status)
}
