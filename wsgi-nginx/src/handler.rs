//! A request from nginx's content phase to its end, in both execution modes.
//!
//! nginx reads the body, `begin` starts the exchange. Inline the application runs right there, and again from
//! `resume` when the client has taken what there was. With threads `deliver` passes on what the application's thread
//! has mailed. `finish` ends the request; `over` is nginx's word that it is gone, whoever ended it.
//!
//! Every call of nginx's filters or of Python can come back into this file for the same request: no cell is borrowed then
//! (see [`Loop`]), and the request may be over afterwards.

mod deliver;
mod end;
mod inline;
mod resume;

use std::sync::Arc;

use wsgi_core::host::{BodyInterest, ErrorLog, HostParts, Level};
use wsgi_core::python::Refused;
use wsgi_core::snapshot::RequestSnapshot;

use end::{finalize, guard_request};
use inline::{turn, went};

use crate::bindings::{ngx_http_cleanup_add, ngx_http_test_reading, ngx_int_t, ngx_post_event, ngx_posted_next_events};
use crate::chain::Output;
use crate::conf;
use crate::guard::guard;
use crate::handover::{HandOver, Run};
use crate::inline_sink::InlineSink;
use crate::loop_cell::Loop;
use crate::mailbox::Mail;
use crate::ngx::{self, Request, multiplexed};
use crate::request::{View, variables};
use crate::thread_sink::ThreadSink;
use crate::{body, head, log, log_room, reentry, worker};

/// Answers a request of a location with `wsgi_pass`.
pub(crate) unsafe extern "C" fn content_handler(request: *mut Request) -> ngx_int_t {
    // SAFETY: nginx calls content handlers with a live request.
    guard("content_handler", ngx::INTERNAL_SERVER_ERROR, || unsafe { handle(request) })
}

/// The content handler.
///
/// # Safety
///
/// nginx calls this with a live request.
unsafe fn handle(request: *mut Request) -> ngx_int_t {
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
            body_arrived(request);
            return ngx::DONE;
        }
        let code = reentry::read_request_body(lp, request, Some(body_arrived));
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

/// Goes on when the request body has arrived.
unsafe extern "C" fn body_arrived(request: *mut Request) {
    // SAFETY: nginx calls back with the request whose body it has read.
    guard_request("body_arrived", request, || unsafe { begin(request) });
}

/// Starts the exchange.
///
/// # Safety
///
/// nginx calls this with a live request whose body has been read.
pub(super) unsafe fn begin(request: *mut Request) {
    let lp = &mut Loop::enter();
    // SAFETY: the caller's promise holds to the end of this function, or until the request is finished in it.
    unsafe {
        let conf = conf::of(request);
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
        (*request).write_event_handler = Some(resume::write_event);
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
        (*cleanup).handler = Some(end::request_over);
        *conf::context_of(request) = context;
        hand_over.count(lp);
        true
    }
}

/// The two sides of a request that is under way here.
unsafe fn context(request: *const Request) -> Option<Arc<HandOver>> {
    // SAFETY: a live request; its context is null or a pointer with a count of its own, until `over`.
    unsafe {
        let context: *const HandOver = (*conf::context_of(request)).cast_const().cast();
        if context.is_null() {
            return None;
        }
        Arc::increment_strong_count(context);
        Some(Arc::from_raw(context))
    }
}
