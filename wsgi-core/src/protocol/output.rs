//! Blocks that the write callable has collected: in memory first, then in an anonymous file.

mod application_file;
#[cfg(feature = "python")]
mod gather;
mod spool;

pub use application_file::ApplicationFile;
#[cfg(feature = "python")]
pub(crate) use gather::Gather;
pub use spool::{FilePart, SpoolStore, TempFolder};

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;

use crate::error::same;

/// Written blocks in order, of which at most `limit` bytes are in memory.
///
/// A block that would exceed the limit goes to a file, after the contents of memory; memory is then used again, as nginx does
/// with request bodies.
#[derive(Debug)]
pub struct WriteBuffer {
    limit: usize,
    memory: Vec<u8>,
    file: Option<File>,
    in_file: u64,
    /// The error of a failed write, after which the data is incomplete.
    broken: Option<io::Error>,
}

impl WriteBuffer {
    /// Creates an empty buffer that keeps up to `limit` bytes in memory.
    pub fn new(limit: usize) -> Self {
        Self { limit, memory: Vec::new(), file: None, in_file: 0, broken: None }
    }

    /// Whether [`push`](Self::push) of `len` bytes stays in memory, so that it neither blocks nor fails.
    pub fn has_room(&self, len: usize) -> bool {
        self.broken.is_none() && self.memory.len() + len <= self.limit
    }

    /// Adds a block. The first block that exceeds the limit makes `store` create a file; writes to it block for the disk.
    /// After an error, every further push returns the same error.
    pub fn push(&mut self, block: &[u8], store: &dyn SpoolStore) -> io::Result<()> {
        if let Some(error) = self.error() {
            return Err(error);
        }
        if self.has_room(block.len()) {
            self.memory.extend_from_slice(block);
            return Ok(());
        }
        let result = self.spill(block, store);
        if let Err(error) = &result {
            self.broken = Some(same(error));
        }
        result
    }

    fn spill(&mut self, block: &[u8], store: &dyn SpoolStore) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(store.create()?),
        };
        file.write_all(&self.memory)?;
        file.write_all(block)?;
        self.in_file += (self.memory.len() + block.len()) as u64;
        self.memory.clear();
        Ok(())
    }

    /// Returns the error of an earlier [`push`](Self::push).
    pub fn error(&self) -> Option<io::Error> {
        self.broken.as_ref().map(same)
    }

    /// Returns how many parts [`into_parts`](Self::into_parts) returns.
    pub fn parts(&self) -> usize {
        usize::from(self.in_file > 0) + usize::from(!self.memory.is_empty())
    }

    /// Returns the written data: the file first, then memory. Both are `None` if nothing was written.
    pub fn into_parts(self) -> (Option<FilePart>, Option<Bytes>) {
        let file = self.file.filter(|_| self.in_file > 0);
        (
            file.map(|file| FilePart { file: Arc::new(file), start: 0, len: self.in_file }),
            (!self.memory.is_empty()).then(|| self.memory.into()),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    /// A store that counts its files.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl SpoolStore for Counting {
        fn create(&self) -> io::Result<File> {
            self.0.fetch_add(1, Ordering::Relaxed);
            tempfile::tempfile()
        }
    }

    struct Failing;

    impl SpoolStore for Failing {
        fn create(&self) -> io::Result<File> {
            // Every write to it fails, as on a full disk.
            std::fs::OpenOptions::new().write(true).open("/dev/full")
        }
    }

    fn content(file: Option<FilePart>, memory: Option<Bytes>) -> Vec<u8> {
        let mut all = file.map_or_else(Vec::new, |part| part.map().expect("a mapping").to_vec());
        all.extend_from_slice(memory.as_deref().unwrap_or_default());
        all
    }

    #[test]
    fn output_within_the_limit_stays_in_memory() {
        let store = Counting::default();
        let mut buffer = WriteBuffer::new(4);
        buffer.push(b"abc", &store).unwrap();
        buffer.push(b"d", &store).unwrap();
        assert_eq!(store.0.load(Ordering::Relaxed), 0);
        buffer.push(b"e", &store).unwrap();
        buffer.push(b"f", &store).unwrap();
        assert_eq!(store.0.load(Ordering::Relaxed), 1);
        let (file, memory) = buffer.into_parts();
        assert_eq!(file.unwrap().len, 5);
        assert_eq!(memory.as_deref(), Some(&b"f"[..]));
    }

    #[test]
    fn empty_buffer_has_no_parts() {
        let mut buffer = WriteBuffer::new(4);
        buffer.push(b"", &Failing).unwrap();
        let (file, memory) = buffer.into_parts();
        assert!(file.is_none() && memory.is_none());
    }

    #[test]
    fn full_disk_is_an_error_of_each_write() {
        let mut buffer = WriteBuffer::new(4);
        buffer.push(b"abc", &Failing).unwrap();
        assert!(buffer.error().is_none());
        for _ in 0..2 {
            let error = buffer.push(b"defgh", &Failing).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        assert!(!buffer.has_room(1));
        assert_eq!(buffer.error().unwrap().kind(), io::ErrorKind::StorageFull);
        assert!(buffer.push(b"i", &Counting::default()).is_err(), "what is missing stays missing");
    }

    #[test]
    fn error_without_errno_keeps_its_kind() {
        struct Refusing;
        impl SpoolStore for Refusing {
            fn create(&self) -> io::Result<File> {
                Err(io::Error::new(io::ErrorKind::QuotaExceeded, "enough"))
            }
        }
        let mut buffer = WriteBuffer::new(1);
        for _ in 0..2 {
            let error = buffer.push(b"ab", &Refusing).unwrap_err();
            assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::QuotaExceeded, "enough".to_owned()));
        }
        assert_eq!(buffer.error().unwrap().kind(), io::ErrorKind::QuotaExceeded);
    }

    #[test]
    fn the_file_is_private_and_has_no_name() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let store = TempFolder::new(folder.path().to_owned(), vec![1, 2]);
        let mut file = store.create().unwrap();
        file.write_all(b"x").unwrap();
        let found = file.metadata().unwrap();
        assert_eq!((found.mode() & 0o777, found.nlink()), (0o600, 0));
        let names = |path: &std::path::Path| -> Vec<String> {
            path.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let [first] = &names(folder.path())[..] else { panic!("{:?}", names(folder.path())) };
        let [second] = &names(&folder.path().join(first))[..] else { panic!("one folder of level 2") };
        assert_eq!((first.len(), second.len()), (1, 2));
        assert!(names(&folder.path().join(first).join(second)).is_empty());
        let mut text = String::new();
        assert_eq!(file.read_to_string(&mut text).unwrap(), 0, "written at its end");
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = TempFolder::new(folder.path().join("missing"), Vec::new());
        let error = store.create().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(2));
    }

    proptest! {
        #[test]
        fn spooled_bytes_are_read_back_unchanged(
            limit in 1..64usize,
            blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..48), 0..12),
        ) {
            let store = Counting::default();
            let mut buffer = WriteBuffer::new(limit);
            for block in &blocks {
                let stays = buffer.has_room(block.len());
                let files = store.0.load(Ordering::Relaxed);
                buffer.push(block, &store).unwrap();
                prop_assert!(!stays || store.0.load(Ordering::Relaxed) == files);
                prop_assert!(buffer.memory.len() <= limit);
            }
            let all = blocks.concat();
            let parts = buffer.parts();
            prop_assert_eq!(store.0.load(Ordering::Relaxed), usize::from(all.len() > limit));
            let (file, memory) = buffer.into_parts();
            prop_assert_eq!(parts, usize::from(file.is_some()) + usize::from(memory.is_some()));
            prop_assert_eq!(content(file, memory), all);
        }
    }
}
