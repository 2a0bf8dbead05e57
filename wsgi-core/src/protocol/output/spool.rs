//! Spool files for data that exceeds the limit of memory, and the parts of them that are sent.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Creates files without a name. Called on the thread that writes, which may block for the disk.
pub trait SpoolStore: Send + Sync {
    /// Creates an empty file for writing and reading, mode 0600, that cannot be reached by a path.
    fn create(&self) -> io::Result<File>;
}

/// A folder for such files, with subfolders in the layout of nginx (`client_body_temp_path`).
#[derive(Debug)]
pub struct TempFolder {
    path: PathBuf,
    /// Digits in the names of the subfolders, outermost first.
    levels: Vec<usize>,
    next: AtomicUsize,
}

impl TempFolder {
    /// Creates files in subfolders of `levels` below `path`: with `[1, 2]` in `path/7/45`, after the last digits of a
    /// counter. Subfolders are created when they are needed; `path` itself is not.
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
    // The file never had a name, but can be opened through /proc.
    file.set_permissions(PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

/// Creates folders that other users cannot list.
fn private_folders(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// A part of a file that no longer changes.
#[derive(Clone, Debug)]
pub struct FilePart {
    /// The file.
    pub file: Arc<File>,
    /// Offset of the part in bytes.
    pub start: u64,
    /// Length of the part in bytes, not 0.
    pub len: u64,
}

impl FilePart {
    /// Maps the part into memory, for hosts that cannot send files. Pages are read on access.
    pub fn map(&self) -> io::Result<Bytes> {
        let len = usize::try_from(self.len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        #[allow(unsafe_code, reason = "memory that is a file can change under us")]
        // SAFETY: the file has no name and only this process has it open: no other can write to it or truncate it, and we no
        // longer write.
        let map = unsafe { memmap2::MmapOptions::new().offset(self.start).len(len).map(&*self.file) }?;
        Ok(Bytes::from_owner(map))
    }
}
