//! A raw HTTP/1.x client: it sends what it is told to and believes nothing.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::{Request, WAIT_TIMEOUT};

/// A request with a `Host`, and a `Content-Length` if there is a body. `headers` are whole lines with their ends.
pub fn request(method: &str, target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}");
    if !body.is_empty() {
        let _ = write!(text, "Content-Length: {}\r\n", body.len());
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

/// A GET request that keeps the connection.
pub fn get(target: &str) -> Vec<u8> {
    request("GET", target, "", b"")
}

/// What came back.
#[derive(Debug, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The reason phrase, as latin-1.
    pub reason: String,
    /// In order, as received; bytes are taken for latin-1.
    pub headers: Vec<(String, String)>,
    /// The body, without chunked coding.
    pub body: Vec<u8>,
    /// Whether the framing says that the body is complete. A body that ends with the connection is, unless it was reset.
    pub whole: bool,
}

impl Response {
    /// The value of a header that stands in the head once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} stands in the head {} times: {:?}", values.len(), self.headers);
        values.first().copied()
    }

    /// All values of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of a complete response with status 200.
    #[track_caller]
    pub fn ok(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        assert!(self.whole, "the body is cut: {self:?}");
        self.text()
    }
}

/// One connection.
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
    /// Takes over a connection. Whatever takes longer than [`WAIT_TIMEOUT`] is a failure.
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(WAIT_TIMEOUT)).expect("a time-out");
        stream.set_write_timeout(Some(WAIT_TIMEOUT)).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, buffer: Vec::new(), end: None }
    }

    /// Sends bytes. A server that has closed the connection already is no error here: its answer counts.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.stream.write_all(bytes.as_ref()) {
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            result => result.expect("the server reads"),
        }
    }

    /// Sends no more. A server that has closed the connection already is no error here either.
    pub fn end(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads a head. Whatever stands in front of it is a failure.
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

    /// Sends a request and reads the response to it, which for `HEAD` is a head alone.
    pub fn ask(&mut self, request: &Request) -> Response {
        self.send(request.to_bytes());
        if request.is_head() { self.head() } else { self.response() }
    }

    /// Reads a head and the body that belongs to it.
    pub fn response(&mut self) -> Response {
        let head = self.head();
        self.body_of(head)
    }

    /// Reads the response to a request with this method, and passes over what is said before it: 100 Continue.
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

    /// Reads one chunk of a chunked body; an empty one is the last. `None` if the connection ends before.
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

    /// Reads so many bytes, fewer only at the end of the connection.
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length && self.fill() {}
        self.buffer.drain(..length.min(self.buffer.len())).collect()
    }

    /// Reads to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// Waits for the server to end the connection; false if it sends something instead.
    pub fn is_ended(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill()
    }

    /// Whether anything arrives within so long. For what must not happen; nothing can tell that but time.
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
