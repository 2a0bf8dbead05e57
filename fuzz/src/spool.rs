//! The write buffer, in memory and in a file: it holds the bytes that were written, and its file has no name. Once the disk
//! has failed, every later push returns that error.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use tempfile::TempDir;
use wsgi_core::host::SpoolStore;
use wsgi_core::protocol::{TempFolder, WriteBuffer};

use crate::Numbers;

/// The input: numbers for the limit of memory, the time when the disk fails, levels of folders, and sizes of blocks.
pub fn run(data: &[u8]) {
    let mut numbers = Numbers::new(data);
    let limit = numbers.size();
    let disk = match numbers.below(8) {
        0 => Disk::Refuses,
        1 => Disk::Full(numbers.size() as u64),
        2 => Disk::Missing(TempFolder::new(folder().path().join("missing"), levels(&mut numbers))),
        3 => Disk::Missing(TempFolder::new("/dev/full".into(), levels(&mut numbers))),
        _ => Disk::Folder(TempFolder::new(folder().path().to_owned(), levels(&mut numbers))),
    };
    let store = Counted { disk, files: AtomicUsize::new(0) };
    let mut buffer = WriteBuffer::new(limit);
    let (mut written, mut failed) = (Vec::new(), None);
    let mut spilled = false;
    while !numbers.is_empty() {
        let size = numbers.size();
        let block = vec![size as u8 ^ written.len() as u8; size];
        let room = buffer.has_room(size);
        let result = buffer.push(&block, &store);
        match (&result, &failed) {
            (Ok(()), None) => written.extend_from_slice(&block),
            (Err(error), None) => failed = Some(told(error)),
            (Err(error), Some(first)) => assert_eq!(told(error), *first, "the same error again"),
            (Ok(()), Some(_)) => panic!("what is missing stays missing"),
        }
        assert!(!room || result.is_ok(), "where there is room nothing fails");
        spilled |= !room && failed.is_none();
        assert_eq!(buffer.error().as_ref().map(told), failed);
        assert_eq!(buffer.has_room(0), failed.is_none());
    }
    assert!(store.files.load(Ordering::Relaxed) <= 1, "one file is enough");
    assert_eq!(store.files.load(Ordering::Relaxed) > 0, spilled || failed.is_some());
    if failed.is_none() {
        check(buffer, &written);
    }
    if let Disk::Folder(store) = &store.disk {
        no_file_in(store.path());
    }
}

fn told(error: &io::Error) -> (io::ErrorKind, String) {
    (error.kind(), error.to_string())
}

fn check(buffer: WriteBuffer, written: &[u8]) {
    let parts = buffer.parts();
    let (file, memory) = buffer.into_parts();
    assert_eq!(parts, usize::from(file.is_some()) + usize::from(memory.is_some()));
    let mut read = Vec::new();
    if let Some(part) = file {
        assert!(part.len > 0);
        let bytes = part.map().expect("a mapping");
        assert_eq!(bytes.len() as u64, part.len);
        read.extend_from_slice(&bytes);
    }
    read.extend_from_slice(memory.as_deref().unwrap_or_default());
    assert!(read == written, "{} bytes were written, {} are there", written.len(), read.len());
}

enum Disk {
    /// No file can be created.
    Refuses,
    /// A file takes this many bytes.
    Full(u64),
    /// The folder does not exist.
    Missing(TempFolder),
    Folder(TempFolder),
}

struct Counted {
    disk: Disk,
    files: AtomicUsize,
}

impl SpoolStore for Counted {
    fn create(&self) -> io::Result<File> {
        self.files.fetch_add(1, Ordering::Relaxed);
        match &self.disk {
            Disk::Refuses => Err(io::ErrorKind::StorageFull.into()),
            Disk::Full(room) => full(*room),
            Disk::Missing(folder) | Disk::Folder(folder) => folder.create(),
        }
    }
}

/// A file in memory that cannot grow.
fn full(room: u64) -> io::Result<File> {
    let file = File::from(memfd_create(c"full", MemfdFlags::ALLOW_SEALING)?);
    file.set_len(room)?;
    fcntl_add_seals(&file, SealFlags::GROW)?;
    Ok(file)
}

fn levels(numbers: &mut Numbers<'_>) -> Vec<usize> {
    (0..numbers.below(4)).map(|_| usize::from(1 + numbers.below(2))).collect()
}

fn folder() -> &'static TempDir {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().expect("a folder"))
}

fn no_file_in(folder: &Path) {
    // The folder fills with subfolders. Checking every 64th run is enough, as subfolders that exist already had no files in
    // them before.
    static KNOWN: AtomicUsize = AtomicUsize::new(0);
    if !KNOWN.fetch_add(1, Ordering::Relaxed).is_multiple_of(64) {
        return;
    }
    for entry in folder.read_dir().expect("a folder") {
        let path = entry.expect("an entry").path();
        assert!(path.is_dir(), "{} is left", path.display());
        no_file_below(&path);
    }
}

fn no_file_below(folder: &Path) {
    for entry in folder.read_dir().expect("a folder") {
        let path = entry.expect("an entry").path();
        assert!(path.is_dir(), "{} is left", path.display());
        no_file_below(&path);
    }
}
