//! A gate that an application waits at until the test opens it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::{Nginx, wait_for};

/// A named pipe. The application says `open(PATH).read()`, and goes on when the test lets it.
pub(crate) struct Gate {
    path: PathBuf,
}

impl Gate {
    /// Makes the gate `name` in the folder of the site.
    pub(crate) fn new(nginx: &Nginx, name: &str) -> Self {
        let path = nginx.path(name);
        let made = Command::new("mkfifo").args(["-m", "666"]).arg(&path).status().expect("mkfifo can be run");
        assert!(made.success(), "cannot make {}", path.display());
        Self { path }
    }

    /// Waits until someone stands at the gate. They pass when the result is dropped.
    pub(crate) fn arrival(&self) -> File {
        wait_for(&format!("somebody at {}", self.path.display()), || {
            OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&self.path).ok()
        })
    }

    /// Lets the next one pass.
    pub(crate) fn pass(&self) {
        drop(self.arrival());
    }
}
