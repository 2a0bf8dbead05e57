//! Writes responses to a connection of HTTP/1.

use std::io::{self, Write};
use std::time::SystemTime;

use http::StatusCode;

use crate::protocol::head::{HeaderList, ResponseHead, StatusLine};
use crate::protocol::response::Framing;
use crate::relay::Part;

/// Writes one response (RFC 9112), and tracks whether the connection can be reused.
///
/// The body is framed as the head declares. A body of unknown length is sent in chunked coding if the client speaks HTTP/1.1;
/// otherwise the end of the connection ends it. `Date` and `Server` are added unless the application sends them.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    minor_version: u8,
    head_request: bool,
    software: &'static str,
    clock: fn() -> SystemTime,
    persistent: bool,
    begun: bool,
    chunked: bool,
    complete: bool,
}

impl<W: Write> Writer<W> {
    /// Creates a writer for the response to a request of HTTP/1.`minor_version`. `persistent`: the client wants to keep the
    /// connection, see [`Terms`](super::Terms). `software` is the value of the header `Server`, and `clock`
    /// ([`SystemTime::now`]) gives that of `Date`. `out` should be buffered: it is flushed when a [`Part`] requires it.
    pub fn new(
        out: W,
        minor_version: u8,
        head_request: bool,
        persistent: bool,
        software: &'static str,
        clock: fn() -> SystemTime,
    ) -> Self {
        let (begun, chunked, complete) = (false, false, false);
        Self { out, minor_version, head_request, software, clock, persistent, begun, chunked, complete }
    }

    /// Ends the connection with this response. If the head has not been sent, it announces that to the client.
    pub fn end_connection(&mut self) {
        self.persistent = false;
    }

    /// Whether anything was written. If not, another response can still be sent.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether another response may follow on the connection. If not, close it for writing: that shows the client that a
    /// truncated response is incomplete, and that a response without a length is complete.
    pub fn is_reusable(&self) -> bool {
        self.complete && self.persistent
    }

    /// Writes a response of the host without a body: 400, 503... The connection ends with it. Panics unless `status` is a
    /// final status, 200 to 999.
    pub fn refuse(&mut self, status: u16) -> io::Result<()> {
        let reason = StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or_default();
        let status = StatusLine::parse(format!("{status} {reason}").as_bytes()).expect("a final status");
        let framing = Framing::Length(0);
        self.end_connection();
        self.head(&ResponseHead { status, headers: HeaderList::new(), framing, single_block: true })?;
        self.write(Part::End)
    }

    /// Writes the next part.
    pub fn write(&mut self, part: Part) -> io::Result<()> {
        match part {
            Part::Head(head) => self.head(&head),
            Part::Block { data, flush } => self.block(&data, flush),
            Part::File { part, flush } => self.block(&part.map()?, flush),
            Part::ApplicationFile { mut part, flush } => {
                while part.len > 0 {
                    let block = part.read(FILE_BLOCK)?;
                    self.block(&block, flush && part.len == 0)?;
                }
                Ok(())
            }
            Part::Flush => self.out.flush(),
            Part::End => {
                if self.chunked {
                    self.out.write_all(b"0\r\n\r\n")?;
                }
                self.out.flush()?;
                self.complete = true;
                Ok(())
            }
            // Not complete, which the end of the connection shows.
            Part::Failed(_) => Ok(()),
        }
    }

    fn block(&mut self, data: &[u8], flush: bool) -> io::Result<()> {
        if self.chunked {
            write!(self.out, "{:x}\r\n", data.len())?;
        }
        self.out.write_all(data)?;
        if self.chunked {
            self.out.write_all(b"\r\n")?;
        }
        if flush { self.out.flush() } else { Ok(()) }
    }

    fn head(&mut self, head: &ResponseHead) -> io::Result<()> {
        self.begun = true;
        let unknown = head.framing == Framing::Unknown && !self.head_request;
        self.chunked = unknown && self.minor_version > 0;
        self.persistent &= self.chunked || !unknown;
        let out = &mut self.out;
        // The space is required even without a reason (RFC 9112, 4).
        write!(out, "HTTP/1.1 {} ", head.status.code().as_str())?;
        out.write_all(head.status.reason())?;
        out.write_all(b"\r\n")?;
        let (mut dated, mut named) = (false, false);
        for field in head.headers.iter() {
            dated |= field.name.eq_ignore_ascii_case(b"date");
            named |= field.name.eq_ignore_ascii_case(b"server");
            for text in [field.name, b": ", field.value, b"\r\n"] {
                out.write_all(text)?;
            }
        }
        if !dated {
            write!(out, "Date: {}\r\n", httpdate::fmt_http_date((self.clock)()))?;
        }
        if !named {
            write!(out, "Server: {}\r\n", self.software)?;
        }
        if let Framing::Length(length) = head.framing {
            write!(out, "Content-Length: {length}\r\n")?;
        }
        if self.chunked {
            out.write_all(b"Transfer-Encoding: chunked\r\n")?;
        }
        // A client of HTTP/1.0 that asked for a persistent connection needs the confirmation.
        let connection = match (self.persistent, self.minor_version) {
            (true, 0) => "Connection: keep-alive\r\n",
            (true, _) => "",
            (false, _) => "Connection: close\r\n",
        };
        write!(out, "{connection}\r\n")
    }
}

/// Bytes of a file of the application that are read at a time.
const FILE_BLOCK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::Extent;
    use super::*;
    use crate::host::HeaderField;
    use crate::protocol::output::{ApplicationFile, FilePart};

    fn head(status: &str, headers: &[(&str, &str)], framing: Framing) -> Part {
        let mut list = HeaderList::new();
        for (name, value) in [("Date", "today"), ("server", "own")].iter().chain(headers) {
            list.push(name.as_bytes(), value.as_bytes()).expect("a valid header");
        }
        let status = StatusLine::parse(status.as_bytes()).expect("a valid status");
        Part::Head(ResponseHead { status, headers: list, framing, single_block: false })
    }

    fn block(text: &'static str) -> Part {
        Part::Block { data: Bytes::from_static(text.as_bytes()), flush: false }
    }

    /// Returns the bytes written for `parts`, without the headers that each head here has, and whether the connection can be
    /// reused.
    fn written(minor_version: u8, head_request: bool, parts: impl IntoIterator<Item = Part>) -> (String, bool) {
        let mut wire = Vec::new();
        let mut writer = Writer::new(&mut wire, minor_version, head_request, true, "test", || SystemTime::UNIX_EPOCH);
        for part in parts {
            writer.write(part).expect("in memory");
        }
        let reusable = writer.is_reusable();
        (String::from_utf8(wire).expect("text").replace("Date: today\r\nserver: own\r\n", ""), reusable)
    }

    #[test]
    fn known_length_is_sent_as_content_length() {
        let parts = [head("200 Fine", &[("X-A", "1"), ("x-a", "")], Framing::Length(4)), block("body"), Part::End];
        let (text, reusable) = written(1, false, parts);
        assert_eq!(text, "HTTP/1.1 200 Fine\r\nX-A: 1\r\nx-a: \r\nContent-Length: 4\r\n\r\nbody");
        assert!(reusable);
    }

    #[test]
    fn an_unknown_length_is_chunked_or_ends_with_the_connection() {
        let parts = || [head("200 OK", &[], Framing::Unknown), block("a"), Part::Flush, block("0123456789"), Part::End];
        let (text, reusable) = written(1, false, parts());
        let body = "1\r\na\r\na\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(text, format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        assert!(reusable);
        let (text, reusable) = written(0, false, parts());
        assert_eq!(text, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\na0123456789");
        assert!(!reusable);
    }

    #[test]
    fn response_without_a_body_keeps_the_connection() {
        for framing in [Framing::Unknown, Framing::NoBody] {
            let (text, reusable) = written(1, true, [head("204", &[], framing), Part::End]);
            assert_eq!(text, "HTTP/1.1 204 \r\n\r\n");
            assert!(reusable);
        }
        let (text, reusable) = written(0, true, [head("200 OK", &[], Framing::Unknown), Part::End]);
        assert_eq!(text, "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n");
        assert!(reusable);
    }

    #[test]
    fn a_response_that_was_cut_short_ends_the_connection() {
        let (text, reusable) = written(1, false, [head("200 OK", &[], Framing::Unknown), block("a")]);
        assert!(text.ends_with("1\r\na\r\n"));
        assert!(!reusable);
        assert!(!written(1, false, [head("200 OK", &[], Framing::Length(2)), block("a")]).1);
    }

    #[test]
    fn a_response_that_fails_is_not_complete() {
        let parts = [head("200 OK", &[], Framing::Unknown), block("a"), Part::Failed(None)];
        let (text, reusable) = written(1, false, parts);
        assert!(text.ends_with("1\r\na\r\n"));
        assert!(!reusable);
    }

    #[test]
    fn a_part_of_a_file_is_a_block() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(b"0123456789").expect("room for ten bytes");
        let part = FilePart { file: file.into(), start: 2, len: 3 };
        let parts = [head("200 OK", &[], Framing::Unknown), Part::File { part, flush: true }, Part::End];
        assert!(written(1, false, parts).0.ends_with("\r\n\r\n3\r\n234\r\n0\r\n\r\n"));
    }

    #[test]
    fn a_file_of_the_application_is_read_in_blocks() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        let content = "0123456789".repeat(FILE_BLOCK / 8);
        file.write_all(content.as_bytes()).expect("room for the file");
        let part = ApplicationFile { file: file.into(), start: 2, len: content.len() as u64 - 2 };
        let framing = Framing::Length(part.len);
        let (text, reusable) =
            written(1, true, [head("200 OK", &[], framing), Part::ApplicationFile { part, flush: true }, Part::End]);
        assert!(text.ends_with(&format!("\r\n\r\n{}", &content[2..])) && reusable);
    }

    #[test]
    fn a_refusal_is_complete_and_the_end() {
        let mut wire = Vec::new();
        let mut writer = Writer::new(&mut wire, 1, false, true, "test", || SystemTime::UNIX_EPOCH);
        writer.refuse(503).expect("in memory");
        assert!(writer.has_begun() && !writer.is_reusable());
        let text = String::from_utf8(wire).expect("text");
        assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\nDate: "), "{text}");
        assert!(text.ends_with("\r\nServer: test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), "{text}");
    }

    proptest! {
        #[test]
        fn a_response_is_read_as_it_was_written(
            minor_version in 0..2u8,
            persistent: bool,
            known: bool,
            blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..5),
        ) {
            let body = blocks.concat();
            let framing = if known { Framing::Length(body.len() as u64) } else { Framing::Unknown };
            let mut wire = Vec::new();
            let mut writer = Writer::new(&mut wire, minor_version, false, persistent, "test", || SystemTime::UNIX_EPOCH);
            writer.write(head("200 OK", &[("X-A", "1")], framing)).expect("in memory");
            for block in blocks {
                writer.write(Part::Block { data: block.into(), flush: false }).expect("in memory");
            }
            writer.write(Part::End).expect("in memory");
            let reusable = writer.is_reusable();
            let end = wire.windows(4).position(|window| window == b"\r\n\r\n").expect("a head has an end") + 4;
            let text = String::from_utf8(wire[..end].to_vec()).expect("text");
            prop_assert_eq!(text.contains("Connection: close\r\n"), !reusable);
            prop_assert_eq!(reusable, persistent && (known || minor_version == 1));
            // `Extent` parses the framing of a body that the writer has written.
            let headers: Vec<_> = text.lines().skip(1).filter_map(|line| line.split_once(": ")).collect();
            let fields: Vec<_> =
                headers.iter().map(|(name, value)| HeaderField::new(name.as_bytes(), value.as_bytes())).collect();
            let mut extent = Extent::new(1, &fields).expect("plain");
            let (mut rest, mut read) = (&wire[end..], vec![0; body.len() + 1]);
            let mut count = 0;
            while let Ok(more @ 1..) = extent.read(&mut rest, &mut read[count..]) {
                count += more;
            }
            if known || minor_version == 1 {
                prop_assert!(extent.is_at_end() && rest.is_empty());
                prop_assert_eq!(&read[..count], &body[..]);
            } else {
                prop_assert_eq!(rest, &body[..]);
            }
        }
    }

    #[test]
    fn date_and_server_are_there_where_the_application_has_none() {
        let status = StatusLine::parse(b"200 OK").expect("valid");
        let framing = Framing::Length(0);
        let bare = ResponseHead { status, headers: HeaderList::new(), framing, single_block: false };
        let mut wire = Vec::new();
        let mut writer = Writer::new(&mut wire, 1, false, true, "test/1", || SystemTime::UNIX_EPOCH);
        assert!(!writer.has_begun());
        writer.end_connection();
        writer.write(Part::Head(bare)).expect("in memory");
        writer.write(Part::End).expect("in memory");
        assert!(writer.has_begun() && !writer.is_reusable());
        let text = String::from_utf8(wire).expect("text");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nDate: ") && text.contains(" GMT\r\nServer: test/1\r\n"), "{text}");
        assert!(text.ends_with("\r\nConnection: close\r\n\r\n"));
    }
}
