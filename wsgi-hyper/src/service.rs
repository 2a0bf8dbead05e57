//! A WSGI application as a `Service`.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use wsgi_core::host::{BodySource, ErrorLog, HostParts, Level};
use wsgi_core::python::{Gateway, Location, Refused};
use wsgi_core::snapshot::RequestSnapshot;

use crate::body::{Extent, Source};
use crate::channel::Channel;
use crate::connection::{Connection, Known};
use crate::log::StderrLog;
use crate::request::{Mount, View};
use crate::response::{ResponseBody, Taker, plain};
use crate::sink::Sink;

/// A WSGI application, served by the threads of a [`Gateway`].
///
/// It is a service of hyper and of tower for requests with any body. It is always ready and never fails: a request that
/// finds no place among those that wait for a thread is answered with 503 at once. Clones serve the same application.
///
/// Dropping the future of a response, or its body before the end, tells the application that its client has gone:
/// reading and writing raise `OSError`, and the iterable is closed. So timeouts and limits of tower work.
#[derive(Clone)]
pub struct WsgiService {
    shared: Arc<Shared>,
}

/// How a [`WsgiService`] is made.
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
    patience: Duration,
}

/// How long a client may neither send nor take anything while an application waits for it; nginx's `send_timeout`.
const PATIENCE: Duration = Duration::from_secs(60);

impl WsgiService {
    /// Serves an application at the root of the server. The gateway runs on threads
    /// ([`Mode::Threads`](wsgi_core::python::Mode)).
    pub fn new(gateway: &Arc<Gateway>, location: &Arc<Location>) -> Self {
        Self::builder(gateway, location).build()
    }

    /// A service to be described further.
    pub fn builder(gateway: &Arc<Gateway>, location: &Arc<Location>) -> ServiceBuilder {
        ServiceBuilder {
            shared: Shared {
                gateway: Arc::clone(gateway),
                location: Arc::clone(location),
                mount: Mount::default(),
                log: Arc::new(StderrLog::default()),
                software: concat!("wsgi-hyper/", env!("CARGO_PKG_VERSION")).to_owned(),
                patience: PATIENCE,
            },
        }
    }

    /// Hands a request to the gateway. The application may run before the future is polled.
    fn answer<B>(&self, request: Request<B>) -> ResponseFuture
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let connection = parts.extensions.get::<Connection>().copied().unwrap_or_default();
        self.answer_on(&connection.into(), &parts, body)
    }

    /// As `answer`, for a request that comes on a connection which is known already.
    pub(crate) fn answer_on<B>(&self, known: &Known, parts: &Parts, body: B) -> ResponseFuture
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Shared { gateway, location, mount, log, software, patience } = &*self.shared;
        let extent = Extent::of(&parts.headers, &body);
        let view = match View::new(parts, known, mount, extent.length, software, &location.settings().variables) {
            Ok(view) => view,
            Err(status) => return ResponseFuture::plain(status),
        };
        let channel = Channel::new();
        let source = extent.any.then(|| {
            Box::new(Source::new(body, extent.length, Arc::clone(&channel), *patience)) as Box<dyn BodySource>
        });
        let sink = Sink::new(Arc::clone(&channel), parts.method == Method::HEAD, *patience);
        let host = HostParts { body: source, sink: Box::new(sink), log: Arc::clone(log) };
        let told = Arc::clone(&channel);
        let done = Box::new(move |result| {
            if let Err(fault) = result {
                let fault: wsgi_core::error::Fault = fault;
                told.fail(fault.status_hint().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
            }
        });
        match gateway.dispatch(location, RequestSnapshot::new(&view), host, done) {
            Ok(handle) => ResponseFuture(Stage::Waiting(Some(Taker::new(channel, handle)))),
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

impl ServiceBuilder {
    /// Mounts the application below a prefix of the path, `/mnt`, which becomes its SCRIPT_NAME. Requests come with the
    /// whole path; those outside of it get 404.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.shared.mount = Mount::new(prefix, false);
        self
    }

    /// As [`prefix`](Self::prefix), inside a router that takes the prefix off, as axum's `nest_service` does. The
    /// router's spelling of the prefix goes into REQUEST_URI in place of the client's.
    pub fn stripped_prefix(mut self, prefix: &str) -> Self {
        self.shared.mount = Mount::new(prefix, true);
        self
    }

    /// Where log lines of requests go, on stderr otherwise.
    pub fn log(mut self, log: Arc<dyn ErrorLog>) -> Self {
        self.shared.log = log;
        self
    }

    /// SERVER_SOFTWARE, `wsgi-hyper` and its version otherwise.
    pub fn software(mut self, software: impl Into<String>) -> Self {
        self.shared.software = software.into();
        self
    }

    /// How long a client may send nothing while an application reads, and take nothing while one writes through the
    /// write callable; 60 seconds otherwise. Between the blocks of an iterable this is up to the server.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.shared.patience = patience;
        self
    }

    /// The service.
    pub fn build(self) -> WsgiService {
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

/// A response that an application is working on: ready when its head is to be sent.
#[derive(Debug)]
#[must_use = "an exchange is cancelled when its future is dropped"]
pub struct ResponseFuture(Stage);

#[derive(Debug)]
enum Stage {
    /// Taken when it is ready.
    Waiting(Option<Taker>),
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
        let slot = match &mut self.0 {
            Stage::Waiting(slot) => slot,
            Stage::Plain(status) => return Poll::Ready(Ok(plain(*status))),
        };
        let taker = slot.as_mut().expect("a future is not polled after it was ready");
        let head = ready!(taker.poll_head(cx));
        let taker = slot.take();
        Poll::Ready(Ok(match (head, taker) {
            (Ok(parts), Some(taker)) => Response::from_parts(parts, ResponseBody::new(taker)),
            (Err(status), _) => plain(status),
            (Ok(_), None) => plain(StatusCode::INTERNAL_SERVER_ERROR),
        }))
    }
}
