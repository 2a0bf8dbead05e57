//! Handles a request from nginx's content phase to its end, in both execution modes.
//!
//! nginx reads the body, then [`begin`] starts the exchange. Inline, `begin` runs the application, and `resume`
//! continues it when the client has accepted the output. With threads, `deliver` forwards the parts that the
//! application's thread has sent. `end::finish` ends the request. nginx calls `request_over` when the request is
//! destroyed, for whatever reason.
//!
//! Each call of nginx's filters or of Python can call these functions again for the same request. No cell is borrowed
//! during such a call, and no [`Req`] is used after it, since the request may be destroyed.

mod deliver;
mod end;
mod inline;
mod resume;

use std::sync::Arc;
use std::task::{Poll, Waker};

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
use crate::{body, head, kept_alive, load, log_room, transfer};

/// Called by nginx for each request of a location with `wsgi_pass`.
pub(crate) unsafe extern "C" fn content_handler(request: *mut Request) -> ngx_int_t {
    guard("content_handler", ngx::INTERNAL_SERVER_ERROR, || {
        if worker::running().is_none() {
            // The reason was logged when the worker started.
            return ngx::INTERNAL_SERVER_ERROR;
        }
        // SAFETY: nginx calls content handlers with a live request.
        unsafe { Req::enter(request, handle) }
    })
}

/// Makes nginx read the body. Returns nginx's answer if there is one, such as 413; otherwise [`begin`] ends the
/// request.
fn handle(mut req: Req<'_>) -> ngx_int_t {
    if has_no_body(&req) {
        // nginx does the same if there is nothing to read, with more bookkeeping.
        req.add_count();
        let request = req.as_ptr();
        // SAFETY: the request is alive, and the `Req` is not used from here on.
        unsafe { body_arrived(request) };
        return ngx::DONE;
    }
    let code = req.read_body(Some(body_arrived));
    if code >= ngx::SPECIAL_RESPONSE { code } else { ngx::DONE }
}

/// Whether the head says that no body follows. In HTTP/2 and HTTP/3 only the end of the stream says so.
fn has_no_body(request: &Request) -> bool {
    let headers = &request.headers_in;
    headers.content_length_n <= 0 && headers.chunked() == 0 && !request.is_multiplexed()
}

/// Called by nginx when the request body has arrived.
unsafe extern "C" fn body_arrived(request: *mut Request) {
    // SAFETY: nginx calls this with the live request whose body it has read.
    guard_request("body_arrived", request, || unsafe { Req::enter(request, begin) });
}

/// Everything that an exchange is started with.
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
        Ok(Some(start)) if start.worker.inline => {
            kept_alive::end_if_blocked(&mut req);
            begin_inline(req, start);
        }
        Ok(Some(start)) => {
            if let Err(refused) = dispatch(&mut req, start) {
                refuse(req, refused);
            }
        }
        Ok(None) => {}
        Err(status) => req.finalize(status),
    }
}

/// Creates and registers the [`HandOver`] of the request. Returns `None` if the request has to wait for a place among
/// those of its connection; it is then called again.
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
    // SAFETY: with inline execution the exchange ends before the request is destroyed.
    let body = unsafe { body::source(req, worker.inline) }.map_err(|error| {
        req.log(Level::Crit, &format!("cannot read the request body: {error}"));
        ngx::INTERNAL_SERVER_ERROR
    })?;
    req.debug(format_args!("wsgi begin, inline: {}", worker.inline));
    Ok(Some(Start { worker, location, conf, hand_over, variables, body }))
}

/// Creates the relay for an application that runs on a thread.
#[inline]
fn relayed(request: &Request) -> (Option<RelaySink>, Option<Relay>) {
    let (sink, relay) = relay(ROOM);
    if is_conditional(request) {
        relay.ask_after_head();
    }
    (Some(sink), Some(relay))
}

/// Runs the application on this thread, as far as the client accepts its response.
#[inline(always)]
fn begin_inline(req: Req<'_>, start: Start) {
    let Start { worker, location, conf, hand_over, variables, body } = start;
    let ignored = conf.settings.ignored_headers.unwrap_or_default();
    let lp = req.leave();
    let result = load::inline::run(lp, |lp| {
        let _away = log_room::Away::new();
        let _attached = worker.gateway.attach(location);
        let Some(mut req) = hand_over.request(lp) else { return Poll::Pending };
        let sink = InlineSink::new(Arc::clone(&hand_over), ignored);
        let parts = HostParts::new(sink, Arc::<HandOver>::clone(&hand_over)).body(body.body);
        let view = View::new(&mut req, conf.mount(), &variables, body.length);
        let exchange = worker.gateway.begin(location, &view, parts);
        advance_inline(req.leave(), &hand_over, exchange)
    });
    after_turn(lp, &hand_over, result);
}

/// Dispatches the request to the thread pool.
fn dispatch(req: &mut Req<'_>, start: Start) -> Result<(), Refused> {
    let Start { worker, location, conf, hand_over, variables, body } = start;
    let run = hand_over.run.with(req.lp(), |run| std::mem::replace(run, Run::Over));
    let Run::Waiting(sink) = run else { return Ok(()) };
    let log: Arc<dyn ErrorLog> = Arc::<HandOver>::clone(&hand_over);
    // The waker makes the relay own the `HandOver`, which owns the relay: `HandOver::close` breaks the cycle.
    let waker = Waker::from(Arc::clone(&hand_over));
    hand_over.relay.with(req.lp(), |relay| relay.as_ref().map(|relay| relay.report(None, waker)));
    let parts = HostParts::new(ThreadSink::new(sink, Arc::clone(location)), log).body(body.body);
    let view = View::new(req, conf.mount(), &variables, body.length);
    let handle = worker.gateway.dispatch(location, &view, parts).inspect_err(|_| {
        // nginx answers. The close discards the failure that the dropped sink has sent.
        hand_over.close_relay(req.lp(), Closed::Gone);
    })?;
    hand_over.run.with(req.lp(), |run| *run = Run::Threads(handle));
    transfer::watch(req, &hand_over);
    watch(req);
    Ok(())
}

/// Makes nginx call the module when the client leaves, and when it accepts more output.
fn watch(req: &mut Req<'_>) {
    req.read_event_handler = Some(ngx_http_test_reading);
    req.write_event_handler = Some(resume::write_event);
    let read = req.connection_mut().read_event();
    if read.pending_eof() != 0 {
        // The client has already left, so no further event follows.
        read.post_next();
    }
}

/// Answers a request that the gateway has refused with 503, without calling Python. The client may retry after a
/// second.
fn refuse(mut req: Req<'_>, refused: Refused) {
    req.log(Level::Error, &format!("request refused: {refused}"));
    let is_added = head::add_plain(&mut req, b"Retry-After", b"1");
    req.finalize(if is_added { ngx::SERVICE_UNAVAILABLE } else { ngx::INTERNAL_SERVER_ERROR });
}

/// Whether nginx's header filters may answer with 304 or 412, so that no body is wanted.
fn is_conditional(request: &Request) -> bool {
    let headers = &request.headers_in;
    [headers.if_modified_since, headers.if_unmodified_since, headers.if_match, headers.if_none_match]
        .iter()
        .any(|header| !header.is_null())
}

/// Makes `hand_over` the context of its request, and makes nginx call back when the request is destroyed. Returns false
/// if there is no memory.
fn register(req: &mut Req<'_>, hand_over: &Arc<HandOver>) -> bool {
    // `end::take_context` takes over this count.
    let context = Arc::into_raw(Arc::clone(hand_over)).cast_mut().cast();
    if !req.on_end(Some(end::request_over), context) {
        // SAFETY: nginx did not take the count, so it is ours.
        drop(unsafe { Arc::from_raw(context.cast::<HandOver>()) });
        return false;
    }
    conf::set_context(req, context);
    hand_over.count(req.lp());
    true
}

/// Returns the [`HandOver`] of a request, if it is registered.
fn context(request: &Request) -> Option<Arc<HandOver>> {
    let context: *const HandOver = conf::context(request).cast_const().cast();
    if context.is_null() {
        return None;
    }
    // SAFETY: `register` made the context from an `Arc`, whose count stays until the request is destroyed.
    unsafe {
        Arc::increment_strong_count(context);
        Some(Arc::from_raw(context))
    }
}
