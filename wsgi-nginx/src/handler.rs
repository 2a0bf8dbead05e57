//! A request from nginx's content phase to its end, in both execution modes.
//!
//! nginx reads the body, `begin` starts the exchange. Inline the application runs right there, and again from
//! `resume` when the client has taken what there was. With threads `deliver` passes on what the application's thread
//! has mailed. `finish` ends the request; `over` is nginx's word that it is gone, whoever ended it.
//!
//! Every call of nginx's filters or of Python can come back into this file for the same request: no cell is borrowed then
//! (see [`Loop`]), and the request may be over afterwards.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use wsgi_core::error::{Fault, HostError};
use wsgi_core::host::{BodyInterest, Chunk, ErrorLog, Flush, HostParts, Level};
use wsgi_core::python::{Exchange, Refused};
use wsgi_core::snapshot::RequestSnapshot;

use crate::bindings::{
    ngx_add_timer, ngx_del_timer, ngx_event_t, ngx_handle_write_event, ngx_http_cleanup_add, ngx_http_post_request,
    ngx_http_test_reading, ngx_int_t, ngx_post_event, ngx_posted_next_events,
};
use crate::chain::{Ended, Output};
use crate::conf::LocationConf;
use crate::entry::{self, MODULE};
use crate::handover::{HandOver, Run};
use crate::inline_sink::InlineSink;
use crate::loop_cell::Loop;
use crate::mailbox::{Backlog, Gone, Mail};
use crate::ngx::{self, Request, multiplexed};
use crate::request::{View, variables};
use crate::thread_sink::ThreadSink;
use crate::{body, head, log, log_room, reentry, worker};

/// How an exchange came to its end.
enum End {
    Complete,
    Fault(Fault),
}

/// The content handler.
///
/// # Safety
///
/// nginx calls this with a live request.
pub(crate) unsafe fn handle(request: *mut Request) -> ngx_int_t {
    if worker::running().is_none() {
        // Why is in the log since the worker's start.
        return ngx::INTERNAL_SERVER_ERROR;
    }
    let lp = &mut Loop::enter();
    // SAFETY: the caller's promise. An answer of nginx's own, such as 413, is returned; else `begin` ends the request.
    unsafe {
        if has_no_body(request) {
            // As nginx does where it has nothing to read, without the bookkeeping.
            let main = (*request).main;
            (*main).set_count((*main).count() + 1);
            entry::body_arrived(request);
            return ngx::DONE;
        }
        let code = reentry::read_request_body(lp, request, Some(entry::body_arrived));
        if code >= ngx::SPECIAL_RESPONSE { code } else { ngx::DONE }
    }
}

/// Whether the head says that no body follows. In later versions of HTTP only the end of the stream does.
unsafe fn has_no_body(request: *const Request) -> bool {
    // SAFETY: a live request.
    unsafe {
        let headers = &(*request).headers_in;
        headers.content_length_n <= 0 && headers.chunked() == 0 && !multiplexed(request)
    }
}

/// Starts the exchange.
///
/// # Safety
///
/// nginx calls this with a live request whose body has been read.
pub(crate) unsafe fn begin(request: *mut Request) {
    let lp = &mut Loop::enter();
    // SAFETY: the caller's promise holds to the end of this function, or until the request is finished in it.
    unsafe {
        let conf: &LocationConf = ngx::location_conf(request, &raw const MODULE);
        let (Some(worker), Some(location)) = (worker::running(), &conf.location) else {
            return finalize(lp, request, ngx::INTERNAL_SERVER_ERROR);
        };
        // A request that shares its connection comes here twice if it has to wait for its place.
        let hand_over = match context(request) {
            Some(hand_over) if hand_over.run.with(lp, |run| matches!(run, Run::Waiting)) => hand_over,
            _ => {
                let hand_over = HandOver::new(Output::new(request), interest(request));
                if !register(lp, request, &hand_over) {
                    return finalize(lp, request, ngx::INTERNAL_SERVER_ERROR);
                }
                if !worker.inline && !hand_over.enter(lp, request) {
                    hand_over.run.with(lp, |run| *run = Run::Waiting);
                    return watch(request);
                }
                hand_over
            }
        };
        let Some(variables) = variables(request, conf) else {
            return finalize(lp, request, ngx::INTERNAL_SERVER_ERROR);
        };
        let source = match body::source(request, worker.inline) {
            Ok(source) => source,
            Err(error) => {
                log::write(
                    (*(*request).connection).log,
                    Level::Crit,
                    &format!("cannot read the request body: {error}"),
                );
                return finalize(lp, request, ngx::INTERNAL_SERVER_ERROR);
            }
        };
        let view = View::new(request, conf.mount(), &variables, source.length);
        log::debug((*(*request).connection).log, format_args!("wsgi begin, inline: {}", worker.inline));
        let log: Arc<dyn ErrorLog> = Arc::<HandOver>::clone(&hand_over);
        if worker.inline {
            let sink =
                Box::new(InlineSink::new(Arc::clone(&hand_over), conf.settings.ignored_headers.unwrap_or_default()));
            let parts = HostParts { body: source.body, sink, log };
            let result = {
                let _away = log_room::Away::new();
                let _attached = worker.gateway.attach(location);
                let exchange = worker.gateway.begin(location, &view, parts);
                turn(lp, &hand_over, exchange)
            };
            went(lp, request, &hand_over, result);
            return;
        }
        let sink = Box::new(ThreadSink::new(Arc::clone(&hand_over), Arc::clone(location)));
        let parts = HostParts { body: source.body, sink, log };
        let told = Arc::clone(&hand_over);
        let done = Box::new(move |result| {
            if let Err(fault) = result {
                // Refused when the request is over: then there is nothing to answer.
                let _ = told.post(Mail::Failed(fault), true);
            }
        });
        match worker.gateway.dispatch(location, RequestSnapshot::new(&view), parts, done) {
            Ok(handle) => {
                hand_over.run.with(lp, |run| *run = Run::Threads(handle));
                watch(request);
            }
            Err(refused) => overloaded(lp, request, refused),
        }
    }
}

/// Has nginx tell when the client leaves, and when it takes more.
unsafe fn watch(request: *mut Request) {
    // SAFETY: a live request.
    unsafe {
        (*request).read_event_handler = Some(ngx_http_test_reading);
        (*request).write_event_handler = Some(entry::write_event);
        let read = (*(*request).connection).read;
        if (*read).pending_eof() != 0 {
            // It has left before anybody asked, and there is no further event.
            ngx_post_event(read, &raw mut ngx_posted_next_events);
        }
    }
}

/// Too much to do: the client may come back in a second. Python has no part in this.
unsafe fn overloaded(lp: &mut Loop, request: *mut Request, refused: Refused) {
    // SAFETY: a live request.
    unsafe {
        log::write((*(*request).connection).log, Level::Error, &format!("request refused: {refused}"));
        let code = if head::add_plain(request, b"Retry-After", b"1") {
            ngx::SERVICE_UNAVAILABLE
        } else {
            ngx::INTERNAL_SERVER_ERROR
        };
        finalize(lp, request, code);
    }
}

/// What can be said of the body before the head has passed nginx's filters: it is wanted, unless the request has
/// conditions that nginx may answer with 304 or 412.
unsafe fn interest(request: *const Request) -> Option<BodyInterest> {
    // SAFETY: a live request.
    let headers = unsafe { &(*request).headers_in };
    let conditional = [headers.if_modified_since, headers.if_unmodified_since, headers.if_match, headers.if_none_match]
        .iter()
        .any(|header| !header.is_null());
    (!conditional).then_some(BodyInterest::Wanted)
}

/// Makes the two sides of the request its context, and has nginx tell when it is over; false without memory.
unsafe fn register(lp: &Loop, request: *mut Request, hand_over: &Arc<HandOver>) -> bool {
    // SAFETY: a live request; the count that goes into the pointer comes back in `over`.
    unsafe {
        let cleanup = ngx_http_cleanup_add(request, 0);
        if cleanup.is_null() {
            return false;
        }
        let context = Arc::into_raw(Arc::clone(hand_over)).cast_mut().cast();
        (*cleanup).data = context;
        (*cleanup).handler = Some(entry::request_over);
        *(*request).ctx.add(MODULE.ctx_index) = context;
        hand_over.count(lp);
        true
    }
}

/// The two sides of a request that is under way here.
unsafe fn context(request: *const Request) -> Option<Arc<HandOver>> {
    // SAFETY: a live request; its context is null or a pointer with a count of its own, until `over`.
    unsafe {
        let context: *const HandOver = (*(*request).ctx.add(MODULE.ctx_index)).cast_const().cast();
        if context.is_null() {
            return None;
        }
        Arc::increment_strong_count(context);
        Some(Arc::from_raw(context))
    }
}

/// Lets an inline exchange run, attached to Python. It is put back if it is to go on, unless `over` has come meanwhile.
fn turn(lp: &mut Loop, hand_over: &HandOver, mut exchange: Exchange) -> Poll<End> {
    hand_over.run.with(lp, |run| *run = Run::InlineNow);
    let mut cx = Context::from_waker(Waker::noop());
    match exchange.advance(&mut cx) {
        Poll::Pending => {
            // An exchange that is not put back is dropped where nothing is borrowed: it calls Python.
            let _over = hand_over.run.with(lp, |run| match run {
                Run::InlineNow => std::mem::replace(run, Run::Inline(exchange)),
                _ => Run::Inline(exchange),
            });
            Poll::Pending
        }
        Poll::Ready(Ok(_)) => Poll::Ready(End::Complete),
        Poll::Ready(Err(fault)) => Poll::Ready(End::Fault(fault)),
    }
}

/// After a turn: ends the request, or waits for what the exchange waits for.
unsafe fn went(lp: &mut Loop, request: *mut Request, hand_over: &HandOver, result: Poll<End>) {
    if let Poll::Ready(end) = result {
        // SAFETY: the request is alive, unless it is over, which `finish` looks at first.
        return unsafe { finish(lp, request, hand_over, end) };
    }
    let (over, blocked) = hand_over.output.with(lp, |output| (output.request().is_null(), output.is_blocked()));
    if over {
        return;
    }
    // SAFETY: the request is not over.
    unsafe {
        watch(request);
        if blocked {
            wait_for_client(lp, request);
        } else if request.cast::<c_void>() == (*(*request).connection).data {
            // The exchange gives way after many blocks: others first.
            ngx_post_event((*(*request).connection).write, &raw mut ngx_posted_next_events);
        } else {
            ngx_http_post_request(request, ptr::null_mut());
        }
    }
}

/// The client takes more, has taken nothing for too long, or another module has posted the request.
///
/// # Safety
///
/// nginx calls this with a live request.
pub(crate) unsafe fn resume(request: *mut Request) {
    let lp = &mut Loop::enter();
    // SAFETY: the caller's promise.
    unsafe {
        let Some(hand_over) = context(request) else { return };
        let connection = (*request).connection;
        let event = (*connection).write;
        if (*event).timedout() != 0 {
            log::write((*connection).log, Level::Info, "client timed out");
            (*connection).set_timedout(1);
            hand_over.close(lp, Gone::TimedOut);
            return finalize(lp, request, ngx::REQUEST_TIME_OUT);
        }
        if hand_over.output.with(lp, |output| output.is_blocked()) {
            if (*event).delayed() == 0 && hand_over.retry(lp).is_err() {
                // Unless it is over: then there is nothing to finalize.
                return finish(lp, request, &hand_over, End::Fault(Fault::Host(HostError::ClientGone)));
            }
            if hand_over.output.with(lp, |output| output.is_blocked()) {
                return wait_for_client(lp, request);
            }
        }
        if (*event).timer_set() != 0 && (*event).delayed() == 0 {
            ngx_del_timer(event);
        }
        let run = hand_over.run.with(lp, |run| match run {
            Run::Inline(_) => Some(std::mem::replace(run, Run::InlineNow)),
            Run::Waiting => Some(Run::Waiting),
            Run::Threads(_) => None,
            Run::InlineNow | Run::Over => Some(Run::Over),
        });
        match run {
            // Blocks that were kept while the response waited for another part of its page follow.
            None => _ = pass_on(lp, &hand_over),
            Some(Run::Inline(exchange)) => {
                let result = {
                    let _away = log_room::Away::new();
                    let _attached = exchange.attach();
                    turn(lp, &hand_over, exchange)
                };
                went(lp, request, &hand_over, result);
            }
            Some(Run::Waiting) if hand_over.is_placed() => begin(request),
            Some(_) => {}
        }
    }
}

/// Passes on what the application's thread has mailed, and returns the bytes of log lines among it. A panic ends this request,
/// and no other.
///
/// # Safety
///
/// This is the loop's thread.
pub(crate) unsafe fn deliver(hand_over: &HandOver) -> usize {
    let connection = hand_over.connection(&Loop::enter());
    let mut lines = 0;
    // SAFETY: the caller's promise.
    let delivered = entry::is_done("deliver", || lines = unsafe { pass_on(&mut Loop::enter(), hand_over) });
    if !delivered {
        entry::is_done("deliver", || {
            let lp = &mut Loop::enter();
            // SAFETY: of what is left in the box nothing but log lines counts.
            unsafe {
                fail(lp, hand_over);
                pass_on(lp, hand_over);
            }
        });
    }
    if let Some(connection) = connection {
        // SAFETY: it had a request a moment ago; nginx keeps the record of a connection that has been closed meanwhile.
        unsafe { reentry::run_posted_requests(&mut Loop::enter(), connection) };
    }
    lines
}

/// Hands the mail of the application's thread to nginx, ends the request with the last of it, and tells the thread how
/// things stand. Returns the bytes of log lines.
unsafe fn pass_on(lp: &mut Loop, hand_over: &HandOver) -> usize {
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

/// Arms the write event and `send_timeout`, as `ngx_http_writer` does.
unsafe fn wait_for_client(lp: &mut Loop, request: *mut Request) {
    // SAFETY: a live request.
    unsafe {
        let event: *mut ngx_event_t = (*(*request).connection).write;
        let core = ngx::core_location(request);
        if (*event).delayed() == 0 {
            ngx_add_timer(event, core.send_timeout);
        }
        if ngx_handle_write_event(event, core.send_lowat) != ngx::OK {
            finalize(lp, request, ngx::ERROR);
        }
    }
}

/// Ends the request, with an answer of nginx's own where none has been sent.
unsafe fn finish(lp: &mut Loop, request: *mut Request, hand_over: &HandOver, end: End) {
    let Some(Ended { head_sent, code, redirected, refused }) = hand_over.output.with(lp, Output::end) else { return };
    hand_over.leave(lp);
    // SAFETY: a live request; it may be gone after `finalize`, which comes last.
    unsafe {
        match end {
            // Another handler answers: our count is given back, and nothing else is ours to decide.
            _ if redirected => finalize(lp, request, ngx::DONE),
            _ if refused => finalize(lp, request, code),
            End::Complete => finalize(lp, request, code),
            End::Fault(fault) if !head_sent => match fault.status_hint() {
                Some(status) => finalize(lp, request, ngx_int_t::from(status.as_u16() as i16)),
                None => finalize(lp, request, ngx::CLIENT_CLOSED_REQUEST),
            },
            End::Fault(_) => cut(lp, request),
        }
    }
}

/// Ends a response whose head is out so that the client can tell that it is not complete.
unsafe fn cut(lp: &mut Loop, request: *mut Request) {
    // SAFETY: a live request.
    unsafe {
        let by_close = (*request).chunked() == 0 && (*request).headers_out.content_length_n == -1;
        if by_close && !multiplexed(request) && (*request).header_only() == 0 {
            // The end of the connection would be the end of the body: a reset is none.
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            libc::setsockopt(
                (*(*request).connection).fd,
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            );
        }
        (*request).set_keepalive(0);
        finalize(lp, request, ngx::ERROR);
    }
}

/// A defect of our own: the request must not hang, and what its application still sends must not follow.
///
/// # Safety
///
/// `request` is alive.
pub(crate) unsafe fn fail_request(request: *mut Request) {
    let lp = &mut Loop::enter();
    // SAFETY: the caller's promise.
    unsafe {
        match context(request) {
            Some(hand_over) => fail(lp, &hand_over),
            None => answer_defect(lp, request),
        }
    }
}

/// As [`fail_request`], for a request that has its exchange.
unsafe fn fail(lp: &mut Loop, hand_over: &HandOver) {
    hand_over.mailbox.close(Gone::Closed);
    let request = hand_over.output.with(lp, |output| output.request());
    let Some(Ended { redirected, .. }) = hand_over.output.with(lp, Output::end) else { return };
    // SAFETY: `end` gives the request away while it is alive, and once.
    unsafe { if redirected { finalize(lp, request, ngx::DONE) } else { answer_defect(lp, request) } }
}

/// Answers with 500, or cuts the response if its head is out.
unsafe fn answer_defect(lp: &mut Loop, request: *mut Request) {
    // SAFETY: a live request.
    unsafe {
        match (*request).header_sent() {
            0 => finalize(lp, request, ngx::INTERNAL_SERVER_ERROR),
            _ => cut(lp, request),
        }
    }
}

/// Hands the request back to nginx. It may be gone afterwards.
unsafe fn finalize(lp: &mut Loop, request: *mut Request, code: ngx_int_t) {
    // SAFETY: a live request, of which the exchange holds a count until here.
    unsafe {
        log::debug((*(*request).connection).log, format_args!("wsgi finalize {code}"));
        reentry::finalize(lp, request, code);
    }
}

/// The two sides of a request that is over, with the count that its context had.
///
/// # Safety
///
/// `data` is the pointer that `register` has made, and this is called once with it.
pub(crate) unsafe fn record(data: *mut c_void) -> Arc<HandOver> {
    // SAFETY: the caller's promise.
    unsafe { Arc::from_raw(data.cast_const().cast()) }
}

/// The request is over: the response is out, the client has left, or nginx gives up. After a panic it may be called again,
/// and does what is left to do.
///
/// # Safety
///
/// nginx says so, of the request of this record; `data` is its context.
pub(crate) unsafe fn over(hand_over: &HandOver, data: *mut c_void) {
    let lp = &mut Loop::enter();
    let request = hand_over.close(lp, Gone::Closed);
    // SAFETY: the caller's promise: a request that is not null is alive for the length of this call.
    unsafe {
        // With the count the pointer in the request's context goes.
        if !request.is_null() && *(*request).ctx.add(MODULE.ctx_index) == data {
            *(*request).ctx.add(MODULE.ctx_index) = ptr::null_mut();
        }
    }
}
