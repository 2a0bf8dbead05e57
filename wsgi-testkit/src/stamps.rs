//! Versions of a script that the test controls.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use wsgi_core::host::{FileStamp, StampSource};

/// A [`StampSource`] that reports changes when the test makes them, independent of the file system's clock.
#[derive(Debug, Default)]
pub struct Stamps {
    version: AtomicU64,
    asked: AtomicUsize,
}

impl Stamps {
    /// Makes every script appear changed.
    pub fn change(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how often the gateway has read a stamp.
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
