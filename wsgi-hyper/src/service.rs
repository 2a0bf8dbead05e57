//! A WSGI application as a `Service`.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::EXPECT;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use wsgi_core::host::{BodySource, ErrorLog, HostParts, Level, Pace, RequestSnapshot, StderrLog};
use wsgi_core::python::{Gateway, Location, Refused};
use wsgi_core::relay::{ROOM, Relay, RelaySink, relay};

use crate::arrival::Arrival;
use crate::blame::Blame;
use crate::body::{Extent, Limits, Source};
use crate::collected::{Collected, Refusal};
use crate::connection::{Addresses, Connection};
use crate::open::Open;
use crate::request::{Mount, View};
use crate::response::{ResponseBody, ResponseReader, plain};
use crate::sink::{Head, Sink};

/// A WSGI application, served by the threads of a [`Gateway`].
///
/// It is a service of hyper and of tower for requests with any body. It is always ready and never fails: a request for
/// which the queue has no place is answered with 503 at once. Clones serve the same application.
///
/// Dropping the future of a response, or its body before the end, is a disconnect for the application: reading and
/// writing raise `OSError`, and the iterable is closed. So timeouts and limits of tower work.
#[derive(Clone)]
pub struct WsgiService {
    shared: Arc<Shared>,
}

/// Builder for a [`WsgiService`].
#[must_use]
pub struct ServiceBuilder {
    shared: Shared,
}

struct Shared {
    gateway: Arc<Gateway>,
    location: Arc<Location>,
    mount: Mount,
    log: Arc<dyn ErrorLog>,
    software: String,
    limits: Limits,
    /// Longest body without a length, in bytes, that is collected. `None`: such bodies are read as they arrive.
    collected: Option<u64>,
    open: Arc<Open>,
}

/// Default of [`ServiceBuilder::client_timeout`], equal to that of nginx's `send_timeout`.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Default of [`ServiceBuilder::collect_chunked_bodies`], in bytes.
const COLLECTED: u64 = 1 << 30;

impl WsgiService {
    /// Serves an application at the root of the server. The gateway runs on threads
    /// ([`Mode::Threads`](wsgi_core::config::Mode)).
    pub fn new(gateway: &Arc<Gateway>, location: &Arc<Location>) -> Self {
        Self::builder(gateway, location).build()
    }

    /// Creates a builder.
    pub fn builder(gateway: &Arc<Gateway>, location: &Arc<Location>) -> ServiceBuilder {
        ServiceBuilder {
            shared: Shared {
                gateway: Arc::clone(gateway),
                location: Arc::clone(location),
                mount: Mount::default(),
                log: Arc::new(StderrLog::default()),
                software: concat!("wsgi-hyper/", env!("CARGO_PKG_VERSION")).to_owned(),
                limits: Limits { client_timeout: CLIENT_TIMEOUT, pace: Pace::default() },
                collected: Some(COLLECTED),
                open: Arc::default(),
            },
        }
    }

    /// Dispatches a request to the gateway; a request with a body once its first part has arrived. The application may
    /// run before the future is polled.
    fn answer<B>(&self, request: Request<B>) -> ResponseFuture
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let connection = parts.extensions.get::<Connection>().copied().unwrap_or_default();
        self.answer_on(&connection.into(), &parts, body)
    }

    /// Like `answer`, for a request on a connection whose addresses are known already.
    pub(crate) fn answer_on<B>(&self, known: &Addresses, parts: &Parts, body: B) -> ResponseFuture
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Shared { location, mount, software, limits, .. } = &*self.shared;
        let extent = Extent::of(&parts.headers, &body);
        let view = match View::new(parts, known, mount, extent.length, software, &location.settings().variables) {
            Ok(view) => view,
            Err(status) => return ResponseFuture::plain(status),
        };
        let (sink, relay) = relay(ROOM);
        let mut request = Prepared {
            snapshot: RequestSnapshot::new(&view),
            is_head: parts.method == Method::HEAD,
            sink,
            relay,
            blame: None,
        };
        if !extent.any {
            return self.dispatch(request, None);
        }
        let source = Source::new(body, extent.length, request.relay.handle(), limits.clone());
        request.blame = Some(Arc::clone(source.blame()));
        if let (None, Some(limit)) = (extent.length, self.shared.collected) {
            return ResponseFuture(Stage::Arriving(Box::pin(self.clone().dispatch_collected(request, source, limit))));
        }
        if expects_continue(parts) {
            // The client sends the body only after the application has started to read it.
            return self.dispatch(request, Some(Box::new(source)));
        }
        ResponseFuture(Stage::Arriving(Box::pin(self.clone().dispatch_with_body(request, source))))
    }

    /// Dispatches a request to the gateway once enough of its body has arrived, see [`Arrival`].
    async fn dispatch_with_body<B>(self, request: Prepared, source: Source<B>) -> ResponseFuture
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let is_full = || self.shared.gateway.is_full_of_streams(&self.shared.location);
        match Arrival::new(source, is_full).await {
            Ok(source) => self.dispatch(request, Some(Box::new(source))),
            Err(status) => ResponseFuture::plain(status),
        }
    }

    /// Like `dispatch_with_body`, but waits for the whole body, so that its length is known.
    async fn dispatch_collected<B>(self, mut request: Prepared, source: Source<B>, limit: u64) -> ResponseFuture
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        match Collected::collect(source, &self.shared.location, limit).await {
            Ok(body) => {
                request.snapshot.set_content_length(body.announced());
                self.dispatch(request, Some(Box::new(body)))
            }
            Err(Refusal { status, line }) => {
                if let Some(line) = line {
                    self.shared.log.log(Level::Error, &line);
                }
                ResponseFuture::plain(status)
            }
        }
    }

    fn dispatch(&self, request: Prepared, body: Option<Box<dyn BodySource>>) -> ResponseFuture {
        let Shared { gateway, location, log, limits, open, .. } = &*self.shared;
        let Prepared { snapshot, is_head, sink, relay, blame } = request;
        let entry = open.add(relay.handle());
        let sink = Sink::new(sink, is_head, limits.client_timeout, blame);
        let parts = HostParts::new(sink, Arc::clone(log)).body(body);
        match gateway.dispatch(location, snapshot, parts) {
            Ok(handle) => ResponseFuture(Stage::Waiting(Some(ResponseReader::new(relay, handle, entry)))),
            Err(refused) => {
                log.log(Level::Error, &format!("request refused: {refused}"));
                ResponseFuture::plain(match refused {
                    Refused::QueueFull | Refused::NoThread | Refused::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                })
            }
        }
    }
}

/// A request that is ready for the gateway, without its body.
struct Prepared {
    snapshot: RequestSnapshot,
    is_head: bool,
    sink: RelaySink<Head>,
    relay: Relay<Head>,
    /// Shared with the body. `None` without a body.
    blame: Option<Arc<Blame>>,
}

/// Whether the client waits for `100 Continue` (RFC 9110, 10.1.1).
fn expects_continue(parts: &Parts) -> bool {
    let expected = parts.headers.get(EXPECT);
    expected.is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

impl ServiceBuilder {
    /// Mounts the application below a prefix of the path such as `/mnt`, which becomes its SCRIPT_NAME. Requests have
    /// the whole path; requests for other paths get 404. The prefix is decoded as paths are, see
    /// [`decode_prefix`](wsgi_core::host::decode_prefix).
    ///
    /// # Panics
    ///
    /// If no path can begin with the prefix, as with `/..` or with a `%` that is not part of an escape.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.shared.mount = Mount::new(prefix, false);
        self
    }

    /// Like [`prefix`](Self::prefix), inside a router that strips the prefix, as axum's `nest_service` does.
    /// REQUEST_URI has the router's spelling of the prefix in place of the client's.
    ///
    /// # Panics
    ///
    /// Like `prefix`.
    pub fn stripped_prefix(mut self, prefix: &str) -> Self {
        self.shared.mount = Mount::new(prefix, true);
        self
    }

    /// Sets the log for lines of requests; stderr by default.
    pub fn log(mut self, log: Arc<dyn ErrorLog>) -> Self {
        self.shared.log = log;
        self
    }

    /// Sets SERVER_SOFTWARE; `wsgi-hyper` and its version by default.
    pub fn software(mut self, software: impl Into<String>) -> Self {
        self.shared.software = software.into();
        self
    }

    /// Sets how long a client may send nothing of its body while the server or application waits for it, and how long
    /// it may take no data while an application writes through the write callable; 60 seconds by default. Between the
    /// blocks of an iterable the server decides.
    pub fn client_timeout(mut self, timeout: Duration) -> Self {
        self.shared.limits.client_timeout = timeout;
        self
    }

    /// Sets how many bytes of its body a client must send, on average, for each second of waiting beyond the first 20:
    /// [`Pace::RATE`] by default, 0 for no limit. Time in which the application does not read is not counted.
    ///
    /// A client that is slower, or exceeds [`client_timeout`](Self::client_timeout), gets 408. If the application is reading
    /// already, it gets an `OSError`, and the client gets 408 if the application then fails.
    pub fn body_rate(mut self, bytes_a_second: u64) -> Self {
        self.shared.limits.pace = Pace::new(bytes_a_second);
        self
    }

    /// Sets the limit for bodies without an announced length (chunked, or HTTP/2 without a `Content-Length`). They are
    /// collected before the application is called, beyond 128 KiB in a temporary file of the location
    /// ([`Location::temporary_file`]), so that they have a CONTENT_LENGTH: Django takes a body without one for empty. A
    /// body of more than `limit` bytes is answered with 413; the default is 1 GiB. With `None` they are read as they
    /// arrive, and have no CONTENT_LENGTH.
    ///
    /// Bodies with a `Content-Length` are always read as they arrive; a layer such as `tower_http::limit` limits them.
    pub fn collect_chunked_bodies(mut self, limit: impl Into<Option<u64>>) -> Self {
        self.shared.collected = limit.into();
        self
    }

    /// Creates the service.
    pub fn build(self) -> WsgiService {
        self.shared.gateway.on_shutdown(&self.shared.open);
        WsgiService { shared: Arc::new(self.shared) }
    }
}

impl<B> tower_service::Service<Request<B>> for WsgiService
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.answer(request)
    }
}

impl<B> hyper::service::Service<Request<B>> for WsgiService
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<B>) -> ResponseFuture {
        self.answer(request)
    }
}

impl std::fmt::Debug for WsgiService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("WsgiService").field("location", &self.shared.location).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ServiceBuilder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ServiceBuilder").field("location", &self.shared.location).finish_non_exhaustive()
    }
}

/// A response in progress; ready when its head can be sent.
#[must_use = "an exchange is cancelled when its future is dropped"]
pub struct ResponseFuture(Stage);

enum Stage {
    /// Waiting for the body.
    Arriving(Pin<Box<dyn Future<Output = ResponseFuture> + Send>>),
    /// Waiting for the head. `None` once the future is ready.
    Waiting(Option<ResponseReader>),
    Plain(StatusCode),
}

impl ResponseFuture {
    fn plain(status: StatusCode) -> Self {
        Self(Stage::Plain(status))
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Stage::Arriving(arriving) = &mut self.0 {
            *self = ready!(arriving.as_mut().poll(cx));
        }
        let slot = match &mut self.0 {
            // The body has arrived; the new stage waits for the head.
            Stage::Arriving(_) => return Poll::Pending,
            Stage::Waiting(slot) => slot,
            Stage::Plain(status) => return Poll::Ready(Ok(plain(*status))),
        };
        let reader = slot.as_mut().expect("a future is not polled after it was ready");
        let head = ready!(reader.poll_head(cx));
        let reader = slot.take();
        Poll::Ready(Ok(match (head, reader) {
            (Ok(parts), Some(reader)) => Response::from_parts(parts, ResponseBody::new(reader)),
            (Err(status), _) => plain(status),
            (Ok(_), None) => plain(StatusCode::INTERNAL_SERVER_ERROR),
        }))
    }
}

impl std::fmt::Debug for ResponseFuture {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self.0 {
            Stage::Arriving(_) => "ResponseFuture(Arriving)",
            Stage::Waiting(_) => "ResponseFuture(Waiting)",
            Stage::Plain(_) => "ResponseFuture(Plain)",
        })
    }
}
