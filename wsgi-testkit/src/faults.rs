//! What goes wrong, and when.

use std::fs::File;
use std::io;

use wsgi_core::output::SpoolStore;

/// What goes wrong in the course of an exchange. Without a word nothing does.
///
/// Bodies that stop half way are the request's: [`Body::CutAfter`](crate::Body). A full disk is the application's location's:
/// [`FullDisk`].
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The client is gone after that many body bytes.
    pub leaves_after: Option<usize>,
    /// The client is gone as soon as this line is in the log of the exchange. What the host does then is done: on a thread
    /// the exchange is cancelled.
    pub leaves_at: Option<String>,
    /// The client is gone as soon as it is waited for. Inline the exchange is dropped then; on a thread the test says
    /// [`Client::leave`](crate::Client::leave).
    pub leaves_when_stalled: bool,
    /// Before these blocks (counted from 0) the client is slow: the sink is pending until the test lets it go on.
    pub stalls_before: Vec<usize>,
    /// The host wants no body once the head is out, as with a 304 that it made itself.
    pub body_unwanted: bool,
    /// That call of the gateway to the sink (counted from 0) fails. [`Client::calls`](crate::Client::calls) tells how many
    /// there are.
    pub call_fails: Option<usize>,
}

/// A [`SpoolStore`] on a disk without room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullDisk {
    /// No file can be made.
    NoFile,
    /// A file can be made, and nothing written into it. Linux only.
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
