//! HTTP/1 on a connection, for hosts without a server: the end of request bodies, and responses as a client parses them.

use std::io::{self, BufReader, Read, Write};
use std::time::SystemTime;

use wsgi_core::error::HostError;
use wsgi_core::host::{Framing, HeaderField, HeaderList, ResponseHead, StatusLine, host_and_port};
use wsgi_core::http1::{Extent, Terms, Writer};
use wsgi_core::relay::Part;

use crate::{Numbers, fields};

/// The input: numbers; the bytes that follow the head; names and values of headers.
pub fn run(data: &[u8]) {
    let mut texts = fields(data);
    let mut numbers = Numbers::new(texts.next().unwrap_or_default());
    let wire = texts.next().unwrap_or_default();
    let texts: Vec<&[u8]> = texts.collect();
    let headers: Vec<(&[u8], &[u8])> =
        texts.chunks(2).map(|pair| (pair[0], pair.get(1).copied().unwrap_or_default())).collect();
    request(&mut numbers, &headers, wire);
    response(&mut numbers, &headers, wire);
}

fn request(numbers: &mut Numbers<'_>, headers: &[(&[u8], &[u8])], wire: &[u8]) {
    let minor_version = numbers.below(2);
    let fields: Vec<_> = headers.iter().map(|(name, value)| HeaderField::new(name, value)).collect();
    let expected = framed(minor_version, headers);
    let extent = Extent::new(minor_version, &fields);
    assert_eq!(extent.is_some(), expected.is_some());
    let named = |wanted: &str| headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes())).count();
    let terms = Terms::new(minor_version, &fields);
    let hosts: Vec<_> = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"host")).collect();
    let is_host_known = match hosts[..] {
        [] => minor_version == 0,
        [(_, host)] => host_and_port(host).is_some(),
        _ => false,
    };
    assert_eq!(terms.is_some(), expected.is_some() && is_host_known);
    let (Some(mut extent), Some(expected)) = (extent, expected) else { return };
    assert_eq!(
        extent.declared(),
        match expected {
            Body::Length(length) if named("content-length") > 0 => Some(length),
            _ => None,
        }
    );
    assert_eq!(extent.is_at_end(), expected == Body::Length(0));
    if let Some(terms) = terms {
        assert_eq!(terms.body, extent);
        assert!(!terms.expects_continue || minor_version == 1 && !extent.is_at_end() && named("expect") > 0);
        assert!(named("connection") > 0 || terms.persistent == (minor_version == 1));
    }

    // Compares the body read in pieces of some size with the whole body parsed at once.
    let (body, end) = match expected {
        Body::Length(length) => match usize::try_from(length).ok().and_then(|length| wire.get(..length)) {
            Some(body) => (body.to_vec(), Some(body.len())),
            None => (wire.to_vec(), None),
        },
        Body::Chunked => chunks(wire),
    };
    let piece = numbers.size().max(1);
    let erratic = Erratic { rest: wire, interrupted: numbers.flag(), silent: numbers.flag(), calls: 0 };
    let mut connection = BufReader::with_capacity(piece, erratic);
    if numbers.flag() {
        let skipped = extent.skip(&mut connection, u64::from(numbers.byte()) * 64);
        assert!(!skipped || end.is_some() && extent.is_at_end());
        if skipped {
            assert_eq!(rest(connection), wire[end.unwrap_or(0)..]);
        }
        return;
    }
    let mut buf = vec![0; numbers.size().max(1)];
    let mut read = Vec::new();
    loop {
        let remaining = extent.remaining();
        match extent.read(&mut connection, &mut buf) {
            Ok(0) => {
                assert_eq!(Some(wire.len() - rest(connection).len()), end, "no byte beyond the body is taken");
                assert_eq!(read, body);
                assert!(extent.is_at_end());
                return;
            }
            Ok(count) => {
                assert!(remaining.is_none_or(|remaining| count as u64 <= remaining));
                read.extend_from_slice(&buf[..count]);
            }
            Err(error) => {
                assert!(end.is_none(), "a body that is whole is refused: {error}");
                assert!(matches!(error, HostError::ClientGone | HostError::TimedOut | HostError::Io(_)));
                assert!(body.starts_with(&read));
                assert!(extent.read(&mut &b"0\r\n\r\n"[..], &mut buf).is_err() && !extent.is_at_end());
                return;
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Length(u64),
    Chunked,
}

/// Returns the framing of a body by RFC 9112, 6.3, without any leniency.
fn framed(minor_version: u8, headers: &[(&[u8], &[u8])]) -> Option<Body> {
    let mut found = Vec::new();
    for (name, value) in headers {
        match name.to_ascii_lowercase().as_slice() {
            b"content-length" => {
                let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
                found.push(Body::Length(digits.parse().ok()?));
            }
            b"transfer-encoding" if minor_version == 1 && value.eq_ignore_ascii_case(b"chunked") => {
                found.push(Body::Chunked);
            }
            b"transfer-encoding" => return None,
            _ => {}
        }
    }
    match found[..] {
        [] => Some(Body::Length(0)),
        [body] => Some(body),
        _ => None,
    }
}

/// Returns the data of the well-formed chunks, and the position after the last one if the body is complete. Sizes are at most
/// `i64::MAX`.
pub(crate) fn chunks(wire: &[u8]) -> (Vec<u8>, Option<usize>) {
    let mut data = Vec::new();
    let mut position = 0;
    let line = |position: &mut usize, limit: usize| {
        let rest = &wire[*position..];
        let end = rest.iter().take(limit).position(|byte| *byte == b'\n')?;
        *position += end + 1;
        rest[..end].strip_suffix(b"\r").filter(|line| !line.contains(&b'\r'))
    };
    let end = (|| {
        loop {
            let head = line(&mut position, LINE)?;
            let size = head.split(|byte| *byte == b';').next()?;
            let size = &size[..=size.iter().rposition(|byte| !b" \t".contains(byte))?];
            if !size.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16)
                .ok()
                .filter(|size| *size <= i64::MAX as usize)?;
            if size == 0 {
                break;
            }
            let end = position.checked_add(size).filter(|end| *end <= wire.len());
            data.extend_from_slice(&wire[position..end.unwrap_or(wire.len())]);
            position = end?;
            if !line(&mut position, LINE)?.is_empty() {
                return None;
            }
        }
        let mut left = LINE;
        loop {
            let line = line(&mut position, left)?;
            if line.is_empty() {
                return Some(position);
            }
            left -= line.len() + 2;
        }
    })();
    (data, end)
}

/// Limit of a line between chunks, and of all trailers together, in bytes.
const LINE: usize = 8 * 1024;

/// A connection on which reads are interrupted, and which stays open at the end.
struct Erratic<'a> {
    rest: &'a [u8],
    interrupted: bool,
    silent: bool,
    calls: usize,
}

impl Read for Erratic<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.interrupted && self.calls.is_multiple_of(2) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match self.rest.read(buf)? {
            0 if self.silent => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

/// The bytes that have not been read.
fn rest(connection: BufReader<Erratic<'_>>) -> Vec<u8> {
    [connection.buffer(), connection.get_ref().rest].concat()
}

/// Writes a response, and reads it as a client does that follows RFC 9112 strictly.
fn response(numbers: &mut Numbers<'_>, headers: &[(&[u8], &[u8])], text: &[u8]) {
    let (minor_version, head_request, persistent) = (numbers.below(2), numbers.flag(), numbers.flag());
    let mut list = HeaderList::new();
    for (name, value) in headers {
        // A refused header is left out; an application would get the error.
        let _ = list.push(name, value);
    }
    let code = 200 + u16::from(numbers.byte());
    let status = StatusLine::parse([code.to_string().as_bytes(), b" ", text].concat().as_slice())
        .or_else(|_| StatusLine::parse(code.to_string().as_bytes()))
        .expect("a final status");
    let blocks: Vec<&[u8]> = text.chunks(numbers.size().max(1)).take(8).collect();
    let framing = match (numbers.below(3), head_request) {
        (0, _) => Framing::Length(blocks.concat().len() as u64),
        (1, true) => Framing::NoBody,
        _ => Framing::Unknown,
    };
    let room = if numbers.below(4) == 1 { usize::from(numbers.byte()) * 2 } else { usize::MAX };
    let mut wire = Limited { taken: Vec::new(), room };
    let mut writer = Writer::new(&mut wire, minor_version, head_request, persistent, "fuzz", || SystemTime::UNIX_EPOCH);
    assert!(!writer.has_begun());
    let refused = numbers.below(8) == 1;
    let result = if refused {
        writer.refuse(503)
    } else {
        let head = ResponseHead::new(status, list, framing);
        write_all(&mut writer, head, if head_request { &[] } else { &blocks }, numbers)
    };
    let reusable = writer.is_reusable();
    if result.is_err() {
        assert!(!reusable, "it has not come to its end");
        return;
    }
    let (head, body) = parsed(&wire.taken);
    if refused {
        assert!(!reusable && head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        return;
    }
    let says = |name: &str| field(&head, name);
    assert!(!reusable || persistent);
    assert_eq!(says("connection").as_deref() == Some("close"), !reusable);
    assert!(says("transfer-encoding").is_none() || says("content-length").is_none());
    if head_request {
        assert!(body.is_empty());
    } else if let Some(length) = says("content-length") {
        assert_eq!(length, body.len().to_string());
        assert_eq!(body, blocks.concat());
    } else if says("transfer-encoding").is_some() {
        assert_eq!(minor_version, 1);
        assert_eq!(chunks(&body), (blocks.concat(), Some(body.len())));
    } else {
        assert!(!reusable, "the end of the body is that of the connection");
        assert_eq!(body, blocks.concat());
    }
}

fn write_all(
    writer: &mut Writer<&mut Limited>,
    head: ResponseHead,
    blocks: &[&[u8]],
    numbers: &mut Numbers<'_>,
) -> io::Result<()> {
    writer.write(Part::Head(head))?;
    for block in blocks {
        writer.write(Part::Block { data: bytes::Bytes::copy_from_slice(block), flush: false })?;
        if numbers.flag() {
            writer.write(Part::Flush)?;
        }
    }
    assert!(!writer.is_reusable(), "it has not come to its end");
    writer.write(Part::End)
}

/// A client that leaves after `room` bytes.
struct Limited {
    taken: Vec<u8>,
    room: usize,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room - self.taken.len());
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.taken.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.taken.len() < self.room { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

/// Returns head and body, after checking that the head is well-formed.
fn parsed(wire: &[u8]) -> (String, Vec<u8>) {
    let mut headers = [httparse::EMPTY_HEADER; 600];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(wire).expect("a client understands it") else {
        panic!("the head has no end: {}", wire.escape_ascii())
    };
    assert_eq!(wire.windows(4).position(|window| window == b"\r\n\r\n"), Some(length - 4), "the head has one end");
    let head: String = wire[..length].iter().map(|byte| char::from(*byte)).collect();
    assert!(head.chars().all(|character| matches!(character, '\r' | '\n') || !character.is_ascii_control()));
    assert!(head.split("\r\n").all(|line| !line.contains(['\r', '\n'])));
    (head, wire[length..].to_vec())
}

/// Returns the value of a header that may occur only once.
fn field(head: &str, name: &str) -> Option<String> {
    let mut values = head.split("\r\n").skip(1).filter_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then(|| value.to_owned())
    });
    let value = values.next();
    assert_eq!(values.next(), None, "{name} is there twice");
    value
}
