//! A gate at which an application waits until the test opens it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::fs::OFlags;

use crate::wait_for;

/// A named pipe. The application calls `open(PATH).read()`, and continues when the test lets it. It must read: if it only
/// opened the pipe, it could pass twice while the test holds the pipe open once.
pub struct Gate {
    path: PathBuf,
}

impl Gate {
    /// Makes the gate at a path that is not in use.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let made = Command::new("mkfifo").args(["-m", "666"]).arg(&path).status().expect("mkfifo can be run");
        assert!(made.success(), "cannot make {}", path.display());
        Self { path }
    }

    /// Blocks until an application waits at the gate. It passes when the result is dropped.
    pub fn arrival(&self) -> File {
        wait_for(&format!("somebody at {}", self.path.display()), || {
            OpenOptions::new().write(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(&self.path).ok()
        })
    }

    /// Lets the next application pass.
    pub fn pass(&self) {
        drop(self.arrival());
    }
}
