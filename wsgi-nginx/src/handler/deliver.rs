//! From the application's thread to nginx.

use wsgi_core::error::Fault;
use wsgi_core::host::{Chunk, ErrorLog, Flush};

use super::end::{End, fail, finish};
use super::resume::wait_for_client;
use crate::event::Deliver;
use crate::guard::is_done;
use crate::handover::HandOver;
use crate::loop_cell::Loop;
use crate::mailbox::{Backlog, Gone, Mail};
use crate::reentry;

impl Deliver for HandOver {
    /// A panic ends this request, and no other.
    fn deliver(&self) -> usize {
        let connection = self.connection(&Loop::enter());
        let mut lines = 0;
        // SAFETY: this is the loop's thread.
        let delivered = is_done("deliver", || lines = unsafe { pass_on(&mut Loop::enter(), self) });
        if !delivered {
            is_done("deliver", || {
                let lp = &mut Loop::enter();
                // SAFETY: of what is left in the box nothing but log lines counts.
                unsafe {
                    fail(lp, self);
                    pass_on(lp, self);
                }
            });
        }
        if let Some(connection) = connection {
            // SAFETY: it had a request a moment ago; nginx keeps the record of a connection that has been closed meanwhile.
            unsafe { reentry::run_posted_requests(&mut Loop::enter(), connection) };
        }
        lines
    }
}

/// Hands the mail of the application's thread to nginx, ends the request with the last of it, and tells the thread how
/// things stand. Returns the bytes of log lines.
pub(super) unsafe fn pass_on(lp: &mut Loop, hand_over: &HandOver) -> usize {
    let (request, behind_part) =
        hand_over.output.with(lp, |output| (output.request(), output.backlog() == Backlog::Part));
    let mut end = None;
    let mut passed = false;
    let mail = hand_over.mailbox.take(behind_part);
    let lines = mail.iter().map(Mail::line).sum();
    if lines > 0 {
        hand_over.lines.leave(lines);
    }
    for mail in mail {
        let result = match mail {
            Mail::Log(level, text) => {
                hand_over.log(level, &text);
                continue;
            }
            // The end is known; only log lines matter.
            _ if end.is_some() || hand_over.output.with(lp, |output| output.is_closed()) => continue,
            Mail::Head(head) => hand_over.send_head(lp, &head),
            Mail::Block(block, flush) => hand_over.send(lp, Chunk::Owned(block), flush),
            Mail::Joined(block) => hand_over.send(lp, Chunk::Owned(block.freeze()), Flush::Now),
            Mail::File(part, flush) => hand_over.send(lp, Chunk::File(part), flush),
            Mail::Flush => hand_over.flush(lp),
            Mail::Finish => hand_over.finish(lp).inspect(|()| end = Some(End::Complete)),
            Mail::Failed(fault) => {
                end = Some(End::Fault(fault));
                continue;
            }
        };
        passed = true;
        if let Err(error) = result {
            end = Some(End::Fault(Fault::Host(error)));
        } else if hand_over.output.with(lp, |output| output.is_given_away()) {
            end = Some(End::Complete);
        }
    }
    if hand_over.output.with(lp, |output| output.is_closed()) {
        return lines;
    }
    // SAFETY: the request is not over; `finish` comes last.
    unsafe {
        if passed && end.is_none() && hand_over.output.with(lp, |output| output.is_blocked()) {
            wait_for_client(lp, request);
        }
        report(lp, hand_over);
        if let Some(end) = end {
            finish(lp, request, hand_over, end);
        }
    }
    lines
}

/// Tells the application's thread how things stand with the client.
fn report(lp: &Loop, hand_over: &HandOver) {
    let (backlog, head_sent, interest) =
        hand_over.output.with(lp, |output| (output.backlog(), output.head_sent(), output.interest()));
    match interest {
        Err(_) => hand_over.mailbox.close(Gone::Closed),
        Ok(interest) if head_sent => {
            let again = hand_over.mailbox.progress(backlog, interest);
            hand_over.announce(again);
        }
        Ok(_) => {}
    }
}
