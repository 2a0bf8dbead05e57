//! The request body as nginx has collected it: in memory, in a temporary file, or both.

mod buffer;

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use wsgi_core::error::HostError;
use wsgi_core::host::BodySource;

use buffer::Buffer;

use crate::descriptors::close_on_exec;
use crate::ngx::Request;

/// A body and its length.
pub(crate) struct Source {
    /// `None` if the body is empty.
    pub(crate) body: Option<Box<dyn BodySource>>,
    /// The value of `CONTENT_LENGTH`: `None` if the client announced no body and sent none.
    pub(crate) length: Option<u64>,
}

/// Returns the body that nginx has read for `request`. A subrequest shares the body of its main request.
///
/// A thread may still read it after nginx has destroyed the request: the buffer of a body is taken over; a small body,
/// which has no buffer, is copied. A file is read through a duplicated descriptor, unless the reader finishes
/// before the request does (`inline`).
///
/// # Safety
///
/// The body has been read. With `inline` the request outlives the result.
pub(crate) unsafe fn source(request: &Request, inline: bool) -> io::Result<Source> {
    let headers = &request.headers_in;
    let announced = request.is_main() && (headers.chunked() != 0 || !headers.content_length.is_null());
    if request.request_body.is_null() {
        return Ok(Source { body: None, length: announced.then_some(0) });
    }
    let mut segments = Vec::new();
    let mut length = 0;
    let taken = Buffer::take(request);
    for buffer in request.body_buffers() {
        let segment = if buffer.in_file() != 0 {
            // SAFETY: a buffer in a file has an open descriptor; with `inline` it stays open for longer than it is
            // read, as the caller promises.
            let file = unsafe { Descriptor::new((*buffer.file).fd, inline)? };
            Segment::File { file, start: buffer.file_pos as u64, end: buffer.file_last as u64 }
        } else {
            Segment::memory(buffer.bytes(), taken.as_ref())
        };
        length += segment.length();
        if segment.length() > 0 {
            segments.push(segment);
        }
    }
    Ok(Source {
        body: (length > 0).then(|| Box::new(Body::new(segments, length)) as Box<dyn BodySource>),
        length: (length > 0 || announced).then_some(length),
    })
}

/// The segments of a body in order, and the read position.
struct Body {
    segments: Vec<Segment>,
    /// Index of the segment that is read next. `at` is the position in it.
    current: usize,
    at: u64,
    length: u64,
    remaining: u64,
}

impl Body {
    fn new(segments: Vec<Segment>, length: u64) -> Self {
        Self { segments, current: 0, at: 0, length, remaining: length }
    }
}

enum Segment {
    Copy(Vec<u8>),
    /// A part of nginx's buffer.
    Taken(Arc<Buffer>, Range<usize>),
    File {
        file: Descriptor,
        start: u64,
        end: u64,
    },
}

impl Segment {
    fn memory(bytes: &[u8], taken: Option<&Arc<Buffer>>) -> Self {
        match taken.and_then(|buffer| Some((buffer, buffer.find(bytes)?))) {
            Some((buffer, found)) => Self::Taken(Arc::clone(buffer), found),
            None => Self::Copy(bytes.to_vec()),
        }
    }

    fn length(&self) -> u64 {
        match self {
            Segment::Copy(data) => data.len() as u64,
            Segment::Taken(_, found) => found.len() as u64,
            Segment::File { start, end, .. } => end.saturating_sub(*start),
        }
    }

    /// Reads from position `at`, which is less than the length.
    fn read(&self, at: u64, buf: &mut [u8]) -> Result<usize, HostError> {
        match self {
            Segment::Copy(data) => Ok(copy(data, at, buf)),
            Segment::Taken(buffer, found) => Ok(copy(buffer.bytes(found.clone()), at, buf)),
            Segment::File { file, start, .. } => {
                let limit = usize::try_from(self.length() - at).unwrap_or(usize::MAX).min(buf.len());
                let count = file.read_at(&mut buf[..limit], start + at)?;
                if count == 0 && limit > 0 {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the file that holds the request body has been cut short",
                    )
                    .into());
                }
                Ok(count)
            }
        }
    }
}

/// Copies bytes of `data` from position `at` on, as many as fit into `buf`; returns the count.
fn copy(data: &[u8], at: u64, buf: &mut [u8]) -> usize {
    let rest = usize::try_from(at).ok().and_then(|at| data.get(at..)).unwrap_or_default();
    let count = rest.len().min(buf.len());
    buf[..count].copy_from_slice(&rest[..count]);
    count
}

impl BodySource for Body {
    fn remaining(&self) -> Option<u64> {
        Some(self.remaining)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, HostError> {
        let Some(segment) = self.segments.get(self.current) else { return Ok(0) };
        let count = segment.read(self.at, buf)?;
        self.at += count as u64;
        self.remaining -= count as u64;
        if self.at == segment.length() {
            (self.current, self.at) = (self.current + 1, 0);
        }
        Ok(count)
    }

    fn is_ready(&self) -> bool {
        !self.segments[self.current..].iter().any(|segment| matches!(segment, Segment::File { .. }))
    }

    fn length(&self) -> Option<u64> {
        Some(self.length)
    }

    fn seek(&mut self, position: u64) {
        (self.current, self.at) = (0, position.min(self.length));
        self.remaining = self.length - self.at;
        while let Some(segment) = self.segments.get(self.current).filter(|segment| segment.length() <= self.at) {
            self.at -= segment.length();
            self.current += 1;
        }
    }

    /// Returns false: nginx has collected the whole body, in memory or in a file.
    fn streams(&self) -> bool {
        false
    }
}

/// A file of nginx, read at positions.
enum Descriptor {
    /// nginx's descriptor, which nginx closes.
    Borrowed(ManuallyDrop<File>),
    Own(File),
}

impl Descriptor {
    /// # Safety
    ///
    /// `fd` is open; with `borrow`, it stays open for as long as the result is used.
    unsafe fn new(fd: libc::c_int, borrow: bool) -> io::Result<Self> {
        // nginx opens the file without the flag, and a program that an application starts must not inherit it.
        close_on_exec(fd);
        // SAFETY: `fd` is open, as the caller promises; `ManuallyDrop` keeps a borrowed one from being closed here.
        unsafe {
            if borrow {
                return Ok(Self::Borrowed(ManuallyDrop::new(File::from(OwnedFd::from_raw_fd(fd)))));
            }
            let own: OwnedFd = BorrowedFd::borrow_raw(fd).as_fd().try_clone_to_owned()?;
            Ok(Self::Own(File::from(own)))
        }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let file: &File = match self {
            Self::Borrowed(file) => file,
            Self::Own(file) => file,
        };
        loop {
            match file.read_at(buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}
