//! A host of one's own: WSGI applications over `std::net`, a thread for each client.
//!
//! `embed-example 127.0.0.1:8000/prefix app.py "wsgi_threads 4" "wsgi_var NAME value"` serves until its standard input
//! ends. It does what a host must do. For the open internet it lacks TLS, and a limit on how many clients there are.

mod connection;

use std::{env, error::Error, io, net::TcpListener, process, sync::Arc, thread, time::Duration};

use wsgi_core::config::Lines;
use wsgi_core::host::{ErrorLog, Level};
use wsgi_core::python::{Gateway, GatewaySettings, Location, Mode};

/// What is served.
struct Site {
    gateway: Gateway,
    location: Arc<Location>,
    prefix: String,
}

struct Stderr;

impl ErrorLog for Stderr {
    fn log(&self, level: Level, text: &str) {
        eprintln!("{level:?}: {text}");
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
    let Lines { level, process: settings, notices } = Lines::new(lines, &env::current_dir()?)?;
    notices.iter().for_each(|notice| Stderr.log(notice.level, &notice.text));
    let settings = GatewaySettings::from(&settings);
    if settings.mode == Mode::Inline {
        return Err("wsgi_threads 0 needs an event loop, and there is none here".into());
    }
    let gateway = Gateway::start(&settings, Arc::new(Stderr))?;
    let location = Location::builder(level.target.clone().expect("wsgi_pass names it")).settings(level).build();
    let (address, prefix) = address.split_at(address.find('/').unwrap_or(address.len()));
    let site: &_ = Box::leak(Box::new(Site { gateway, location, prefix: prefix.trim_end_matches('/').to_owned() }));
    let listener = TcpListener::bind(address)?;
    println!("Serving {app} on http://{}{}/", listener.local_addr()?, site.prefix);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that there is no thread for sees its connection closed.
            let _ = thread::Builder::new().spawn(move || connection::serve(&stream, site));
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    // On the thread that has started it: requests end, then Python does.
    site.gateway.shutdown(Duration::from_secs(5));
    Ok(())
}
