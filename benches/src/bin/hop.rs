//! Serves an application until its standard input ends: `hop plain|server SCRIPT`.
//!
//! `plain` is the hyper with one thread that serves as the baseline for wsgi-hyper. `server` is the server of wsgi-hyper with
//! one permit, and discards its access lines. Both use the runtime of the program `wsgi-hyper`, and for both the gateway
//! starts Python, so that it is in the same state. The first line of output is the address.

use std::env;
use std::io::{Read as _, stdin};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use wsgi_benches::hop;
use wsgi_core::config::{Limits, Mode, Target};
use wsgi_core::host::{ErrorLog, Level};
use wsgi_core::python::{Gateway, GatewaySettings, Location};
use wsgi_hyper::server::Server;
use wsgi_hyper::{StderrLog, WsgiService};

const USAGE: &str = "usage: hop plain|server SCRIPT";

/// Time that requests in progress have to finish at the end.
const GRACE: Duration = Duration::from_secs(5);

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [way, script] = arguments.as_slice() else { panic!("{USAGE}") };
    let log: Arc<dyn ErrorLog> = Arc::new(StderrLog::new(Level::Warn));
    let settings = GatewaySettings::new(Mode::Threads(Limits::new(1)));
    let gateway = Arc::new(Gateway::start(&settings, Arc::clone(&log)).unwrap_or_else(|error| panic!("{error}")));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let (end, ended) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        // No input is expected: the end of the input is the signal to stop.
        let _ = stdin().read_to_end(&mut Vec::new());
        drop(end);
    });
    let stop = async { drop(ended.await) };
    match way.as_str() {
        "plain" => runtime.block_on(async {
            let source = std::fs::read_to_string(script).expect("a script");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            println!("{}", listener.local_addr().expect("an address"));
            tokio::select! {
                () = hop::serve(listener, source) => {}
                () = stop => {}
            }
        }),
        "server" => {
            let location = Location::new(Target::Script { path: script.into(), callable: "application".to_owned() });
            let service = WsgiService::builder(&gateway, &location).log(Arc::clone(&log)).build();
            runtime.block_on(async {
                let server = Server::bind("127.0.0.1:0").expect("a port");
                println!("{}", server.address());
                server.serve(service, stop, GRACE, log, |_| ()).await;
            });
        }
        _ => panic!("{USAGE}"),
    }
    gateway.shutdown(GRACE);
}
