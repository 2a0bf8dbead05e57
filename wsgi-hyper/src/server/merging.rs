//! Merges chunks of a request body.
//!
//! hyper forwards each chunk separately, and each goes from its task to the thread of the application: a client that
//! sends chunks of single bytes would cause hundreds of times the work that it has itself. Chunks that arrive together
//! are forwarded as one chunk. Chunk extensions are lost, which is allowed for unknown ones (RFC 9112, 7.1.1).

use std::io::Write as _;
use std::ops::Range;

/// A completely received chunk of a body, by positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// From its size line to the line end after its data.
    pub(super) whole: Range<usize>,
    pub(super) data: Range<usize>,
}

/// Merges adjacent chunks in `bytes`. Returns the new length, which is not larger.
pub(super) fn merge(bytes: &mut [u8], chunks: &[Chunk]) -> usize {
    let (mut read, mut written) = (0, 0);
    for run in chunks.chunk_by(|one, next| one.whole.end == next.whole.start) {
        let [first, .., last] = run else { continue };
        let size: usize = run.iter().map(|chunk| chunk.data.len()).sum();
        let mut merged = Vec::with_capacity(size + 20);
        // Writing to a Vec does not fail.
        let _ = write!(merged, "{size:x}\r\n");
        run.iter().for_each(|chunk| merged.extend_from_slice(&bytes[chunk.data.clone()]));
        merged.extend_from_slice(b"\r\n");
        bytes.copy_within(read..first.whole.start, written);
        written += first.whole.start - read;
        // The merged chunk is shorter than the chunks, which have at least two size lines, so that this overwrites no
        // unread bytes.
        bytes[written..written + merged.len()].copy_from_slice(&merged);
        written += merged.len();
        read = last.whole.end;
    }
    bytes.copy_within(read.., written);
    written + bytes.len() - read
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::framing::Framing;
    use super::*;

    /// Returns the forwarded bytes of a connection whose bytes arrive in pieces that end at `cuts`.
    fn merged(bytes: &[u8], cuts: &[usize]) -> Vec<u8> {
        let (mut framing, mut all) = (Framing::default(), Vec::new());
        for piece in cuts.windows(2) {
            let mut piece = bytes[piece[0]..piece[1]].to_vec();
            framing.advance(&piece).unwrap();
            let length = merge(&mut piece, framing.chunks());
            all.extend_from_slice(&piece[..length]);
        }
        all
    }

    const HEAD: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn chunks_that_arrive_together_become_one() {
        let text = format!(
            "{HEAD}1\r\na\r\n002 ; x=y\r\nbc\r\n1\r\n\n\r\n0\r\nX: y\r\n\r\n{HEAD}1\r\na\r\n1\r\nb\r\n0\r\n\r\n"
        );
        let expected = format!("{HEAD}4\r\nabc\n\r\n0\r\nX: y\r\n\r\n{HEAD}2\r\nab\r\n0\r\n\r\n");
        assert_eq!(String::from_utf8(merged(text.as_bytes(), &[0, text.len()])).unwrap(), expected);
    }

    #[test]
    fn chunk_that_arrives_alone_or_in_parts_stays_as_it_is() {
        let alone = format!("{HEAD}03;a\r\nabc\r\n0\r\n\r\n");
        assert_eq!(merged(alone.as_bytes(), &[0, alone.len()]), alone.as_bytes());
        let text = format!("{HEAD}1\r\na\r\n1\r\nb\r\n");
        let at = text.len();
        for cut in [at - 11, at - 7, at - 5, at - 1] {
            assert_eq!(merged(text.as_bytes(), &[0, cut, at]), text.as_bytes(), "cut at {cut}");
        }
    }

    /// Returns the data of the chunks after a head, and the bytes after the chunks.
    fn data(mut bytes: &[u8]) -> (Vec<u8>, &[u8]) {
        let line = |bytes: &[u8]| bytes.windows(2).position(|pair| pair == b"\r\n").unwrap();
        bytes = &bytes[HEAD.len()..];
        let mut data = Vec::new();
        loop {
            let end = line(bytes);
            let digits = bytes[..end].split(|byte| *byte == b';').next().unwrap();
            let size = usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
            if size == 0 {
                return (data, bytes);
            }
            data.extend_from_slice(&bytes[end + 2..][..size]);
            bytes = &bytes[end + 2 + size + 2..];
        }
    }

    proptest! {
        #[test]
        fn body_and_what_is_behind_it_stay_the_same(
            blocks in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..40), 0usize..6, ".{0,3}"), 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut bytes = HEAD.as_bytes().to_vec();
            for (block, zeros, extension) in &blocks {
                let extension = extension.replace(['\r', '\n'], "");
                write!(bytes, "{}{:x};{extension}\r\n", "0".repeat(*zeros), block.len()).unwrap();
                bytes.extend_from_slice(block);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n\r\n");
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let merged = merged(&bytes, &cuts);
            prop_assert!(merged.len() <= bytes.len());
            prop_assert_eq!(data(&merged), data(&bytes));
            prop_assert_eq!(Framing::default().advance(&merged), Ok(()));
        }
    }
}
