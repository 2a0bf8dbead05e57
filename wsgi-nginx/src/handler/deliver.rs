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
        let connection = self.connection(&mut Loop::enter());
        let mut lines = 0;
        if !is_done("deliver", || lines = forward(&mut Loop::enter(), self)) {
            is_done("deliver", || {
                let lp = &mut Loop::enter();
                fail(lp, self);
                // Of what is left in the box nothing but log lines counts.
                forward(lp, self);
            });
        }
        if let Some(connection) = connection {
            // SAFETY: it had a request a moment ago; nginx keeps the record of a connection that has been closed meanwhile.
            unsafe { reentry::run_posted_requests(&mut Loop::enter(), connection) };
        }
        lines
    }
}

/// Hands the mail of the application's thread to nginx, ends the request with the last of it, and reports to the thread how far
/// the client is. Returns the bytes of log lines.
pub(super) fn forward(lp: &mut Loop, hand_over: &HandOver) -> usize {
    if let Some(req) = hand_over.request(lp) {
        req.name_in_log();
    }
    let behind_part = hand_over.output.with(lp, |output| output.backlog() == Backlog::Part);
    let mail = hand_over.mailbox.take(behind_part);
    let lines = mail.iter().map(Mail::line).sum();
    if lines > 0 {
        hand_over.lines.leave(lines);
    }
    let mut end = None;
    let mut passed = false;
    for mail in mail {
        if let Mail::Log(level, text) = &mail {
            hand_over.log(*level, text);
        } else if end.is_none() && !hand_over.output.with(lp, |output| output.is_closed()) {
            (end, passed) = (forward_one(lp, hand_over, mail), true);
        }
    }
    if hand_over.output.with(lp, |output| output.is_closed()) {
        return lines;
    }
    if passed
        && end.is_none()
        && hand_over.output.with(lp, |output| output.is_blocked())
        && let Some(req) = hand_over.request(lp)
    {
        wait_for_client(req);
    }
    report_progress(lp, hand_over);
    if let Some(end) = end {
        finish(lp, hand_over, end);
    }
    lines
}

/// Hands one item to nginx. Returns how the exchange has ended, if it has.
fn forward_one(lp: &mut Loop, hand_over: &HandOver, mail: Mail) -> Option<End> {
    let result = match mail {
        Mail::Log(..) => return None,
        Mail::Failed(fault) => return Some(End::Fault(fault)),
        Mail::Head(head) => hand_over.send_head(lp, &head),
        Mail::Block(block, flush) => hand_over.send(lp, Chunk::Owned(block), flush),
        Mail::Joined(block) => hand_over.send(lp, Chunk::Owned(block.freeze()), Flush::Now),
        Mail::File(part, flush) => hand_over.send(lp, Chunk::File(part), flush),
        Mail::Flush => hand_over.flush(lp),
        Mail::Finish => match hand_over.finish(lp) {
            Ok(()) => return Some(End::Complete),
            failed => failed,
        },
    };
    match result {
        Err(error) => Some(End::Fault(Fault::Host(error))),
        Ok(()) => hand_over.output.with(lp, |output| output.is_given_away()).then_some(End::Complete),
    }
}

/// Reports to the application's thread how far the client is.
fn report_progress(lp: &Loop, hand_over: &HandOver) {
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
