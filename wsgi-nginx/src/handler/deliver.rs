//! Forwards parts and log lines from the application's thread to nginx.

use std::sync::Arc;
use std::task::Waker;

use wsgi_core::error::HostError;
use wsgi_core::host::{BodyInterest, Chunk, ErrorLog, Flush};
use wsgi_core::relay::{Batch, Closed, Demand, Part, Relay};

use super::end::{End, fail, finish};
use super::resume::wait_for_client;
use crate::chain::Backlog;
use crate::event::Deliver;
use crate::guard::is_done;
use crate::handover::HandOver;
use crate::loop_cell::Loop;
use crate::reentry;

impl Deliver for HandOver {
    /// Forwards everything that is waiting. A panic ends this request only.
    fn deliver(self: Arc<Self>) -> usize {
        let connection = self.connection(&mut Loop::enter());
        let mut lines = 0;
        if !is_done("deliver", || lines = forward(&mut Loop::enter(), &self)) {
            is_done("deliver", || {
                let lp = &mut Loop::enter();
                fail(lp, &self);
                // The relay is closed, so this only writes the remaining log lines.
                forward(lp, &self);
            });
        }
        if let Some(connection) = connection {
            // SAFETY: the connection had a request before the call. nginx does not free the record of a connection that
            // it closes.
            unsafe { reentry::run_posted_requests(&mut Loop::enter(), connection) };
        }
        lines
    }
}

/// Writes the log lines of the application's threads. Returns their bytes.
fn write_lines(hand_over: &HandOver) -> usize {
    let (lines, bytes) = hand_over.lines.take();
    lines.into_iter().for_each(|(level, text)| hand_over.log(level, &text));
    bytes
}

/// Writes the log lines of the application's threads, and forwards the parts that they have sent to nginx. Ends the
/// request after the last part; otherwise reports to the thread how far the client is. Returns the bytes of the lines.
pub(super) fn forward(lp: &mut Loop, hand_over: &Arc<HandOver>) -> usize {
    // The last part ends the request, whose context lines are logged with. So lines are written before it. They are taken after
    // it: all lines that the application has logged before are there.
    let parts = take_parts(lp, hand_over);
    let lines = write_lines(hand_over);
    if let Some(parts) = parts {
        forward_parts(lp, hand_over, parts);
    }
    lines
}

/// Takes the parts of the response. While the output waits for another part of the page, blocks stay in the relay, where
/// they are joined and written to a file, until the response is complete.
fn take_parts(lp: &Loop, hand_over: &HandOver) -> Option<Batch> {
    let behind_part = hand_over.output.with(lp, |output| output.backlog() == Backlog::Part);
    let take = |relay: &Relay| if behind_part { relay.take_complete() } else { relay.take_all() };
    hand_over.relay.with(lp, |relay| relay.as_ref().map(take))
}

/// Forwards parts of the response to nginx. Blocks that have waited together leave together: the application goes on
/// meanwhile in its thread, as PEP 3333 allows ("Buffering and Streaming"). A block that has waited alone leaves alone.
fn forward_parts(lp: &mut Loop, hand_over: &Arc<HandOver>, parts: Batch) {
    if let Some(req) = hand_over.request(lp) {
        req.name_in_log();
    }
    let mut end = None;
    let (mut passed, mut is_last, mut is_due) = (false, false, false);
    for part in parts {
        if end.is_some() || hand_over.output.with(lp, |output| output.is_closed()) {
            break;
        }
        is_last = matches!(part, Part::End | Part::Failed(_));
        end = forward_one(lp, hand_over, part, &mut is_due);
        passed = true;
    }
    if hand_over.output.with(lp, |output| output.is_closed()) {
        return;
    }
    if is_due && end.is_none() {
        let result = hand_over.flush(lp);
        end = end_of(lp, hand_over, result);
    }
    if passed
        && end.is_none()
        && hand_over.output.with(lp, |output| output.is_blocked())
        && let Some(req) = hand_over.request(lp)
    {
        wait_for_client(req);
    }
    if !is_last {
        report_progress(lp, hand_over);
    }
    if let Some(end) = end {
        finish(lp, hand_over, end);
    }
}

/// Passes one part to nginx. Sets `is_due` if it must be sent, with everything before it, before the loop goes on. Returns
/// the end of the exchange, if this was its last part or it failed.
fn forward_one(lp: &mut Loop, hand_over: &HandOver, part: Part, is_due: &mut bool) -> Option<End> {
    let result = match part {
        Part::Failed(status) => {
            // The client gets the blocks before the failure.
            if std::mem::take(is_due) {
                let _ = hand_over.flush(lp);
            }
            return Some(End::Failed(status));
        }
        Part::Head(head) => hand_over.send_head(lp, &head),
        Part::Block { data, flush } => {
            *is_due |= flush;
            hand_over.send(lp, Chunk::Owned(data), Flush::Later)
        }
        Part::File { part, flush } => {
            *is_due |= flush;
            hand_over.send(lp, Chunk::File(part), Flush::Later)
        }
        Part::ApplicationFile { part, flush } => {
            *is_due |= flush;
            hand_over.send(lp, Chunk::ApplicationFile(part), Flush::Later)
        }
        Part::Flush => {
            *is_due = true;
            Ok(())
        }
        Part::End => match hand_over.finish(lp) {
            Ok(()) => return Some(End::Complete),
            failed => failed,
        },
        _ => Ok(()),
    };
    end_of(lp, hand_over, result)
}

/// Returns the end of the exchange, if a part has failed or another handler answers.
fn end_of(lp: &Loop, hand_over: &HandOver, result: Result<(), HostError>) -> Option<End> {
    match result {
        Err(error) => Some(error.into()),
        Ok(()) => hand_over.output.with(lp, |output| output.is_given_away()).then_some(End::Complete),
    }
}

/// Reports to the application's thread how much the client has accepted, and makes the loop forward parts that come
/// later.
fn report_progress(lp: &Loop, hand_over: &Arc<HandOver>) {
    let (demand, head_sent) = hand_over.output.with(lp, |output| {
        let demand = output.interest().map(|interest| match (interest, output.backlog()) {
            (BodyInterest::Unwanted, _) => Demand::Unwanted,
            (BodyInterest::Wanted, Backlog::None) => Demand::Open,
            (BodyInterest::Wanted, Backlog::Client) => Demand::Full,
            (BodyInterest::Wanted, Backlog::Part) => Demand::Spool,
        });
        (demand, output.head_sent())
    });
    match demand {
        Err(HostError::TimedOut) => hand_over.close_relay(lp, Closed::TimedOut),
        Err(_) => hand_over.close_relay(lp, Closed::Gone),
        // The demand is unknown before the head was sent.
        Ok(demand) => {
            let (demand, waker) = (head_sent.then_some(demand), Waker::from(Arc::clone(hand_over)));
            hand_over.relay.with(lp, |relay| relay.as_ref().map(|relay| relay.report(demand, waker)));
        }
    }
}
