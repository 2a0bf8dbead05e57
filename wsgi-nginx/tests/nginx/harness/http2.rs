//! An HTTP/2 client that sends only the frames that its test asks for; a library would send more.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use wsgi_harness::NginxVersion;

use super::{WAIT_TIMEOUT, nginx_version};

/// A connection without TLS (RFC 9113, 3.3).
pub(crate) struct Http2 {
    stream: UnixStream,
    next: u32,
    has_goaway: bool,
}

/// A received frame.
#[derive(Debug)]
pub(crate) struct Frame {
    kind: u8,
    flags: u8,
    pub(crate) stream: u32,
    payload: Vec<u8>,
}

/// Frame types (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

impl Http2 {
    /// Returns the directives of a server for HTTP/2 without TLS.
    pub(crate) fn listen(socket: &Path) -> String {
        let socket = socket.display();
        match nginx_version() >= NginxVersion(1, 25, 1) {
            true => format!("listen unix:{socket};\nhttp2 on;"),
            false => format!("listen unix:{socket} http2;"),
        }
    }

    /// Connects. The window of each stream has room for `window` bytes of a body.
    pub(crate) fn connect(socket: &Path, window: u32) -> Self {
        let stream = UnixStream::connect(socket).expect("nginx listens");
        stream.set_read_timeout(Some(WAIT_TIMEOUT)).expect("a time-out");
        let mut client = Self { stream, next: 1, has_goaway: false };
        client.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("nginx reads");
        // SETTINGS_INITIAL_WINDOW_SIZE
        client.write(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat());
        client
    }

    /// Sends a request without a body. Returns its stream.
    pub(crate) fn get(&mut self, path: &str) -> u32 {
        let stream = self.next;
        self.next += 2;
        // Literal fields without indexing (RFC 7541, 6.2.2), each shorter than 127 bytes.
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", path)];
        let mut block = Vec::new();
        for text in fields.into_iter().flat_map(|(name, value)| [name, value]) {
            if text.starts_with(':') {
                block.push(0);
            }
            block.push(u8::try_from(text.len()).expect("a short field"));
            block.extend_from_slice(text.as_bytes());
        }
        self.write(HEADERS, END_STREAM | END_HEADERS, stream, &block);
        stream
    }

    /// Enlarges the window of a stream, or of the connection if `stream` is 0.
    pub(crate) fn open_window(&mut self, stream: u32, bytes: u32) {
        self.write(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    }

    /// Returns the next frame that does not concern the connection itself.
    pub(crate) fn frame(&mut self) -> Frame {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).expect("a frame");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).expect("a whole frame");
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let frame = Frame { kind: head[3], flags: head[4], stream, payload };
            if frame.kind == SETTINGS && frame.flags & ACK == 0 {
                self.write(SETTINGS, ACK, 0, &[]);
            } else if frame.stream != 0 {
                return frame;
            } else {
                self.has_goaway |= frame.kind == GOAWAY;
            }
        }
    }

    /// Whether a GOAWAY frame has been received: nginx accepts no further streams on this connection.
    pub(crate) fn has_goaway(&self) -> bool {
        self.has_goaway
    }

    /// Returns the body of a stream.
    pub(crate) fn body(&mut self, stream: u32) -> Vec<u8> {
        self.bodies(&[stream]).remove(0)
    }

    /// Returns the bodies of streams, which arrive in any order. Skips frames of other streams.
    pub(crate) fn bodies(&mut self, streams: &[u32]) -> Vec<Vec<u8>> {
        let mut bodies = vec![Vec::new(); streams.len()];
        let mut open = streams.len();
        while open > 0 {
            let frame = self.frame();
            let Some(at) = streams.iter().position(|stream| *stream == frame.stream) else { continue };
            assert!(frame.kind == HEADERS || frame.kind == DATA, "a frame of kind {}", frame.kind);
            if frame.kind == DATA {
                bodies[at].extend(&frame.payload);
            }
            open -= usize::from(frame.flags & END_STREAM);
        }
        bodies
    }

    /// Cancels a stream.
    pub(crate) fn reset(&mut self, stream: u32) {
        const CANCEL: u32 = 8;
        self.write(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
    }

    fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame).expect("nginx reads");
    }
}
