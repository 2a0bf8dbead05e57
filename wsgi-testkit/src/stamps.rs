//! Versions of a script as the test tells them.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use wsgi_core::reload::{FileStamp, StampSource};

/// A [`StampSource`] that knows of changes when the test says so, whatever the file system's clock can tell apart.
#[derive(Debug, Default)]
pub struct Stamps {
    version: AtomicU64,
    asked: AtomicUsize,
}

impl Stamps {
    /// From now on the script is another one.
    pub fn change(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the gateway has asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl StampSource for Stamps {
    fn stamp(&self, _script: &Path) -> io::Result<FileStamp> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(FileStamp { modified: (0, 0), size: self.version.load(Ordering::Relaxed), changed: (0, 0), file: (0, 0) })
    }
}
