//! The response under way: what the protocol allows, and the host's sink that it goes to.

use std::sync::Arc;

use bytes::Bytes;
use pyo3::ffi;

use super::exchange::{Stop, Summary};
use super::token::{HeldBytes, Token};
use crate::error::{HostError, ProtocolError};
use crate::host::{COPY_LIMIT, Chunk, Flush, ResponseSink};
use crate::response::{Accepted, Response};

/// Response and sink, driven together.
pub(crate) struct Reply {
    pub(crate) response: Response,
    /// `None` when the request is over.
    pub(crate) sink: Option<Box<dyn ResponseSink>>,
    /// A failed write, kept until the exchange reports it.
    pub(crate) failure: Option<Arc<HostError>>,
    /// The next block is the only one, and so its length that of the body.
    pub(crate) single: bool,
    /// Bytes beyond Content-Length that were not sent.
    pub(crate) excess: u64,
    status: u16,
    body_bytes: u64,
}

impl Reply {
    pub(super) fn new(response: Response, sink: Box<dyn ResponseSink>) -> Self {
        Self { response, sink: Some(sink), failure: None, single: false, excess: 0, status: 0, body_bytes: 0 }
    }

    /// Sends one block of the iterable; true when no further one is needed.
    ///
    /// # Safety
    ///
    /// `block` is a live `bytes` object.
    pub(super) unsafe fn item(
        &mut self,
        token: Token<'_>,
        block: *mut ffi::PyObject,
        flush: Flush,
    ) -> Result<bool, Stop> {
        // SAFETY: a bytes object.
        let length = unsafe { ffi::PyBytes_Size(block) } as u64;
        let accepted = self.response.item(length).map_err(Stop::Protocol)?;
        self.excess += accepted.excess;
        let last = accepted.last;
        // SAFETY: as above.
        unsafe { self.send(token, accepted, block, flush) }.map_err(Stop::Host)?;
        Ok(last)
    }

    /// Sends one block of the write callable, and waits until the client takes it. Others run Python meanwhile;
    /// inline this holds up the worker.
    ///
    /// # Safety
    ///
    /// `block` is a live `bytes` object.
    pub(super) unsafe fn write(&mut self, token: Token<'_>, block: *mut ffi::PyObject) -> Result<(), Stop> {
        // SAFETY: a bytes object.
        let length = unsafe { ffi::PyBytes_Size(block) } as u64;
        let accepted = self.response.write(length).map_err(Stop::Protocol)?;
        // SAFETY: as above.
        unsafe { self.send(token, accepted, block, Flush::Now) }.map_err(Stop::Host)?;
        match self.sink.as_mut() {
            Some(sink) => token.detached(|| sink.drain()).map_err(Stop::Host),
            None => Err(Stop::Protocol(ProtocolError::Ended)),
        }
    }

    /// The iterable is exhausted.
    pub(super) fn end(&mut self) -> Result<Summary, Stop> {
        let ending = self.response.end().map_err(Stop::Protocol)?;
        self.finish(ending.head)
    }

    /// The host wants no body: what Content-Length promises is not owed.
    pub(super) fn end_unwanted(&mut self) -> Result<Summary, Stop> {
        self.finish(None)
    }

    fn finish(&mut self, head: Option<crate::head::ResponseHead>) -> Result<Summary, Stop> {
        let Some(sink) = self.sink.as_mut() else { return Err(Stop::Host(HostError::ClientGone)) };
        if let Some(head) = head {
            self.status = head.status.code().as_u16();
            sink.send_head(head).map_err(Stop::Host)?;
        }
        sink.finish().map_err(Stop::Host)?;
        Ok(Summary { status: self.status, body_bytes: self.body_bytes })
    }

    /// # Safety
    ///
    /// `block` is a live `bytes` object.
    unsafe fn send(
        &mut self,
        token: Token<'_>,
        accepted: Accepted,
        block: *mut ffi::PyObject,
        flush: Flush,
    ) -> Result<(), HostError> {
        let Some(sink) = self.sink.as_mut() else { return Err(HostError::ClientGone) };
        if let Some(head) = accepted.head {
            self.status = head.status.code().as_u16();
            sink.send_head(head)?;
        }
        // No more than the block's length, which is a usize.
        let take = accepted.take as usize;
        if take == 0 {
            return Ok(());
        }
        self.body_bytes += accepted.take;
        // SAFETY: a live bytes object, as the caller promises; borrowed bytes are copied by the sink, larger ones get
        // a reference of their own.
        unsafe {
            let data = std::slice::from_raw_parts(ffi::PyBytes_AsString(block).cast::<u8>(), take);
            if take <= COPY_LIMIT {
                sink.send(Chunk::Borrowed(data), flush)
            } else if ffi::PyBytes_CheckExact(block) == 0 {
                // A subclass may have a finaliser, which must not run wherever the host drops the block.
                sink.send(Chunk::Owned(Bytes::copy_from_slice(data)), flush)
            } else {
                let object = token.borrow(block).expect("a live object");
                let mut bytes = Bytes::from_owner(HeldBytes::new(object));
                bytes.truncate(take);
                sink.send(Chunk::Owned(bytes), flush)
            }
        }
    }
}
