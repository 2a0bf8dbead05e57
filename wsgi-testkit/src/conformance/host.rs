//! The interface of a host for the clauses: it serves applications, and answers requests.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::wire::{Client, Response};
use crate::{Request, wait_for};

/// A host of the gateway that the suite can test.
pub trait HostUnderTest {
    /// The host's name in printed figures.
    fn name(&self) -> String {
        "a host".to_owned()
    }

    /// Returns the host's properties that PEP 3333 leaves open.
    fn traits(&self) -> Traits;

    /// Serves an application; returns when it can answer requests.
    fn serve(&self, site: Site) -> Box<dyn Served>;
}

/// Properties that PEP 3333 leaves to hosts.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// `wsgi.multithread`: whether the application runs on several threads at a time.
    pub multithread: bool,
    /// `wsgi.multiprocess`.
    pub multiprocess: bool,
    /// Whether the application runs in the host's event loop: then a wait for a client, or in the application, delays all
    /// other requests.
    pub inline: bool,
    /// Whether the host reads the whole request body before the application is called, so that a chunked one has a length.
    pub collects_body: bool,
    /// Whether the host does so at least for a body without a length.
    pub collects_chunks: bool,
}

/// An application that is being served. Dropping it ends the service.
pub trait Served {
    /// Sends one request, on a new connection if the host has connections, and reads the whole response.
    fn send(&self, request: Request) -> Response;

    /// Returns the address for clients; `None` if there are no connections.
    fn address(&self) -> Option<SocketAddr>;

    /// Returns the error log so far.
    fn log(&self) -> String;

    /// Shuts the service down in an orderly way, so that the log is complete, and returns the log.
    fn stop(self: Box<Self>) -> String;
}

impl dyn Served + '_ {
    /// Sends `GET`.
    pub fn get(&self, target: &str) -> Response {
        self.send(get(target))
    }

    /// Sends `POST` with a body.
    pub fn post(&self, target: &str, body: &[u8]) -> Response {
        self.send(post(target, body))
    }

    /// Opens a connection. For clauses of the wire.
    pub fn connect(&self) -> Client {
        let address = self.address().expect("a host with connections");
        Client::new(TcpStream::connect_timeout(&address, Duration::from_secs(10)).expect("the host listens"))
    }

    /// Sends raw bytes on a new connection, and reads one response.
    pub fn exchange(&self, bytes: &[u8]) -> Response {
        let mut client = self.connect();
        client.send(bytes);
        client.response()
    }

    /// Waits for a line of the error log that contains `text`, and returns it.
    #[track_caller]
    pub fn logged(&self, text: &str) -> String {
        wait_for(&format!("the log line {text:?}"), || {
            self.log().lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    }

    /// Requests `target` until the response is `expected`: an application may still run when the client has its whole
    /// response.
    #[track_caller]
    pub fn eventually(&self, target: &str, expected: &str) {
        wait_for(&format!("{target} to answer {expected:?}"), || (self.get(target).text() == expected).then_some(()));
    }
}

/// A `GET` request with a `Host`.
pub fn get(target: &str) -> Request {
    crate::get(target).header("host", "localhost")
}

/// A `POST` request with a `Host`, and a `Content-Length` if `body` is not empty.
pub fn post(target: &str, body: &[u8]) -> Request {
    crate::post(target, body.to_vec()).header("host", "localhost")
}

/// An application, and the configuration it is served with.
#[derive(Clone, Debug)]
pub struct Site {
    /// The script; its callable is `application`.
    pub source: String,
    /// Directives of its location, with arguments but without the semicolon: `wsgi_output_buffering on`.
    pub directives: Vec<String>,
    /// The path prefix that it is mounted at, `/` or `/...` without a trailing slash.
    pub prefix: String,
}

impl Site {
    /// Creates an application at `/`.
    pub fn new(source: impl Into<String>) -> Self {
        Self { source: source.into(), directives: Vec::new(), prefix: "/".to_owned() }
    }

    /// Creates an application that answers `/name` with its function `name`.
    pub fn of_functions(source: &str) -> Self {
        let dispatch = "
def application(environ, start_response):
    return globals()[environ['PATH_INFO'][1:]](environ, start_response)
";
        Self::new(source.to_owned() + dispatch)
    }

    /// Adds a directive.
    #[must_use]
    pub fn with(mut self, directive: &str) -> Self {
        self.directives.push(directive.to_owned());
        self
    }

    /// Mounts the application at a prefix.
    #[must_use]
    pub fn at(self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self }
    }
}
