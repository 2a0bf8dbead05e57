//! Lets the kernel join the blocks of a quick sequence that an application yields on the thread of the event loop.
//!
//! Each block is a system call, and with `tcp_nodelay` a packet, which costs more than the block. In a long sequence the
//! kernel joins blocks for which the client has not acknowledged earlier ones (Nagle's algorithm), and goes on sending
//! while the application makes the next block, as PEP 3333 asks ("Buffering and Streaming"). At the end of the sequence
//! the rest leaves at once.

use std::time::{Duration, Instant};

use crate::handover::HandOver;
use crate::loop_cell::Loop;

/// Blocks that leave at once at the beginning of a sequence.
const FIRST: u32 = 8;

/// The longest time between two blocks of a sequence.
const INTERVAL: Duration = Duration::from_millis(1);

/// nginx has set `TCP_NODELAY` for the connection (`NGX_TCP_NODELAY_SET`).
const NO_DELAY: u32 = 1;

/// The blocks of one response.
#[derive(Default)]
pub(crate) struct Burst {
    last: Option<Instant>,
    /// Blocks of the present sequence.
    blocks: u32,
    /// Whether the kernel may join blocks.
    joins: bool,
}

impl Burst {
    /// Notes that a block is about to be sent.
    #[inline]
    pub(crate) fn next(&mut self, lp: &mut Loop, hand_over: &HandOver) {
        let now = Instant::now();
        if self.last.replace(now).is_some_and(|last| now - last <= INTERVAL) {
            self.blocks = self.blocks.saturating_add(1);
            if self.blocks == FIRST {
                self.joins = set_no_delay(lp, hand_over, false);
            }
        } else {
            self.end(lp, hand_over);
        }
    }

    /// Ends the sequence: blocks that the kernel holds back leave now.
    #[inline]
    pub(crate) fn end(&mut self, lp: &mut Loop, hand_over: &HandOver) {
        self.blocks = 0;
        if std::mem::take(&mut self.joins) {
            set_no_delay(lp, hand_over, true);
        }
    }
}

/// Switches the delay of small packets, if nginx has switched it off for the connection. Returns whether it did.
#[cold]
fn set_no_delay(lp: &mut Loop, hand_over: &HandOver, on: bool) -> bool {
    let Some(req) = hand_over.request(lp) else { return false };
    if req.is_multiplexed() || req.connection().tcp_nodelay() != NO_DELAY {
        return false;
    }
    let value = libc::c_int::from(on);
    // SAFETY: the pointer and the size are those of `value`.
    let result = unsafe {
        let length = size_of_val(&value) as libc::socklen_t;
        let value = (&raw const value).cast();
        libc::setsockopt(req.connection().fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, value, length)
    };
    result == 0
}
