//! A request behind another one, which shows where the host takes the first one and its response to end.

use crate::wire::{Client, request};

/// What came behind a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The answer to the probe, and nothing else.
    Answer,
    /// The end of the connection.
    End,
    /// So many bytes that are something else.
    Stray(usize),
}

/// A request with an answer that no other one gets. It asks for the end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Probe(usize);

impl Probe {
    /// Python that answers probes; to be asked first by an application, whose response its result is unless it is None.
    pub const ANSWER: &'static str = "
def probe(environ, start_response):
    if environ['SCRIPT_NAME'] + environ['PATH_INFO'] == '/probe':
        text = b'probe ' + environ['QUERY_STRING'].encode()
        start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(text)))])
        return [text]
";

    /// The probe with this number.
    pub fn new(number: usize) -> Self {
        Self(number)
    }

    /// As it is sent.
    pub fn bytes(self) -> Vec<u8> {
        request("GET", &format!("/probe?{}", self.0), "Connection: close\r\n", b"")
    }

    /// Reads to the end of the connection, after the response to the request in front of the probe.
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
