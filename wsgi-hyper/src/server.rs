//! A small server for development: HTTP/1 without TLS, strict, with an access log.

mod access;
mod framing;
mod front;
mod guarded;
pub(crate) mod memory;
mod merging;
mod rules;
mod timed;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wsgi_core::host::Log;
use wsgi_core::host::{ErrorLog, Level, Scheme};

use crate::connection::Connection;
use crate::service::WsgiService;
pub use access::Access;
use access::AccessLog;
use front::FrontService;
use guarded::Guarded;
use timed::Timed;

/// Timeout for the head of a request, and for a connection between two requests.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// Timeout for a client that reads nothing of a response.
const SEND_TIME: Duration = Duration::from_secs(60);

/// How long a connection stays open while its client still sends bytes, which are discarded.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// Largest size of a head, in bytes; nginx's default as well (`large_client_header_buffers`).
const HEAD_SIZE: usize = 32 * 1024;

/// Largest size of a line in a head, with its line end; nginx's default as well. Applies to lines between chunks, too.
const LINE_SIZE: usize = 8 * 1024;

/// Bytes of a response that hyper buffers before it waits for the client.
const BUFFER: usize = 64 * 1024;

/// A server with a listening socket.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on an address such as `127.0.0.1:8000`. With port 0 the system chooses one. Needs a tokio runtime with
    /// I/O and time.
    pub fn bind(address: &str) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { address: listener.local_addr()?, listener })
    }

    /// Returns the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready. Then it accepts no more connections, and returns when all open requests are
    /// answered, or drops them after `grace`. Dropping the future ends all of them at once.
    ///
    /// Calls `access` for each request that has ended.
    pub async fn serve(
        self,
        service: WsgiService,
        stop: impl Future<Output = ()>,
        grace: Duration,
        log: Arc<dyn ErrorLog>,
        access: impl Fn(&Access) + Send + Sync + 'static,
    ) {
        let (access, log): (AccessLog, _) = (Arc::new(access), Log::new(log));
        let (stopping, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection =
                        Connection { local: stream.local_addr().ok(), peer: Some(peer), scheme: Scheme::Http };
                    let front = FrontService::new(service.clone(), connection, Arc::clone(&access));
                    connections.spawn(connect(stream, front, stopped.clone(), log.clone()));
                }
                // The error concerns one connection, or there are too many: some may close during the pause.
                Err(error) => {
                    log.log(Level::Error, &format!("cannot accept a connection: {error}"));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        stopping.send_replace(true);
        drop(self.listener);
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            log.log(Level::Warn, &format!("{} connections did not end in time and were cut", connections.len()));
            connections.shutdown().await;
        }
    }
}

/// Serves one connection from its first request to its last.
async fn connect(stream: TcpStream, front: FrontService, mut stop: watch::Receiver<bool>, log: Log) {
    // Blocks of a generator are sent without delay. A failure here only costs latency.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Guarded::new(Timed::new(stream, SEND_TIME)));
    let mut http = strictest().serve_connection(io, front.clone());
    let mut was_idle = false;
    let mut ended = tokio::select! {
        result = poll_fn(|cx| http.poll_without_shutdown(cx)) => Poll::Ready(result),
        _ = stop.wait_for(|stop| *stop) => Poll::Pending,
    };
    if ended.is_pending() {
        Pin::new(&mut http).graceful_shutdown();
        ended = poll_fn(|cx| Poll::Ready(http.poll_without_shutdown(cx))).await;
        // hyper ends a connection between two requests at once.
        was_idle = ended.is_ready();
    }
    let result = match ended {
        Poll::Ready(result) => result,
        Poll::Pending => poll_fn(|cx| http.poll_without_shutdown(cx)).await,
    };
    let guarded = http.into_parts().io.into_inner();
    let is_done = guarded.is_between_requests();
    let stream = guarded.into_inner().into_inner();
    if let Err(error) = result {
        log.log(Level::Info, &format!("a connection has ended: {error}"));
        if front.ends_by_closing() {
            // For this client a closed connection would mark the end of the body, so that it must be reset.
            let _ = stream.set_zero_linger();
            return;
        }
    } else if was_idle && is_done && nothing_to_read(&stream) {
        // The client has its responses, so the server does not wait for it to close. After a response during the stop it does:
        // further requests may be on their way.
        return;
    }
    linger(stream).await;
}

fn nothing_to_read(stream: &TcpStream) -> bool {
    stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// hyper with the strictest settings.
fn strictest() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_header_size(HEAD_SIZE)
        .max_buf_size(BUFFER)
        .half_close(false)
        .keep_alive(true)
        .allow_multiple_spaces_in_request_line_delimiters(false)
        .ignore_invalid_headers(false);
    builder
}

/// Closes a connection as nginx does (`lingering_close`): closing a socket with unread data resets it. The client might
/// then lose the last response, for example to an upload that the application did not read, or to a request that hyper
/// has refused.
async fn linger(mut stream: TcpStream) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut unwanted = vec![0; 16 * 1024];
    let rest = async { while stream.read(&mut unwanted).await.is_ok_and(|count| count > 0) {} };
    // The connection is closed whether or not the client has ended it in time.
    let _ = tokio::time::timeout(LINGER_TIME, rest).await;
}
