//! Runs the suite on a [`Host`] in this process.

use std::net::SocketAddr;
use std::sync::Mutex;

use super::host::{HostUnderTest, Served, Site, Traits};
use crate::wire::Response;
use crate::{App, Captured, Host, Request};
use wsgi_core::host::Level;

/// The gateway in this process, with the testkit's host around it: no wire.
///
/// Every exchange must also pass [`Captured::check`].
#[derive(Clone, Copy)]
pub struct InProcess {
    host: &'static Host,
    traits: Traits,
    strict: bool,
}

impl InProcess {
    /// Uses the [shared](Host::shared) host, which has two threads.
    pub fn shared() -> Self {
        Self::new(
            Host::shared(),
            Traits {
                multithread: true,
                multiprocess: false,
                inline: false,
                collects_body: false,
                collects_chunks: false,
            },
        )
    }

    /// Uses a host that the test has created.
    pub fn new(host: &'static Host, traits: Traits) -> Self {
        Self { host, traits, strict: false }
    }

    /// Adds `wsgi_strict on`, unless a clause sets it otherwise.
    #[must_use]
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }
}

impl HostUnderTest for InProcess {
    fn name(&self) -> String {
        "the host in process".to_owned()
    }

    fn traits(&self) -> Traits {
        self.traits
    }

    fn serve(&self, site: Site) -> Box<dyn Served> {
        let says_so = |directive: &String| directive.starts_with("wsgi_strict ");
        let mut site = site;
        if self.strict && !site.directives.iter().any(says_so) {
            site = site.with("wsgi_strict on");
        }
        let app = site.directives.iter().fold(self.host.app(&site.source), |app, directive| app.with(directive));
        Box::new(Application { host: self.host, app, prefix: site.prefix, log: Mutex::default() })
    }
}

struct Application {
    host: &'static Host,
    app: App,
    prefix: String,
    log: Mutex<String>,
}

impl Served for Application {
    fn send(&self, request: Request) -> Response {
        let captured = self.host.send(&self.app, request.mounted_at(&self.prefix));
        captured.check();
        self.log.lock().expect("no test panics here").push_str(&captured.log_text(Level::Debug));
        response(&captured)
    }

    fn address(&self) -> Option<SocketAddr> {
        None
    }

    fn log(&self) -> String {
        self.log.lock().expect("no test panics here").clone()
    }

    fn stop(self: Box<Self>) -> String {
        self.log()
    }
}

/// Returns the response that a client would get from a host that adds nothing.
fn response(captured: &Captured) -> Response {
    let text = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
    let mut response =
        Response { status: captured.status(), body: captured.body(), whole: true, ..Response::default() };
    // If there is no head, a host sends its own response, which is complete.
    if let Some(head) = captured.head() {
        response.whole = captured.is_complete();
        response.reason = text(head.status.as_bytes()).split_once(' ').map_or("", |(_, reason)| reason).to_owned();
        response.headers = head.headers.iter().map(|header| (text(header.name), text(header.value))).collect();
        if let Some(length) = captured.content_length() {
            response.headers.push(("Content-Length".to_owned(), length.to_string()));
        }
    }
    response
}
