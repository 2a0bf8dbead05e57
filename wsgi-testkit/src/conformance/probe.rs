//! A second request on a connection, which shows where the host takes the first one and its response to end.

use crate::wire::{Client, request};

/// The bytes that follow a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The answer to the probe, and no other byte.
    Answer,
    /// The end of the connection.
    End,
    /// Other bytes; their number.
    Stray(usize),
}

/// A request whose answer is unique. It asks for the end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Probe(usize);

impl Probe {
    /// Python code that answers probes: an application calls `probe` first, and returns its result unless that is None.
    pub const ANSWER: &'static str = "
def probe(environ, start_response):
    if environ['SCRIPT_NAME'] + environ['PATH_INFO'] == '/probe':
        text = b'probe ' + environ['QUERY_STRING'].encode()
        start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(text)))])
        return [text]
";

    /// Creates the probe with this number.
    pub fn new(number: usize) -> Self {
        Self(number)
    }

    /// Returns the bytes of the request.
    pub fn bytes(self) -> Vec<u8> {
        request("GET", &format!("/probe?{}", self.0), "Connection: close\r\n", b"")
    }

    /// Reads to the end of the connection, after the response to the request before the probe.
    pub fn after(self, client: &mut Client) -> After {
        let rest = client.rest();
        let text = String::from_utf8_lossy(&rest);
        match text.split_once("\r\n\r\n") {
            _ if rest.is_empty() => After::End,
            Some((head, body)) if head.starts_with("HTTP/1.1 200 ") && body == format!("probe {}", self.0) => {
                After::Answer
            }
            _ => After::Stray(rest.len()),
        }
    }
}
