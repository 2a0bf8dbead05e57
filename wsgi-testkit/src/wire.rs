//! A raw HTTP/1.x client: it sends any bytes, and checks the responses strictly.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::{Request, WAIT_TIMEOUT};

/// Returns a request with a `Host`, and a `Content-Length` if there is a body. `headers` are whole lines with their ends.
pub fn request(method: &str, target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}");
    if !body.is_empty() {
        let _ = write!(text, "Content-Length: {}\r\n", body.len());
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

/// Returns a GET request that keeps the connection open.
pub fn get(target: &str) -> Vec<u8> {
    request("GET", target, "", b"")
}

/// A response.
#[derive(Debug, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The reason phrase, as latin-1.
    pub reason: String,
    /// Headers in order, as received; bytes are read as latin-1.
    pub headers: Vec<(String, String)>,
    /// The body, without chunked coding.
    pub body: Vec<u8>,
    /// Whether the body is complete by its framing. A body that ends with the connection is, unless the connection was reset.
    pub whole: bool,
}

impl Response {
    /// Returns the value of a header. Panics if the head has several.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} stands in the head {} times: {:?}", values.len(), self.headers);
        values.first().copied()
    }

    /// Returns all values of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body. Panics unless the response is complete and has the status 200.
    #[track_caller]
    pub fn ok(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        assert!(self.whole, "the body is cut: {self:?}");
        self.text()
    }
}

/// A connection to the server.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

impl Client {
    /// Uses a connection. Any wait longer than [`WAIT_TIMEOUT`] panics.
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(WAIT_TIMEOUT)).expect("a time-out");
        stream.set_write_timeout(Some(WAIT_TIMEOUT)).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, buffer: Vec::new(), end: None }
    }

    /// Sends bytes. If the server has closed the connection already, that is no error: its response counts.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.stream.write_all(bytes.as_ref()) {
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            result => result.expect("the server reads"),
        }
    }

    /// Closes the connection for sending. If the server has closed it already, that is no error either.
    pub fn end(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads a head. Panics on bytes in front of it.
    pub fn head(&mut self) -> Response {
        let end = loop {
            if let Some(position) = find(&self.buffer, b"\r\n\r\n") {
                break position;
            }
            if !self.fill() {
                panic!("the connection ended before a head: {:?}", String::from_utf8_lossy(&self.buffer));
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head: String = head[..end].iter().copied().map(char::from).collect();
        assert!(head.starts_with("HTTP/1."), "no head: {head:?}");
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
        words.next();
        let status = words.next().and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no head: {head:?}"));
        let reason = words.next().unwrap_or_default().to_owned();
        let headers = lines
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}")))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Response { status, reason, headers, body: Vec::new(), whole: true }
    }

    /// Sends a request and reads its response, which for `HEAD` is a head alone.
    pub fn ask(&mut self, request: &Request) -> Response {
        self.send(request.to_bytes());
        if request.is_head() { self.head() } else { self.response() }
    }

    /// Reads a head and its body.
    pub fn response(&mut self) -> Response {
        let head = self.head();
        self.body_of(head)
    }

    /// Reads the response to a request with this method, and skips interim responses: 100 Continue.
    pub fn final_response(&mut self, method: &str) -> Response {
        let mut head = self.head();
        while head.status < 200 {
            head = self.head();
        }
        if method == "HEAD" { head } else { self.body_of(head) }
    }

    fn body_of(&mut self, head: Response) -> Response {
        let mut response = head;
        if response.status == 204 || response.status == 304 {
            return response;
        }
        if response.header("Transfer-Encoding").is_some() {
            response.whole = loop {
                match self.chunk() {
                    Some(chunk) if chunk.is_empty() => break true,
                    Some(chunk) => response.body.extend(chunk),
                    None => break false,
                }
            };
        } else if let Some(length) = response.header("Content-Length") {
            let length = length.parse().expect("a number");
            response.body = self.take(length);
            response.whole = response.body.len() == length;
        } else {
            response.body = self.rest();
            response.whole = self.end == Some(End::Closed);
        }
        response
    }

    /// Reads one chunk of a chunked body; an empty one is the last. `None` if the connection ends first.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = loop {
            if let Some(position) = find(&self.buffer, b"\r\n") {
                break self.take(position + 2);
            }
            if !self.fill() {
                return None;
            }
        };
        let size = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
        let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("no chunk size: {size:?}"));
        let mut chunk = self.take(size + 2);
        if chunk.len() < size + 2 {
            return None;
        }
        assert_eq!(chunk.split_off(size), b"\r\n");
        Some(chunk)
    }

    /// Reads `length` bytes, or fewer if the connection ends.
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length && self.fill() {}
        self.buffer.drain(..length.min(self.buffer.len())).collect()
    }

    /// Reads to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// Waits for the server to end the connection; false if it sends anything.
    pub fn is_ended(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill()
    }

    /// Whether bytes arrive within `time`. For responses that must not come; only a wait can show that.
    pub fn has_answer_within(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).expect("a time-out");
        let arrived = !self.buffer.is_empty() || self.stream.peek(&mut [0]).is_ok();
        self.stream.set_read_timeout(Some(WAIT_TIMEOUT)).expect("a time-out");
        arrived
    }

    fn fill(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        let mut block = [0; 64 * 1024];
        match self.stream.read(&mut block) {
            Ok(0) => self.end = Some(End::Closed),
            Ok(count) => self.buffer.extend_from_slice(&block[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.end = Some(End::Reset),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("no answer: {error}; so far: {:?}", String::from_utf8_lossy(&self.buffer)),
        }
        self.end.is_none()
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
