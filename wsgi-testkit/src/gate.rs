//! A gate that an application waits at until the test opens it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::fs::OFlags;

use crate::wait_for;

/// A named pipe. The application says `open(PATH).read()`, and goes on when the test lets it. It has to read: who only opens
/// it may pass twice while the test holds it open once.
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

    /// Waits until someone stands at the gate. They pass when the result is dropped.
    pub fn arrival(&self) -> File {
        wait_for(&format!("somebody at {}", self.path.display()), || {
            OpenOptions::new().write(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(&self.path).ok()
        })
    }

    /// Lets the next one pass.
    pub fn pass(&self) {
        drop(self.arrival());
    }
}
