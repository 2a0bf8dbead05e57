//! A host as the clauses see it: it serves applications, and answers requests.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::wire::{Client, Response};
use crate::{Request, wait_for};

/// A host of the gateway that the suite can put to the test.
pub trait HostUnderTest {
    /// What figures of the suite call this host.
    fn name(&self) -> String {
        "a host".to_owned()
    }

    /// What this host is like, where PEP 3333 leaves that to hosts.
    fn traits(&self) -> Traits;

    /// Serves an application; returns when requests are answered.
    fn serve(&self, site: Site) -> Box<dyn Served>;
}

/// What PEP 3333 leaves to hosts.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// `wsgi.multithread`: whether the application runs on several threads at a time.
    pub multithread: bool,
    /// `wsgi.multiprocess`.
    pub multiprocess: bool,
    /// Whether the application runs in the host's event loop: then a client that is waited for, or an application that
    /// waits, holds up all others.
    pub inline: bool,
    /// Whether the whole request body is there before the application is called: a chunked one has a length then.
    pub collects_body: bool,
    /// Whether at least a body without a length is, so that it has one.
    pub collects_chunks: bool,
}

/// An application that is being served. Dropping it ends it.
pub trait Served {
    /// Sends one request, on a connection of its own where there are connections, and takes the whole response.
    fn send(&self, request: Request) -> Response;

    /// Where clients connect; `None` if there are no connections.
    fn address(&self) -> Option<SocketAddr>;

    /// The error log so far.
    fn log(&self) -> String;

    /// Ends what is served in an orderly way, so that the log is complete, and returns that.
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

    /// Sends raw bytes on a connection of their own, and reads one response.
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

    /// Asks for `target` until the answer is `expected`: what an application does after its response was sent is not
    /// over when the client has it.
    #[track_caller]
    pub fn eventually(&self, target: &str, expected: &str) {
        wait_for(&format!("{target} to answer {expected:?}"), || (self.get(target).text() == expected).then_some(()));
    }
}

/// `GET` with a `Host`.
pub fn get(target: &str) -> Request {
    crate::get(target).header("host", "localhost")
}

/// `POST` with a `Host`, and a `Content-Length` if `body` is not empty.
pub fn post(target: &str, body: &[u8]) -> Request {
    crate::post(target, body.to_vec()).header("host", "localhost")
}

/// An application, and how it is to be served.
#[derive(Clone, Debug)]
pub struct Site {
    /// The script; its callable is `application`.
    pub source: String,
    /// Directives of its location, with arguments and without the semicolon: `wsgi_output_buffering on`.
    pub directives: Vec<String>,
    /// The path prefix that it is mounted at, `/` or `/...` without a slash at its end.
    pub prefix: String,
}

impl Site {
    /// An application at `/`.
    pub fn new(source: impl Into<String>) -> Self {
        Self { source: source.into(), directives: Vec::new(), prefix: "/".to_owned() }
    }

    /// One that answers `/name` by its function `name`.
    pub fn of_functions(source: &str) -> Self {
        let dispatch = "
def application(environ, start_response):
    return globals()[environ['PATH_INFO'][1:]](environ, start_response)
";
        Self::new(source.to_owned() + dispatch)
    }

    /// With a directive.
    #[must_use]
    pub fn with(mut self, directive: &str) -> Self {
        self.directives.push(directive.to_owned());
        self
    }

    /// Mounted at a prefix.
    #[must_use]
    pub fn at(self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self }
    }
}
