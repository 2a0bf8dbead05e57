//! Sets the umask of workers to the umask of the shell that has started nginx.
//!
//! A daemon of nginx has umask 0, for it gives the files that it makes itself explicit modes. Files that applications make
//! would be writable for everybody.

use std::sync::OnceLock;

/// Where it is not known what nginx was started with: in a master that another binary has started, or that has run for a
/// while when it loads the module.
const USUAL: libc::mode_t = 0o022;

static STARTED_WITH: OnceLock<libc::mode_t> = OnceLock::new();

/// Called when the configuration is read: the first time is before nginx becomes a daemon. Later ones change nothing.
pub(crate) fn remember() {
    STARTED_WITH.get_or_init(|| {
        // SAFETY: sets a number of the process and sets it back. Nothing makes files meanwhile: there is one thread.
        let umask = unsafe {
            let umask = libc::umask(USUAL);
            libc::umask(umask);
            umask
        };
        if umask == 0 { USUAL } else { umask }
    });
}

/// Sets it in a worker that is about to start Python.
pub(crate) fn apply() {
    // SAFETY: sets a number of the process.
    unsafe { libc::umask(*STARTED_WITH.get().unwrap_or(&USUAL)) };
}
