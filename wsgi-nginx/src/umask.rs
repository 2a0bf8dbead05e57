//! Sets the umask of workers to the umask of the shell that has started nginx.
//!
//! A daemonised nginx has umask 0, since it gives its own files explicit modes. Files that applications create would be
//! writable for everybody.

use std::sync::OnceLock;

/// The umask if that of the shell is unknown: in a master that another binary has started, or that loads the module
/// when it has run for a while.
const USUAL: libc::mode_t = 0o022;

static STARTED_WITH: OnceLock<libc::mode_t> = OnceLock::new();

/// Remembers the umask. Called whenever nginx reads the configuration; the first call, before nginx becomes a daemon,
/// counts.
pub(crate) fn remember() {
    STARTED_WITH.get_or_init(|| {
        // SAFETY: sets a number of the process and restores it. No file is created meanwhile, since there is one
        // thread.
        let umask = unsafe {
            let umask = libc::umask(USUAL);
            libc::umask(umask);
            umask
        };
        if umask == 0 { USUAL } else { umask }
    });
}

/// Sets the umask in a worker that is about to start Python.
pub(crate) fn apply() {
    // SAFETY: `umask` always succeeds, and sets a number of the process.
    unsafe { libc::umask(*STARTED_WITH.get().unwrap_or(&USUAL)) };
}
