//! Faults that a test injects.

use std::fs::File;
use std::io;

use wsgi_core::host::SpoolStore;

/// Faults in the course of an exchange; none by default.
///
/// A body that is cut off is set on the request: [`Body::CutAfter`](crate::Body). A full disk is set on the application's
/// location: [`FullDisk`].
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The client leaves after this many bytes of the body.
    pub leaves_after: Option<usize>,
    /// The client leaves as soon as this line is in the log of the exchange. The host then reacts as usual: on a thread, the
    /// exchange is cancelled.
    pub leaves_at: Option<String>,
    /// The client leaves as soon as the exchange waits for it. Inline, the exchange is dropped then; on a thread, the test
    /// calls [`Client::leave`](crate::Client::leave).
    pub leaves_when_stalled: bool,
    /// The client is slow before these blocks (counted from 0): the sink is pending until the test lets it continue.
    pub stalls_before: Vec<usize>,
    /// The host wants no body once the head has been sent, as with a 304 that it made itself.
    pub body_unwanted: bool,
    /// This call of the gateway to the sink (counted from 0) fails. [`Client::calls`](crate::Client::calls) returns the
    /// number of calls.
    pub call_fails: Option<usize>,
}

/// A [`SpoolStore`] on a full disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullDisk {
    /// No file can be created.
    NoFile,
    /// A file can be created, but not written to. Linux only.
    NoRoom,
}

impl SpoolStore for FullDisk {
    fn create(&self) -> io::Result<File> {
        match self {
            FullDisk::NoFile => Err(io::ErrorKind::StorageFull.into()),
            FullDisk::NoRoom => File::options().read(true).write(true).open("/dev/full"),
        }
    }
}
