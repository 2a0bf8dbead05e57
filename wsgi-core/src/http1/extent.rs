//! Request bodies on a connection of HTTP/1: their end, and their data.
//!
//! For hosts that read the connection themselves. A host that takes a byte of a body for the next request lets clients
//! smuggle requests past a proxy in front, so ambiguous input is refused.

use std::io::{self, BufRead, Read};

use super::chunk_size;
use crate::error::HostError;
use crate::host::HeaderField;
use crate::protocol::head::decimal;

/// The rest of a body on the connection; empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    declared: Option<u64>,
    /// Bytes until the end of the body, or of the current chunk.
    left: u64,
    /// Whether further chunks follow.
    chunked: bool,
    /// Whether an error occurred, after which the position on the connection is unknown.
    lost: bool,
    /// Bytes read from the connection, including the lines between chunks.
    taken: u64,
    /// Bytes of chunk extensions among those.
    extensions: u64,
}

/// Limit for the extensions of all chunks of a body together, in bytes, including leading zeros of sizes. Applications do not
/// see extensions: without a limit, a client could keep a server reading forever without sending a byte of data. hyper has
/// the same limit.
pub const MAX_EXTENSIONS: u64 = 16 * 1024;

/// Returns the length of a chunk's size line beyond the digits that the largest size needs.
pub fn extension_size(line: &[u8]) -> u64 {
    line.len().saturating_sub(SIZE_DIGITS) as u64
}

/// Hexadecimal digits of the largest size.
const SIZE_DIGITS: usize = 16;

/// Limit of a line between two chunks, and of all trailers together, in bytes.
const MAX_LINE: u64 = 8 * 1024;

impl Extent {
    /// Determines the framing of a body from the headers of a request of HTTP/1.`minor_version` (RFC 9112, 6.3). `None` if
    /// they are ambiguous or invalid: the request must be refused with 400, and the connection closed.
    pub fn new(minor_version: u8, headers: &[HeaderField<'_>]) -> Option<Self> {
        let all = |name: &'static str| {
            let named = headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes()));
            named.map(|field| field.value)
        };
        let (mut lengths, mut codings) = (all("content-length"), all("transfer-encoding"));
        let (length, coding) = (lengths.next(), codings.next());
        if lengths.next().is_some() || codings.next().is_some() {
            return None;
        }
        let (declared, chunked) = match (length, coding) {
            (None, None) => (None, false),
            (Some(digits), None) => (Some(decimal(digits)?), false),
            (None, Some(coding)) if minor_version > 0 && coding.eq_ignore_ascii_case(b"chunked") => (None, true),
            _ => return None,
        };
        Some(Self { declared, left: declared.unwrap_or(0), chunked, ..Self::default() })
    }

    /// The length that the client declared, for [`RequestView::content_length`](crate::host::RequestView).
    pub fn declared(&self) -> Option<u64> {
        self.declared
    }

    /// Whether all of the body has been read.
    pub fn is_at_end(&self) -> bool {
        self.left == 0 && !self.chunked && !self.lost
    }

    /// Remaining bytes if known, for [`BodySource::remaining`](crate::host::BodySource).
    pub fn remaining(&self) -> Option<u64> {
        (!self.chunked && !self.lost).then_some(self.left)
    }

    /// Reads from the connection as [`BodySource::read`](crate::host::BodySource) does, and takes no byte beyond the body.
    pub fn read(&mut self, connection: &mut impl BufRead, buf: &mut [u8]) -> Result<usize, HostError> {
        if buf.is_empty() {
            return Ok(0);
        }
        let result = if self.lost { Err(malformed()) } else { self.read_some(connection, buf) };
        self.lost |= result.is_err();
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => HostError::TimedOut,
            io::ErrorKind::InvalidData => HostError::Io(error),
            _ => HostError::ClientGone,
        })
    }

    /// Whether [`read`](Self::read) needs only the `buffered` bytes of the connection. `false` if that is not certain. For
    /// [`BodySource::may_wait`](crate::host::BodySource::may_wait).
    pub fn is_ready(&self, buffered: &[u8]) -> bool {
        if !self.chunked {
            return self.is_at_end() || !buffered.is_empty();
        }
        // A read continues to the end of the line that follows a chunk.
        let rest = usize::try_from(self.left).ok().and_then(|left| buffered.get(left..));
        self.left > 0 && rest.map_or(!buffered.is_empty(), |rest| rest.contains(&b'\n'))
    }

    /// Reads the part of the body that the application left unread, at most `limit` bytes of the connection. Returns whether
    /// the next request begins here; if not, the connection cannot be reused.
    pub fn skip(&mut self, connection: &mut impl BufRead, limit: u64) -> bool {
        let end = self.taken.saturating_add(limit);
        let mut buf = [0; 8 * 1024];
        while !self.is_at_end() {
            if self.read(connection, &mut buf).is_err() || self.taken > end {
                return false;
            }
        }
        true
    }

    fn read_some(&mut self, connection: &mut impl BufRead, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && self.chunked {
            let line = self.line(connection, MAX_LINE)?;
            self.extensions += extension_size(&line);
            self.left = chunk_size(&line).filter(|_| self.extensions <= MAX_EXTENSIONS).ok_or_else(malformed)?;
            if self.left == 0 {
                self.skip_trailers(connection)?;
                self.chunked = false;
            }
        }
        if self.left == 0 {
            return Ok(0);
        }
        let room = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = match connection.read(&mut buf[..room]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return self.read_some(connection, buf),
            result => result?,
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The host provides the connection: believing an impossible count would put the end of the body elsewhere than the
        // client does.
        if count > room {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the connection claims to have read too much"));
        }
        self.taken += count as u64;
        self.left -= count as u64;
        if self.left == 0 && self.chunked && !self.line(connection, MAX_LINE)?.is_empty() {
            return Err(malformed());
        }
        Ok(count)
    }

    /// Reads a line, and returns it without the CRLF that must end it. A bare CR within it would end the line for other
    /// parsers (RFC 9112, 2.2).
    fn line(&mut self, connection: &mut impl BufRead, limit: u64) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        connection.take(limit).read_until(b'\n', &mut line)?;
        self.taken += line.len() as u64;
        if !line.ends_with(b"\n") && (line.len() as u64) < limit {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.strip_suffix(b"\r\n").filter(|line| !line.contains(&b'\r'));
        line.map(<[u8]>::to_vec).ok_or_else(malformed)
    }

    /// Skips the trailers, for which PEP 3333 has no interface.
    fn skip_trailers(&mut self, connection: &mut impl BufRead) -> io::Result<()> {
        let mut left = MAX_LINE;
        loop {
            let line = self.line(connection, left)?;
            if line.is_empty() {
                return Ok(());
            }
            left = left.saturating_sub(line.len() as u64 + 2);
        }
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "request body is not in chunked coding (RFC 9112, 7.1)")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn extent(minor_version: u8, headers: &[(&str, &str)]) -> Option<Extent> {
        let fields = headers.iter().map(|(name, value)| HeaderField::new(name.as_bytes(), value.as_bytes()));
        Extent::new(minor_version, &fields.collect::<Vec<_>>())
    }

    fn chunked() -> Extent {
        extent(1, &[("Transfer-Encoding", "Chunked")]).expect("plain")
    }

    /// Reads the whole body. Returns it with the bytes left on the connection.
    fn whole(mut extent: Extent, mut connection: &[u8]) -> (Result<Vec<u8>, HostError>, Vec<u8>) {
        let (mut body, mut buf) = (Vec::new(), [0; 3]);
        let result = loop {
            match extent.read(&mut connection, &mut buf) {
                Ok(0) => break Ok(body),
                Ok(count) => body.extend_from_slice(&buf[..count]),
                Err(error) => break Err(error),
            }
        };
        (result, connection.to_vec())
    }

    #[test]
    fn a_body_without_a_length_is_empty() {
        let extent = extent(1, &[("Host", "localhost")]).expect("plain");
        assert!(extent.is_at_end());
        assert_eq!((extent.declared(), extent.remaining()), (None, Some(0)));
        assert_eq!(whole(extent, b"GET").1, b"GET");
    }

    #[test]
    fn a_body_ends_at_its_length() {
        let extent = extent(0, &[("content-length", "4")]).expect("plain");
        assert_eq!((extent.declared(), extent.remaining()), (Some(4), Some(4)));
        let (body, rest) = whole(extent, b"bodyGET");
        assert_eq!((body.expect("whole"), rest), (b"body".to_vec(), b"GET".to_vec()));
    }

    #[test]
    fn ambiguous_body_framing_is_refused() {
        const LENGTH: &str = "Content-Length";
        const CODING: &str = "Transfer-Encoding";
        for headers in [
            &[(LENGTH, "4"), (LENGTH, "4")][..],
            &[(LENGTH, "4"), (CODING, "chunked")],
            &[(CODING, "chunked"), (CODING, "chunked")],
            &[(CODING, "gzip, chunked")],
            &[(CODING, "identity")],
            &[(CODING, "")],
            &[(LENGTH, "")],
            &[(LENGTH, "+4")],
            &[(LENGTH, "-4")],
            &[(LENGTH, "4, 4")],
            &[(LENGTH, "0x4")],
            &[(LENGTH, "18446744073709551616")],
        ] {
            assert_eq!(extent(1, headers), None, "{headers:?}");
        }
        assert_eq!(extent(0, &[(CODING, "chunked")]), None, "HTTP/1.0 does not know it");
    }

    #[test]
    fn extensions_and_trailers_are_ignored() {
        let (body, rest) = whole(chunked(), b"4;a=\"b\"\r\nbody\r\n0 \r\nX-A: 1\r\nX-B: 2\r\n\r\nGET");
        assert_eq!((body.expect("whole"), rest), (b"body".to_vec(), b"GET".to_vec()));
    }

    #[test]
    fn malformed_chunked_body_fails_every_read() {
        for connection in [
            &b"4\nbody\r\n0\r\n\r\n"[..],
            b"4\r\nbody0\r\n\r\n",
            b"4\r\nbody\n0\r\n\r\n",
            b"+4\r\nbody\r\n0\r\n\r\n",
            b" 4\r\nbody\r\n0\r\n\r\n",
            b"\r\nbody\r\n0\r\n\r\n",
            b"0x4\r\nbody\r\n0\r\n\r\n",
            b"10000000000000000\r\nbody",
            b"0\r\nX-A: 1\n\r\n",
            b"0\r\nX-A: 1\rX-B: 2\r\n\r\n",
        ] {
            let (mut extent, mut rest, mut buf) = (chunked(), connection, [0; 9]);
            let failed = (0..9).any(|_| matches!(extent.read(&mut rest, &mut buf), Err(HostError::Io(_))));
            assert!(failed, "{}", connection.escape_ascii());
            assert!(extent.read(&mut &b"0\r\n\r\n"[..], &mut buf).is_err());
            assert!(!extent.skip(&mut &b"0\r\n\r\n"[..], 100) && !extent.is_at_end());
        }
        let endless = [b"0\r\n".to_vec(), b"X-A: 1\r\n".repeat(2000), b"\r\n".to_vec()].concat();
        assert!(matches!(whole(chunked(), &endless).0, Err(HostError::Io(_))));
    }

    #[test]
    fn a_client_that_leaves_in_the_middle_is_gone() {
        for connection in [&b""[..], b"4", b"4\r\n", b"4\r\nbo", b"4\r\nbody", b"4\r\nbody\r\n", b"4\r\nbody\r\n0\r\n"]
        {
            assert!(matches!(whole(chunked(), connection).0, Err(HostError::ClientGone)));
        }
    }

    #[test]
    fn a_client_that_is_silent_is_timed_out() {
        struct Silent;
        impl Read for Silent {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
        let mut silent = io::BufReader::new(Silent);
        assert!(matches!(chunked().read(&mut silent, &mut [0]), Err(HostError::TimedOut)));
    }

    #[test]
    fn a_connection_that_claims_more_than_there_is_room_for_loses_the_body() {
        struct Liar;
        impl Read for Liar {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                Ok(buf.len() + 1)
            }
        }
        impl BufRead for Liar {
            fn fill_buf(&mut self) -> io::Result<&[u8]> {
                Ok(b"5\r\n")
            }
            fn consume(&mut self, _: usize) {}
        }
        let mut sized = extent(1, &[("Content-Length", "5")]).expect("plain");
        assert!(matches!(sized.read(&mut Liar, &mut [0; 9]), Err(HostError::Io(_))));
        assert!(!sized.skip(&mut Liar, 100), "the connection is of no further use");
        assert!(matches!(chunked().read(&mut Liar, &mut [0; 3]), Err(HostError::Io(_))));
    }

    #[test]
    fn no_more_is_skipped_than_allowed() {
        let sized = || extent(1, &[("Content-Length", "20000")]).expect("plain");
        let data = [vec![b'x'; 20_000], b"GET".to_vec()].concat();
        let mut connection = &*data;
        assert!(sized().skip(&mut connection, 20_000));
        assert_eq!(connection, b"GET");
        assert!(!sized().skip(&mut &*data, 19_999));
        let chunks = &b"2\r\nab\r\n0\r\n\r\n"[..];
        assert!(chunked().skip(&mut &*chunks, chunks.len() as u64));
        assert!(!chunked().skip(&mut &*chunks, chunks.len() as u64 - 1), "lines count as well");
        assert!(!sized().skip(&mut &data[..10], 20_000), "the client has left");
    }

    #[test]
    fn a_read_is_ready_when_it_cannot_wait_for_the_connection() {
        let mut sized = extent(1, &[("Content-Length", "2")]).expect("plain");
        assert!(!sized.is_ready(b"") && sized.is_ready(b"a"));
        assert_eq!(sized.read(&mut &b"ab"[..], &mut [0; 9]).expect("whole"), 2);
        assert!(sized.is_ready(b""));
        // A read includes the lines before and after a chunk.
        let mut body = chunked();
        assert!(!body.is_ready(b"5\r\nhello\r\n"), "it is not worth the look");
        assert_eq!(body.read(&mut &b"5\r\nhe"[..], &mut [0; 9]).expect("a part"), 2);
        for (buffered, ready) in
            [(&b""[..], false), (b"l", true), (b"ll", true), (b"llo", false), (b"llo\r", false), (b"llo\r\n", true)]
        {
            assert_eq!(body.is_ready(buffered), ready, "{}", buffered.escape_ascii());
        }
    }

    #[test]
    fn extensions_of_chunks_have_a_limit_in_all_whether_they_are_read_or_skipped() {
        let chunk = |extension: usize| [format!("1;{}\r\n", "e".repeat(extension)).as_bytes(), b"x\r\n"].concat();
        let few = [chunk(8000), chunk(8000), b"0\r\n\r\n".to_vec()].concat();
        assert_eq!(whole(chunked(), &few).0.expect("whole"), b"xx");
        let many = chunk(8000).repeat(100);
        let mut endless = &*many;
        let (mut body, mut buf, mut count) = (chunked(), [0; 9], 0);
        let error = loop {
            match body.read(&mut endless, &mut buf) {
                Ok(_) => count += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, HostError::Io(_)) && count == 2, "{error} after {count} chunks");
        assert!(!chunked().skip(&mut &*chunk(8000).repeat(100), 1 << 20));
        let zeros = [b"0".repeat(8000), b"1\r\nx\r\n".to_vec()].concat().repeat(3);
        assert!(!chunked().skip(&mut &*zeros, 1 << 20));
    }

    proptest! {
        #[test]
        fn body_length_is_known_or_the_request_is_refused(minor_version in 0..2u8, headers in vec((
            prop::sample::select(vec!["Content-Length", "content-length", "Transfer-Encoding", "TRANSFER-ENCODING", "Host"]),
            prop::sample::select(vec!["0", "7", "007", "18446744073709551615", "18446744073709551616", "+7", "7, 7", "",
                "chunked", "Chunked", "gzip, chunked", "chunked, chunked"]),
        ), 0..4)) {
            let telling: Vec<_> = headers.iter().filter(|(name, _)| *name != "Host").collect();
            let expected = match telling[..] {
                [] => Some((None, Some(0))),
                [(name, value)] if name.len() == "Content-Length".len() => {
                    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                    value.parse::<u64>().ok().filter(|_| digits).map(|length| (Some(length), Some(length)))
                }
                [(_, value)] if minor_version == 1 && value.eq_ignore_ascii_case("chunked") => Some((None, None)),
                _ => None,
            };
            let found = extent(minor_version, &headers).map(|extent| (extent.declared(), extent.remaining()));
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn a_chunked_body_is_read_as_it_was_written(blocks in vec(vec(any::<u8>(), 1..40), 0..8), rest: Vec<u8>) {
            let mut wire = Vec::new();
            for block in &blocks {
                wire.extend([format!("{:X}\r\n", block.len()).as_bytes(), block, b"\r\n"].concat());
            }
            wire.extend(b"0\r\n\r\n");
            wire.extend(&rest);
            let (body, left) = whole(chunked(), &wire);
            prop_assert_eq!(body.expect("whole"), blocks.concat());
            prop_assert_eq!(left, rest);
        }
    }
}
