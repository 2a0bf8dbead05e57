//! A request from nginx's content phase to its end, in both execution modes.
//!
//! nginx reads the body, [`begin`] starts the exchange. Inline the application runs right there, and again from `resume` when
//! the client has taken what there was. With threads `deliver` forwards what the application's thread has sent. `end::finish`
//! ends the request; nginx calls `request_over` when the request is destroyed, whoever ended it.
//!
//! Every call of nginx's filters or of Python can come back into these files for the same request: no cell is borrowed then,
//! and no [`Req`] is left, since the request may be over afterwards.

mod deliver;
mod end;
mod inline;
mod resume;

use std::sync::Arc;
use std::task::Waker;

use wsgi_core::host::{ErrorLog, HostParts, Level};
use wsgi_core::python::{Location, Refused};
use wsgi_core::relay::{Closed, ROOM, Relay, RelaySink, relay};

use end::guard_request;
use inline::{advance_inline, after_turn};

use crate::bindings::{ngx_http_test_reading, ngx_int_t, ngx_str_t};
use crate::chain::Output;
use crate::conf::{self, LocationConf};
use crate::guard::guard;
use crate::handover::{HandOver, Run};
use crate::inline_sink::InlineSink;
use crate::ngx::{self, Request};
use crate::req::Req;
use crate::request::{View, variables};
use crate::thread_sink::ThreadSink;
use crate::worker::{self, Worker};
use crate::{body, head, log_room};

/// Answers a request of a location with `wsgi_pass`.
pub(crate) unsafe extern "C" fn content_handler(request: *mut Request) -> ngx_int_t {
    guard("content_handler", ngx::INTERNAL_SERVER_ERROR, || {
        if worker::running().is_none() {
            // The reason is in the log since the worker's start.
            return ngx::INTERNAL_SERVER_ERROR;
        }
        // SAFETY: nginx calls content handlers with a live request.
        unsafe { Req::enter(request, handle) }
    })
}

/// Has nginx read the body. An answer of nginx's own, such as 413, is returned; otherwise [`begin`] ends the request.
fn handle(mut req: Req<'_>) -> ngx_int_t {
    if has_no_body(&req) {
        // As nginx does where it has nothing to read, without the bookkeeping.
        req.add_count();
        let request = req.as_ptr();
        // SAFETY: alive, and the `Req` is not used from here on.
        unsafe { body_arrived(request) };
        return ngx::DONE;
    }
    let code = req.read_body(Some(body_arrived));
    if code >= ngx::SPECIAL_RESPONSE { code } else { ngx::DONE }
}

/// Whether the head says that no body follows. In later versions of HTTP only the end of the stream does.
fn has_no_body(request: &Request) -> bool {
    let headers = &request.headers_in;
    headers.content_length_n <= 0 && headers.chunked() == 0 && !request.is_multiplexed()
}

/// Called by nginx when the request body has arrived.
unsafe extern "C" fn body_arrived(request: *mut Request) {
    // SAFETY: nginx calls back with the live request whose body it has read.
    guard_request("body_arrived", request, || unsafe { Req::enter(request, begin) });
}

/// Everything that an exchange begins with.
struct Start {
    worker: &'static Worker,
    location: &'static Arc<Location>,
    conf: &'static LocationConf,
    hand_over: Arc<HandOver>,
    variables: Vec<(&'static str, ngx_str_t)>,
    body: body::Source,
}

/// Starts the exchange of a request whose body has been read.
fn begin(mut req: Req<'_>) {
    match prepare(&mut req) {
        Ok(Some(start)) if start.worker.inline => begin_inline(req, start),
        Ok(Some(start)) => {
            if let Err(refused) = dispatch(&mut req, start) {
                refuse(req, refused);
            }
        }
        Ok(None) => {}
        Err(status) => req.finalize(status),
    }
}

/// Makes the record of the request. `None`: it has to wait for its place among the requests of its connection, and comes here
/// once more.
#[inline(always)]
fn prepare(req: &mut Req<'_>) -> Result<Option<Start>, ngx::Status> {
    let conf = conf::of(req);
    let (Some(worker), Some(location)) = (worker::running(), &conf.location) else {
        return Err(ngx::INTERNAL_SERVER_ERROR);
    };
    let hand_over = match context(req) {
        Some(hand_over) if hand_over.is_waiting(req.lp()) => hand_over,
        _ => {
            let (sink, relay) = if worker.inline { (None, None) } else { relayed(req) };
            let hand_over = HandOver::new(Output::new(req), relay);
            if let Some(sink) = sink {
                hand_over.run.with(req.lp(), |run| *run = Run::Waiting(sink));
            }
            if !register(req, &hand_over) {
                return Err(ngx::INTERNAL_SERVER_ERROR);
            }
            if !worker.inline && !hand_over.enter(req) {
                watch(req);
                return Ok(None);
            }
            hand_over
        }
    };
    let variables = variables(req, conf).ok_or(ngx::INTERNAL_SERVER_ERROR)?;
    // SAFETY: inline, the exchange ends with the request at the latest.
    let body = unsafe { body::source(req, worker.inline) }.map_err(|error| {
        req.log(Level::Crit, &format!("cannot read the request body: {error}"));
        ngx::INTERNAL_SERVER_ERROR
    })?;
    req.debug(format_args!("wsgi begin, inline: {}", worker.inline));
    Ok(Some(Start { worker, location, conf, hand_over, variables, body }))
}

/// Both ends of the relay for a thread that answers.
#[inline]
fn relayed(request: &Request) -> (Option<RelaySink>, Option<Relay>) {
    let (sink, relay) = relay(ROOM);
    if is_conditional(request) {
        relay.ask_after_head();
    }
    (Some(sink), Some(relay))
}

/// Runs the application on this thread, as far as the client takes its response.
#[inline(always)]
fn begin_inline(req: Req<'_>, start: Start) {
    let Start { worker, location, conf, hand_over, variables, body } = start;
    let ignored = conf.settings.ignored_headers.unwrap_or_default();
    let lp = req.leave();
    let result = {
        let _away = log_room::Away::new();
        let _attached = worker.gateway.attach(location);
        let Some(mut req) = hand_over.request(lp) else { return };
        let sink = InlineSink::new(Arc::clone(&hand_over), ignored);
        let parts = HostParts::new(sink, Arc::<HandOver>::clone(&hand_over)).body(body.body);
        let view = View::new(&mut req, conf.mount(), &variables, body.length);
        let exchange = worker.gateway.begin(location, &view, parts);
        advance_inline(req.leave(), &hand_over, exchange)
    };
    after_turn(lp, &hand_over, result);
}

/// Has a thread of the pool answer.
fn dispatch(req: &mut Req<'_>, start: Start) -> Result<(), Refused> {
    let Start { worker, location, conf, hand_over, variables, body } = start;
    let run = hand_over.run.with(req.lp(), |run| std::mem::replace(run, Run::Over));
    let (Run::Waiting(sink), Some(relay)) = (run, &hand_over.relay) else { return Ok(()) };
    let log: Arc<dyn ErrorLog> = Arc::<HandOver>::clone(&hand_over);
    // The relay holds the record by this waker, and the record the relay: `HandOver::close` ends that.
    relay.report(None, Waker::from(Arc::clone(&hand_over)));
    let parts = HostParts::new(ThreadSink::new(sink, Arc::clone(location)), log).body(body.body);
    let view = View::new(req, conf.mount(), &variables, body.length);
    let handle = worker.gateway.dispatch(location, &view, parts).inspect_err(|_| {
        // The answer is nginx's, and that of the dropped sink comes too late.
        relay.close(Closed::Gone);
    })?;
    hand_over.run.with(req.lp(), |run| *run = Run::Threads(handle));
    watch(req);
    Ok(())
}

/// Has nginx call back when the client leaves, and when it takes more.
fn watch(req: &mut Req<'_>) {
    req.read_event_handler = Some(ngx_http_test_reading);
    req.write_event_handler = Some(resume::write_event);
    let read = req.connection_mut().read_event();
    if read.pending_eof() != 0 {
        // It has left before, and there is no further event.
        read.post_next();
    }
}

/// Too much to do: the client may come back in a second. Python has no part in this.
fn refuse(mut req: Req<'_>, refused: Refused) {
    req.log(Level::Error, &format!("request refused: {refused}"));
    let is_added = head::add_plain(&mut req, b"Retry-After", b"1");
    req.finalize(if is_added { ngx::SERVICE_UNAVAILABLE } else { ngx::INTERNAL_SERVER_ERROR });
}

/// Whether nginx may answer with 304 or 412 when the head passes its filters, so that no body is wanted.
fn is_conditional(request: &Request) -> bool {
    let headers = &request.headers_in;
    [headers.if_modified_since, headers.if_unmodified_since, headers.if_match, headers.if_none_match]
        .iter()
        .any(|header| !header.is_null())
}

/// Makes the record the context of its request, and has nginx call back when the request is over; false without memory.
fn register(req: &mut Req<'_>, hand_over: &Arc<HandOver>) -> bool {
    // `end::take_context` takes this count back.
    let context = Arc::into_raw(Arc::clone(hand_over)).cast_mut().cast();
    if !req.on_end(Some(end::request_over), context) {
        // SAFETY: the count that was taken above, which nothing else has.
        drop(unsafe { Arc::from_raw(context.cast::<HandOver>()) });
        return false;
    }
    conf::set_context(req, context);
    hand_over.count(req.lp());
    true
}

/// The record of a request that is under way here.
fn context(request: &Request) -> Option<Arc<HandOver>> {
    let context: *const HandOver = conf::context(request).cast_const().cast();
    if context.is_null() {
        return None;
    }
    // SAFETY: the context is a pointer with a count of its own until the request is over: `register` has made it.
    unsafe {
        Arc::increment_strong_count(context);
        Some(Arc::from_raw(context))
    }
}
