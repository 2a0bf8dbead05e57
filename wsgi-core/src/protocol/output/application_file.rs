//! Files of an application that a host sends (`wsgi.file_wrapper`).

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustix::io::{ReadWriteFlags, preadv2};

/// A part of a regular file of the application. Others may write to the file or cut it short while it is sent, so it must
/// not be mapped into memory.
#[derive(Clone, Debug)]
pub struct ApplicationFile {
    /// The file. The application shares its position, so it is read at offsets only.
    pub file: Arc<File>,
    /// Offset of the part in bytes.
    pub start: u64,
    /// Length of the part in bytes, not 0.
    pub len: u64,
}

impl ApplicationFile {
    /// Reads up to `limit` bytes from the beginning of the part, which then begins behind them. Returns no bytes at the
    /// end of the part. Blocks for the disk. A file that has become shorter is an error,
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
    pub fn read(&mut self, limit: usize) -> io::Result<Bytes> {
        let size = usize::try_from(self.len).unwrap_or(usize::MAX).min(limit);
        let mut block = BytesMut::zeroed(size);
        self.file.read_exact_at(&mut block, self.start).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the file was cut short while it was sent"),
            _ => error,
        })?;
        self.skip(size);
        Ok(block.freeze())
    }

    /// Like [`read`](Self::read), with the bytes that are in memory already (`RWF_NOWAIT`): does not block. `None` if
    /// there are none, or if the file system cannot tell: then call `read`, where blocking does no harm.
    pub fn try_read(&mut self, limit: usize) -> Option<Bytes> {
        let size = usize::try_from(self.len).unwrap_or(usize::MAX).min(limit);
        let mut block = BytesMut::zeroed(size);
        let mut place = [IoSliceMut::new(&mut block)];
        let count =
            preadv2(&*self.file, &mut place, self.start, ReadWriteFlags::NOWAIT).ok().filter(|read| *read > 0)?;
        block.truncate(count);
        self.skip(count);
        Some(block.freeze())
    }

    fn skip(&mut self, count: usize) {
        self.start += count as u64;
        self.len -= count as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_part_is_read_in_pieces_and_a_shorter_file_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut part = ApplicationFile { file: Arc::new(file), start: 2, len: 7 };
        assert_eq!(part.read(4).unwrap(), "2345");
        let mut other = part.clone();
        // A file system that cannot tell returns nothing.
        let mut available = part.clone();
        assert!(available.try_read(2).is_none_or(|block| block == "67" && available.len == 1));
        assert_eq!(part.read(100).unwrap(), "678");
        assert_eq!(part.read(100).unwrap(), "");
        other.file.set_len(8).unwrap();
        assert_eq!(other.read(100).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
