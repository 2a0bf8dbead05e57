//! A pair of sockets through which a worker gets streams of other workers. All workers inherit both ends.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use crate::bindings::ngx_cycle_t;
use crate::eventfd::{self, Handler};

/// The mailbox of a worker.
#[derive(Debug)]
pub(crate) struct Mailbox {
    entrance: UnixDatagram,
    exit: UnixDatagram,
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Self> {
        let (entrance, exit) = UnixDatagram::pair()?;
        entrance.set_nonblocking(true)?;
        exit.set_nonblocking(true)?;
        Ok(Self { entrance, exit })
    }

    /// Sends a stream to the worker. Fails if too many wait for it.
    pub(crate) fn send(&self, stream: &UnixStream) -> io::Result<()> {
        let descriptors = [stream.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        // A datagram without content would look like the end of a stream.
        sendmsg(&self.entrance, &[IoSlice::new(b"s")], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Returns the next stream that was sent to this worker, if there is one. Does not block.
    pub(crate) fn receive(&self) -> Option<UnixStream> {
        loop {
            let mut content = [0];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut buffers = [IoSliceMut::new(&mut content)];
            recvmsg(&self.exit, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
            let stream = control.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next().map(UnixStream::from),
                _ => None,
            });
            // The system has closed the stream if this process has no descriptor left for it.
            if stream.is_some() {
                return stream;
            }
        }
    }

    /// Makes nginx call `handler` when a stream has come.
    ///
    /// # Safety
    ///
    /// As for [`eventfd::watch`].
    pub(crate) unsafe fn watch(&self, cycle: &mut ngx_cycle_t, handler: Handler) -> Result<(), String> {
        // SAFETY: as the caller promises.
        unsafe { eventfd::watch(self.exit.as_fd(), cycle, handler) }
    }
}
