//! A small custom host: WSGI applications over `std::net`, a thread for each client.
//!
//! `embed-example 127.0.0.1:8000/prefix app.py "wsgi_threads 4" "wsgi_var NAME value"` serves until its standard input ends.
//! It does everything that a host must do. For the open internet it lacks TLS, and a limit on the number of clients.

mod connection;
mod timed;

use std::sync::{Arc, Condvar};
use std::{env, error::Error, io, net::TcpListener, process, thread, time::Duration};

use wsgi_core::config::{Lines, Mode};
use wsgi_core::host::{ErrorLog as _, Leaf, StderrLog, decode_prefix};
use wsgi_core::python::{Gateway, GatewaySettings, Location};

/// The application that this program serves, and its requests in progress.
struct Site {
    gateway: Gateway,
    location: Arc<Location>,
    prefix: Vec<u8>,
    /// Number of requests that have been read and whose responses have not been sent in full.
    busy: Leaf<usize>,
    changed: Condvar,
}

impl Site {
    fn busy(&'static self) -> Busy {
        self.busy.with(|busy| *busy += 1);
        Busy(self)
    }

    /// Blocks until all responses have been sent, or until `within` has passed.
    fn wait_until_idle(&self, within: Duration) {
        drop(self.busy.lock().wait_timeout_while(&self.changed, within, |busy| *busy > 0));
    }
}

/// Counts one request as busy until it is dropped.
struct Busy(&'static Site);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.with(|busy| *busy -= 1);
        self.0.changed.notify_all();
    }
}

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, app, directives @ ..] = &*arguments else {
        return Err("usage: embed-example ADDRESS:PORT[/PREFIX] APPLICATION [DIRECTIVE...]".into());
    };
    let lines = [format!("wsgi_pass {app}")].into_iter().chain(directives.iter().cloned());
    let Lines { level, process: settings, notices, .. } = Lines::new(lines, &env::current_dir()?)?;
    notices.iter().for_each(|notice| StderrLog::default().log(notice.level, &notice.text));
    let settings = GatewaySettings::from(&settings);
    if settings.mode == Mode::Inline {
        return Err("this host has no event loop: wsgi_threads must be 1 or more".into());
    }
    let gateway = Gateway::start(&settings, Arc::new(StderrLog::default()))?;
    let location = Location::builder(level.target.clone().expect("wsgi_pass names it")).settings(level).build();
    let (address, prefix) = address.split_at(address.find('/').unwrap_or(address.len()));
    let shown = prefix.trim_end_matches('/');
    let prefix = decode_prefix(prefix).ok_or_else(|| format!("no path can begin with {prefix}"))?;
    let site = Site { gateway, location, prefix, busy: Leaf::default(), changed: Condvar::new() };
    let site: &'static Site = Box::leak(Box::new(site));
    let listener = TcpListener::bind(address)?;
    println!("Serving {app} on http://{}{shown}/", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // If no thread can be started for a client, its connection is closed.
            let _ = thread::Builder::new().spawn(move || connection::serve(&stream, site));
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    // On the thread that started Python: requests end first, then Python does.
    site.gateway.shutdown(Duration::from_secs(5));
    site.wait_until_idle(connection::LINGER_TIME);
    Ok(())
}
