//! Files for what does not fit into memory, and what is sent from them.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Makes files without a name. Called on the thread that writes, which may wait for the disk.
pub trait SpoolStore: Send + Sync {
    /// An empty file for writing and reading, mode 0600, that nobody finds by a path.
    fn create(&self) -> io::Result<File>;
}

/// A folder for such files, with folders in it as nginx has them for its own (`client_body_temp_path`).
#[derive(Debug)]
pub struct TempFolder {
    path: PathBuf,
    /// Digits of the folders' names, outermost first.
    levels: Vec<usize>,
    next: AtomicUsize,
}

impl TempFolder {
    /// Files in folders of `levels` below `path`: with `[1, 2]` in `path/7/45`, from the last digits of a number that
    /// counts. The folders are made when they are needed, `path` itself is not.
    pub fn new(path: PathBuf, levels: Vec<usize>) -> Self {
        Self { path, levels, next: AtomicUsize::new(0) }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn folder(&self) -> PathBuf {
        let number = format!("{:010}", self.next.fetch_add(1, Ordering::Relaxed));
        let mut end = number.len();
        let mut folder = self.path.clone();
        for digits in &self.levels {
            let start = end.saturating_sub(*digits);
            folder.push(&number[start..end]);
            end = start;
        }
        folder
    }
}

impl SpoolStore for TempFolder {
    fn create(&self) -> io::Result<File> {
        let folder = self.folder();
        match nameless(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.path.is_dir() => {
                private_folders(&folder)?;
                nameless(&folder)
            }
            result => result,
        }
    }
}

fn nameless(folder: &Path) -> io::Result<File> {
    let file = tempfile::tempfile_in(folder)?;
    // It had no name from the start; through /proc it can be opened nevertheless.
    file.set_permissions(PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

/// The folders of other users' requests are nobody's business.
fn private_folders(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// A part of a file that does not change any more.
#[derive(Clone, Debug)]
pub struct FilePart {
    /// The file.
    pub file: Arc<File>,
    /// Where the part begins.
    pub start: u64,
    /// Its length in bytes, not 0.
    pub len: u64,
}

impl FilePart {
    /// The part as memory, for hosts that cannot send from files. Pages are read when they are looked at.
    pub fn map(&self) -> io::Result<Bytes> {
        let len = usize::try_from(self.len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        #[allow(unsafe_code, reason = "memory that is a file can change under us")]
        // SAFETY: the file has no name and belongs to us: nobody else can write to it or cut it, and we are done writing.
        let map = unsafe { memmap2::MmapOptions::new().offset(self.start).len(len).map(&*self.file) }?;
        Ok(Bytes::from_owner(map))
    }
}
