//! The baseline for wsgi-hyper: a plain hyper that has one dedicated thread make the bare call (see [`bare`](crate::bare)).
//!
//! It is written as such a server usually is. The connection is wsgi-hyper's, with the same options of hyper and of the
//! socket. A request moves to the thread as hyper has parsed it, through a channel of the standard library, which wakes the
//! thread only if it sleeps; the response comes back through a oneshot of tokio. The thread keeps its Python state, attaches
//! for the call and detaches before it answers. Status, headers and blocks are copied once, from Python's memory to the
//! objects that hyper sends; the body has a length, hyper adds Content-Length and Date.
//!
//! Besides the omissions of the bare loop, it leaves out errors and concurrency: its thread answers one request after the
//! other and holds the whole response before any of it is sent, so there is no backpressure, no early block, no cancelling,
//! no limit on the queue, and no client is disconnected. It ignores the Host header, decodes no path, and refuses nothing. It
//! writes no access lines. It is fast only while requests have the same headers as the request before.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, SERVER};
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use pyo3::ffi;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::bare::{Application, Client};

const NAME: HeaderValue = HeaderValue::from_static("wsgi-hyper");

/// Serves the callable `application` of the Python code `source` until the runtime ends. Python has been started, and no
/// thread is attached. Panics if something fails, as nothing can be measured then.
pub async fn serve(listener: TcpListener, source: String) {
    let (requests, taken) = mpsc::channel();
    std::thread::spawn(move || answer(&source, &taken));
    loop {
        let (stream, peer) = listener.accept().await.expect("a connection");
        let hop = Hop { requests: requests.clone(), peer: Arc::new(Peer::new(peer)) };
        tokio::spawn(async move {
            stream.set_nodelay(true).expect("a socket of TCP");
            // An error of the connection is ignored: clients may leave at any time.
            let _ = builder().serve_connection(TokioIo::new(stream), hop).await;
        });
    }
}

/// Returns a builder for hyper with the options of wsgi-hyper's server.
fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .max_header_size(32 * 1024)
        .max_buf_size(64 * 1024)
        .half_close(false)
        .keep_alive(true)
        .allow_multiple_spaces_in_request_line_delimiters(false)
        .ignore_invalid_headers(false);
    builder
}

/// A client's address as text, formatted once for each connection.
struct Peer {
    address: String,
    port: String,
}

impl Peer {
    fn new(peer: SocketAddr) -> Self {
        Self { address: peer.ip().to_string(), port: peer.port().to_string() }
    }
}

/// A request, as it is sent to the thread.
struct Job {
    request: Parts,
    peer: Arc<Peer>,
    reply: oneshot::Sender<Response<Full<Bytes>>>,
}

/// The service of one connection.
struct Hop {
    requests: mpsc::Sender<Job>,
    peer: Arc<Peer>,
}

impl Service<Request<Incoming>> for Hop {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let (reply, answer) = oneshot::channel();
        let job = Job { request: request.into_parts().0, peer: Arc::clone(&self.peer), reply };
        self.requests.send(job).expect("the thread serves");
        Answer(answer)
    }
}

/// A response that the thread has not sent yet.
struct Answer(oneshot::Receiver<Response<Full<Bytes>>>);

impl Future for Answer {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(ready!(Pin::new(&mut self.0).poll(cx)).expect("the thread answers")))
    }
}

/// Answers requests until the channel closes; the body of the thread.
fn answer(source: &str, jobs: &mpsc::Receiver<Job>) {
    // SAFETY: Python runs. Only this thread uses the state, and it runs until the process ends.
    let state = unsafe {
        ffi::PyGILState_Ensure();
        ffi::PyEval_SaveThread()
    };
    let mut prepared: Option<Prepared> = None;
    for Job { request, peer, reply } in jobs {
        // SAFETY: the state is this thread's, and the thread is detached.
        unsafe { ffi::PyEval_RestoreThread(state) };
        let known = prepared.take().filter(|known| known.names.iter().eq(request.headers.keys()));
        // SAFETY: the thread was attached above.
        let known = prepared.insert(known.unwrap_or_else(|| unsafe { Prepared::new(source, &request) }));
        // SAFETY: the thread was attached above.
        let response = unsafe { known.answer(&request, &peer) };
        // SAFETY: the thread was attached above.
        unsafe { ffi::PyEval_SaveThread() };
        // The response is dropped if the connection no longer waits for it.
        let _ = reply.send(response.finish());
    }
}

/// The application, prepared for requests with certain headers.
struct Prepared {
    application: Application,
    names: Vec<HeaderName>,
}

impl Prepared {
    /// # Safety
    ///
    /// The calling thread is attached to Python.
    unsafe fn new(source: &str, request: &Parts) -> Self {
        let names: Vec<_> = request.headers.keys().cloned().collect();
        // SAFETY: the caller is attached to Python.
        let application = unsafe { Application::new(source, names.iter().map(HeaderName::as_str)) };
        Self { application, names }
    }

    /// # Safety
    ///
    /// As for [`new`](Self::new).
    unsafe fn answer(&self, request: &Parts, peer: &Peer) -> Outgoing {
        let protocol = match request.version {
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        };
        let (uri, method) = (&request.uri, request.method.as_str());
        let line = [method, uri.path(), uri.query().unwrap_or_default(), protocol, &peer.address, &peer.port];
        let mut response = Outgoing { response: Response::new(()), body: Vec::new() };
        let values = request.headers.values().map(HeaderValue::as_bytes);
        // SAFETY: the caller is attached to Python.
        unsafe { self.application.call(line.map(str::as_bytes), values, &mut response) };
        response
    }
}

/// A response in the types of hyper.
struct Outgoing {
    response: Response<()>,
    body: Vec<u8>,
}

impl Outgoing {
    fn finish(mut self) -> Response<Full<Bytes>> {
        self.response.headers_mut().insert(SERVER, NAME);
        self.response.map(|()| Full::new(self.body.into()))
    }
}

impl Client for Outgoing {
    fn status(&mut self, text: &[u8]) {
        *self.response.status_mut() = StatusCode::from_bytes(&text[..3]).expect("a status");
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        let name = HeaderName::from_bytes(name).expect("a name");
        self.response.headers_mut().append(name, HeaderValue::from_bytes(value).expect("a value"));
    }

    fn block(&mut self, data: &[u8]) {
        self.body.extend_from_slice(data);
    }
}
