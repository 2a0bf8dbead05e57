//! Request bodies without an announced length, such as chunked ones. They are collected before the application is
//! called, in memory or in a temporary file, so that CONTENT_LENGTH has their length: frameworks treat a body without
//! it as empty.

use std::error::Error;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use tokio::runtime::Handle;
use wsgi_core::error::HostError;
use wsgi_core::host::BodySource;
use wsgi_core::python::Location;

use crate::body::Source;
use crate::deadline::Deadline;

/// Largest body that is kept in memory, in bytes. A larger one is written to a file, in pieces of about this size.
const IN_MEMORY: usize = 128 * 1024;

/// A collected body. If it has failed, reading returns the bytes before the failure, and then the error.
pub(crate) struct Collected {
    content: Content,
    length: u64,
    position: u64,
    failure: Option<HostError>,
}

enum Content {
    Memory(Vec<u8>),
    File(File),
}

impl Collected {
    /// Returns the value of CONTENT_LENGTH.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.failure.is_none().then_some(self.length)
    }

    /// Reads a body to its end. Errors of the client are a body that is too slow (408), longer than `most` bytes (413),
    /// or incomplete or malformed (400); an error of the server is a file that cannot be written (500).
    pub(crate) async fn collect<B>(mut source: Source<B>, location: &Arc<Location>, most: u64) -> Result<Self, Refusal>
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut spool = Spool { location: Arc::clone(location), pending: Vec::new(), file: None };
        let mut length = 0;
        while !source.has_ended() {
            next_part(&mut source).await?;
            while let Some(part) = source.take_part() {
                length += part.len() as u64;
                if length > most {
                    return Err(Refusal::too_long(most));
                }
                spool = spool.add(part).await.map_err(|error| Refusal::not_kept(location, &error))?;
            }
        }
        let failure = match source.take_failure() {
            // The client has disconnected, or its body is malformed.
            Some(HostError::ClientGone) => return Err(StatusCode::BAD_REQUEST.into()),
            failure => failure,
        };
        let content = spool.finish().await.map_err(|error| Refusal::not_kept(location, &error))?;
        Ok(Self { content, length, position: 0, failure })
    }
}

/// The reason for which a body was not collected.
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// A line for the log, if an operator can act on the reason.
    pub(crate) line: Option<String>,
}

impl Refusal {
    fn too_long(most: u64) -> Self {
        let line = format!("client intended to send too large body of unknown length: more than {most} bytes");
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, line: Some(line) }
    }

    fn not_kept(location: &Location, error: &io::Error) -> Self {
        let folder = location.settings().temp_path.as_ref().map_or_else(std::env::temp_dir, |temp| temp.path.clone());
        let line = format!(
            "cannot spool the request body for {} to a file in \"{}\": {error}",
            location.target(),
            folder.display()
        );
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, line: Some(line) }
    }
}

impl From<StatusCode> for Refusal {
    fn from(status: StatusCode) -> Self {
        Self { status, line: None }
    }
}

/// Waits for the next part of a body, as long as its limits allow.
async fn next_part<B>(source: &mut Source<B>) -> Result<(), StatusCode>
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let began = Instant::now();
    let mut deadline = began.checked_add(source.limits().next()).map(Deadline::new);
    poll_fn(|cx| {
        if let Poll::Ready(part) = source.poll_part(cx) {
            source.limits().pace.received_since(part, began);
            return Poll::Ready(Ok(()));
        }
        let is_late = deadline.as_mut().is_some_and(|deadline| deadline.poll_passed(cx).is_ready());
        if is_late { Poll::Ready(Err(StatusCode::REQUEST_TIMEOUT)) } else { Poll::Pending }
    })
    .await
}

/// Collects a body into memory or a file.
struct Spool {
    location: Arc<Location>,
    pending: Vec<u8>,
    file: Option<File>,
}

impl Spool {
    async fn add(mut self, part: Bytes) -> io::Result<Self> {
        self.pending.extend_from_slice(&part);
        if self.pending.len() > IN_MEMORY { off_the_runtime(move || self.write()).await } else { Ok(self) }
    }

    /// Moves the pending bytes to the file. Blocks on disk I/O.
    fn write(mut self) -> io::Result<Self> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.location.temporary_file()?,
        };
        file.write_all(&self.pending)?;
        self.pending.clear();
        Ok(Self { file: Some(file), ..self })
    }

    async fn finish(self) -> io::Result<Content> {
        if self.file.is_none() {
            return Ok(Content::Memory(self.pending));
        }
        let spool = off_the_runtime(move || self.write()).await?;
        Ok(spool.file.map_or(Content::Memory(spool.pending), Content::File))
    }
}

/// Runs work that blocks on disk I/O on a thread for blocking work, if there is a runtime.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await.map_err(io::Error::other)?,
        Err(_) => work(),
    }
}

impl BodySource for Collected {
    fn remaining(&self) -> Option<u64> {
        self.failure.is_none().then_some(self.length - self.position)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, HostError> {
        let left = self.length - self.position;
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        if room == 0 {
            return if buf.is_empty() { Ok(0) } else { self.failure.take().map_or(Ok(0), Err) };
        }
        let count = match &self.content {
            Content::Memory(data) => {
                // At most the length of the data.
                let begin = self.position as usize;
                buf[..room].copy_from_slice(&data[begin..begin + room]);
                room
            }
            Content::File(file) => file.read_at(&mut buf[..room], self.position)?,
        };
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file of the request body has been cut short",
            )
            .into());
        }
        self.position += count as u64;
        Ok(count)
    }

    fn is_ready(&self) -> bool {
        matches!(self.content, Content::Memory(_))
    }

    fn streams(&self) -> bool {
        false
    }

    fn length(&self) -> Option<u64> {
        self.announced()
    }

    fn seek(&mut self, position: u64) {
        self.position = position.min(self.length);
    }
}
