//! Finds where requests begin and end on a connection, with stricter rules than hyper's.
//!
//! hyper accepts one of two conflicting lengths, ignores unknown transfer codings, and ends some lines, but not all, at
//! a bare LF. That may be legal, but a proxy in front may decide otherwise, so that bytes of one client's body become
//! another client's request. So ambiguous requests are refused before hyper sees them.

use std::ops::Range;

use memchr::memchr;
use wsgi_core::host::HeaderField;
use wsgi_core::http1::{Extent, MAX_EXTENSIONS, chunk_size, extension_size};

use super::merging::Chunk;
use super::{HEAD_SIZE, LINE_SIZE};

/// Parses the bytes of one connection as they arrive.
#[derive(Debug, Default)]
pub(super) struct Framing {
    place: Place,
    /// Bytes of the unfinished part: the head or the trailers so far, or a line between chunks.
    kept: Vec<u8>,
    /// Start of the last line in `kept`.
    line: usize,
    /// For a head: whether its version is HTTP/1.1, and the ranges in `kept` of the lines that determine the length of
    /// its body.
    modern: bool,
    telling: Vec<Range<usize>>,
    /// Bytes of chunk extensions in this body so far.
    extensions: u64,
    /// Chunks that the last advance received completely, and a chunk of which it received the size line.
    chunks: Vec<Chunk>,
    opened: Option<Chunk>,
}

/// The next element of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Head,
    /// A body of known length, with the number of remaining bytes.
    Body(u64),
    ChunkSize,
    /// The data of a chunk, with the number of remaining bytes.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    Trailers,
    /// The rest of a head that hyper refuses for its size, and everything after it.
    Oversize,
}

impl Framing {
    /// Parses received bytes. An error is the position of the byte that makes a request malformed; bytes from there on
    /// must not be used.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut position = 0;
        self.chunks.clear();
        self.opened = None;
        while position < bytes.len() {
            let rest = &bytes[position..];
            if let Place::Body(left) | Place::Chunk(left) = self.place {
                let count = left.min(rest.len() as u64);
                position += count as usize;
                self.place = match (self.place, left - count) {
                    (Place::Body(_), 0) => Place::Head,
                    (Place::Body(_), left) => Place::Body(left),
                    (_, 0) => Place::ChunkEnd,
                    (_, left) => Place::Chunk(left),
                };
                continue;
            }
            if self.place == Place::Oversize {
                break;
            }
            let end = memchr(b'\n', rest).map(|end| end + 1);
            let part = &rest[..end.unwrap_or(rest.len())];
            self.kept.extend_from_slice(part);
            position += part.len();
            if self.kept.len() > HEAD_SIZE {
                if !self.is_in_head() {
                    return Err(position - 1);
                }
                self.place = Place::Oversize;
            } else if end.is_some() {
                let begun_before = self.kept.len() > part.len();
                self.end_line().ok_or(position - 1)?;
                self.note_chunk(position - part.len()..position, begun_before);
            }
        }
        Ok(())
    }

    /// Whether the head of a request is expected or has begun.
    pub(super) fn is_in_head(&self) -> bool {
        self.place == Place::Head
    }

    /// Whether all received bytes belong to complete requests.
    pub(super) fn is_between_requests(&self) -> bool {
        self.is_in_head() && self.kept.is_empty()
    }

    /// Returns the chunks that the bytes of the last [`advance`](Self::advance) contain completely.
    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Records the chunk that the line at `line` has begun or ended.
    fn note_chunk(&mut self, line: Range<usize>, begun_before: bool) {
        match self.place {
            Place::Chunk(size) if !begun_before => {
                let end = line.end.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
                self.opened = Some(Chunk { whole: line.start..end, data: line.end..end });
            }
            Place::ChunkSize => {
                if let Some(Chunk { whole, data }) = self.opened.take() {
                    self.chunks.push(Chunk { whole: whole.start..line.end, data });
                }
            }
            _ => {}
        }
    }

    /// Processes a complete line. Returns `None` if it is not allowed there.
    fn end_line(&mut self) -> Option<()> {
        let line = self.kept[self.line..].strip_suffix(b"\r\n")?;
        if line.len() + 2 > LINE_SIZE {
            return None;
        }
        self.place = match self.place {
            Place::Head | Place::Trailers if !line.is_empty() => {
                if self.line == 0 {
                    self.modern = !line.ends_with(b"HTTP/1.0");
                } else if tells_the_framing(line) {
                    self.telling.push(self.line..self.line + line.len());
                }
                self.line = self.kept.len();
                return Some(());
            }
            // Empty lines before a request are ignored (RFC 9112, 2.2).
            Place::Head if self.line == 0 => Place::Head,
            Place::Head => self.body()?,
            Place::ChunkSize => {
                // hyper has this limit, too, but does not see the extensions of merged chunks.
                self.extensions += extension_size(line);
                match chunk_size(line).filter(|_| self.extensions <= MAX_EXTENSIONS)? {
                    0 => Place::Trailers,
                    size => Place::Chunk(size),
                }
            }
            Place::ChunkEnd if line.is_empty() => Place::ChunkSize,
            Place::Trailers => Place::Head,
            _ => return None,
        };
        self.kept.clear();
        self.line = 0;
        self.telling.clear();
        Some(())
    }

    /// Returns the element after a head, or `None` if the length of the body is ambiguous or invalid.
    fn body(&mut self) -> Option<Place> {
        let lines = self.telling.iter().map(|range| &self.kept[range.clone()]);
        let fields = lines.filter_map(|line| {
            let colon = memchr(b':', line)?;
            Some(HeaderField::new(&line[..colon], without_spaces(&line[colon + 1..])))
        });
        let extent = Extent::new(u8::from(self.modern), &fields.collect::<Vec<_>>())?;
        self.extensions = 0;
        Some(match extent.remaining() {
            Some(0) => Place::Head,
            Some(length) if length > LARGEST => return None,
            Some(length) => Place::Body(length),
            None => Place::ChunkSize,
        })
    }
}

/// Whether a line of a head may be Content-Length or Transfer-Encoding. A cheap test, since most lines are others.
fn tells_the_framing(line: &[u8]) -> bool {
    let colon_behind = |name: &str| line.get(name.len()) == Some(&b':');
    matches!(line.first(), Some(b'C' | b'c' | b'T' | b't'))
        && (colon_behind("Content-Length") || colon_behind("Transfer-Encoding"))
}

/// Returns a value without the spaces around it. Tabs are legal there, too, but clients do not send them: beside a
/// length or a coding they serve to mislead, and nginx refuses them.
fn without_spaces(value: &[u8]) -> &[u8] {
    let start = value.iter().position(|byte| *byte != b' ').unwrap_or(value.len());
    let end = value.iter().rposition(|byte| *byte != b' ').map_or(start, |last| last + 1);
    &value[start..end]
}

/// Largest body: files cannot be larger, and nginx does not count further.
const LARGEST: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\n";

    /// Returns the position at which a connection is refused, which must not depend on how its bytes are split.
    fn refused(text: &str) -> Option<usize> {
        let whole = Framing::default().advance(text.as_bytes()).err();
        for cut in 1..text.len() {
            let mut framing = Framing::default();
            let (first, second) = text.as_bytes().split_at(cut);
            let found = framing.advance(first).and_then(|()| framing.advance(second).map_err(|at| at + cut));
            assert_eq!(found.err(), whole, "cut at {cut}");
        }
        whole
    }

    #[test]
    fn extensions_of_all_chunks_of_a_body_have_a_limit() {
        let chunks = |count: usize| format!("1;{}\r\nx\r\n", "e".repeat(8000)).repeat(count);
        let body = |count| format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunks(count));
        // The limit applies to each body separately.
        assert_eq!(Framing::default().advance(body(2).repeat(3).as_bytes()), Ok(()));
        assert!(Framing::default().advance(body(3).as_bytes()).is_err());
        let zeros = format!("{}1\r\nx\r\n", "0".repeat(8000)).repeat(3);
        assert!(Framing::default().advance(body(0).replace("0\r\n\r\n", &zeros).as_bytes()).is_err());
    }

    fn passes(text: &str) {
        assert_eq!(refused(text), None, "{text:?}");
    }

    /// Asserts that the text is refused at its last byte, independent of later bytes.
    fn fails(text: &str) {
        assert_eq!(refused(text), Some(text.len() - 1), "{text:?}");
    }

    #[test]
    fn requests_are_followed_from_one_to_the_next() {
        passes("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.0\r\n\r\n");
        let length = format!("{HEAD}Content-Length: 4\r\n\r\n\n\n\n\n");
        let chunks = format!("{HEAD}Transfer-Encoding: CHUNKED\r\n\r\n2 ;a=b\r\n\n\n\r\n00\r\nX: y\r\n\r\n");
        passes(&format!("{length}{chunks}{length}"));
        fails(&format!("{length}{chunks}{length}\n"));
    }

    #[test]
    fn repeated_or_invalid_body_framing_is_refused() {
        for fields in [
            "Content-Length: 4\r\nContent-Length: 4\r\n",
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: x\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: \tchunked\r\n",
            "Content-Length: +4\r\n",
            "Content-Length: 4\t\r\n",
            "Content-Length: 9223372036854775808\r\n",
        ] {
            fails(&format!("{HEAD}{fields}\r\n"));
        }
        fails("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    }

    #[test]
    fn lines_end_with_cr_and_lf() {
        fails("\n");
        fails("GET / HTTP/1.1\n");
        fails(&format!("{HEAD}\n"));
        let chunked = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n");
        for chunks in ["3\n", "3;a\n", "3\r\nabc\n", "0\r\n\n", "0\r\nX: y\n"] {
            fails(&format!("{chunked}{chunks}"));
        }
    }

    #[test]
    fn chunks_have_a_size_and_end_behind_it() {
        let chunked = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n");
        for chunks in ["\r\n", "+3\r\n", "0x3\r\n", " 3\r\n", "3 3\r\n", "-1\r\n", "3\x0b\r\n", "3;a\rb\r\n", ";\r\n"] {
            fails(&format!("{chunked}{chunks}"));
        }
        passes(&format!("{chunked}7fffffffffffffff\r\n"));
        fails(&format!("{chunked}8000000000000000\r\n"));
        fails(&format!("{chunked}10000000000000003\r\n"));
        fails(&format!("{chunked}3\r\nabcd\r\n"));
        passes(&format!("{chunked}{}3\r\nabc\r\n", "0".repeat(40)));
    }

    proptest! {
        #[test]
        fn the_verdict_is_the_same_wherever_the_bytes_are_cut(pieces in prop::collection::vec(prop::sample::select(vec![
            HEAD, "GET / HTTP/1.0\r\n", "\r\n", "\n", "\r", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "3\r\n",
            "abc", "0\r\n\r\n", ";a=b", "X: y\r\n", "7fffffffffffffff\r\n",
        ]), 0..12)) {
            // Panics if the result depends on the split.
            refused(&pieces.concat());
        }
    }

    #[test]
    fn lines_have_a_limit() {
        let line = |size: usize| format!("{HEAD}X: {}\r\n", "x".repeat(size - 5));
        passes(&line(LINE_SIZE));
        fails(&line(LINE_SIZE + 1));
    }

    #[test]
    fn size_of_a_head_or_an_extension_is_limited() {
        let mut framing = Framing::default();
        // hyper answers such a head with 431.
        assert_eq!(framing.advance(&[b'a'; HEAD_SIZE + 1]), Ok(()));
        assert_eq!(framing.advance(b"\n"), Ok(()));
        assert_eq!(framing.place, Place::Oversize);

        let mut framing = Framing::default();
        framing.advance(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n1;").as_bytes()).unwrap();
        assert_eq!(framing.advance(&[b'a'; HEAD_SIZE]), Err(HEAD_SIZE - 1));
    }
}
