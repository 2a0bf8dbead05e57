//! One client connection: its requests, and the responses to them.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use httparse::{EMPTY_HEADER, Request, Status};
use wsgi_core::error::HostError;
use wsgi_core::host::{
    BodySource, Endpoint, ErrorLog, HeaderField, HostParts, Leaf, Level, Mount, Pace, PlainRequest, RequestSnapshot,
    StderrLog, decode_path, host_and_port, split_path,
};
use wsgi_core::http1::{Extent, Terms, Writer};
use wsgi_core::relay::{Part, ROOM, relay};

use crate::timed::{CLIENT_TIMEOUT, Timed};
use crate::{Busy, Site};

/// Time limit for the head of a request, including the wait for its first byte.
const HEAD_TIME: Duration = Duration::from_secs(60);

/// How long the server still reads from the client after the last response. The bytes are dropped.
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(2);

/// Answers the requests of a connection until the client or the server ends it.
pub(crate) fn serve(stream: &TcpStream, site: &'static Site) -> io::Result<()> {
    stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    stream.set_nodelay(true)?;
    let incoming = Incoming {
        reader: BufReader::new(Timed::new(stream.try_clone()?)),
        body: Extent::default(),
        pace: Pace::default(),
        too_slow: false,
    };
    let incoming = Arc::new(Mutex::new(incoming));
    let mut busy = None;
    while answer(stream, &incoming, site, &mut busy)? {
        busy = None;
    }
    // A close with unread bytes would reset the connection, and the response would be lost (RFC 9112, 9.6).
    stream.shutdown(Shutdown::Write)?;
    let reader = &mut incoming.lock().expect(LOCK).reader;
    reader.get_mut().deadline = Some(Instant::now() + LINGER_TIME);
    io::copy(&mut reader.take(64 << 20), &mut io::sink()).map(drop)
}

/// Input of a client: the thread of the connection reads heads, the thread of the application reads bodies.
struct Incoming {
    reader: BufReader<Timed>,
    body: Extent,
    /// Limits the time that the client may take for the body.
    pace: Pace,
    too_slow: bool,
}

impl Incoming {
    /// Calls `read` for a body, with the rest of the time that the client may take for it.
    fn read_body<T>(&mut self, read: impl FnOnce(&mut Self) -> T, size: impl FnOnce(&T) -> Option<usize>) -> T {
        let began = Instant::now();
        self.reader.get_mut().deadline = self.pace.left().map(|left| began + left);
        let result = read(self);
        self.reader.get_mut().deadline = None;
        let size = size(&result);
        self.too_slow |= size.is_none();
        self.pace.received_since(size.unwrap_or(0), began);
        result
    }
}

struct Body {
    incoming: Arc<Mutex<Incoming>>,
    /// The connection, while the client waits for 100 Continue.
    awaited: Arc<Leaf<Option<TcpStream>>>,
}

impl BodySource for Body {
    fn remaining(&self) -> Option<u64> {
        self.incoming.lock().expect(LOCK).body.remaining()
    }
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, HostError> {
        // A separate statement, so that the lock is not held during the write.
        let awaited = self.awaited.replace(None);
        if let Some(mut stream) = awaited {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| HostError::ClientGone)?;
        }
        let read = |incoming: &mut Incoming| incoming.body.read(&mut incoming.reader, buf);
        let size = |result: &Result<usize, HostError>| match result {
            Ok(count) => Some(*count),
            Err(HostError::TimedOut) => None,
            Err(_) => Some(0),
        };
        self.incoming.lock().expect(LOCK).read_body(read, size)
    }
    fn may_wait(&self) -> bool {
        let incoming = self.incoming.lock().expect(LOCK);
        !incoming.body.is_ready(incoming.reader.buffer())
    }
}

const LOCK: &str = "nothing panics under this lock";
const SOFTWARE: &str = "embed-example";

/// Answers one request. Returns whether another one may follow.
fn answer(
    stream: &TcpStream,
    incoming: &Arc<Mutex<Incoming>>,
    site: &'static Site,
    busy: &mut Option<Busy>,
) -> io::Result<bool> {
    let mut head = Vec::new();
    let mut guard = incoming.lock().expect(LOCK);
    guard.reader.get_mut().deadline = Some(Instant::now() + HEAD_TIME);
    let mut limited = (&mut guard.reader).take(64 * 1024);
    while !(head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n")) && limited.read_until(b'\n', &mut head)? > 0 {}
    drop(guard);
    if head.is_empty() {
        return Ok(false);
    }
    *busy = Some(site.busy());
    let mut fields = [EMPTY_HEADER; 100];
    let mut request = Request::new(&mut fields);
    let (Ok(Status::Complete(_)), Some(method), Some(target), Some(minor_version)) =
        (request.parse(&head), request.method, request.path, request.version)
    else {
        return refuse(stream, 400);
    };
    let all: Vec<_> =
        request.headers.iter().map(|field| HeaderField::new(field.name.as_bytes(), field.value)).collect();
    let Some(terms) = Terms::new(minor_version, &all) else { return refuse(stream, 400) };
    // Applications see an underscore as a dash: with X_User a client could imitate the proxy in front that sets X-User.
    let mut fields: Vec<_> = all.into_iter().filter(|field| !field.name.contains(&b'_')).collect();
    // A fragment is not sent to servers (RFC 9112, 3.2); nginx cuts it off, too.
    let (sent, _) = target.split_once('#').unwrap_or((target, ""));
    let mut target = Cow::Borrowed(sent);
    // Clients of proxies send the whole URL, and others may do so, too. Its host replaces the Host header (RFC 9112,
    // 3.2.2).
    if let Some(url) = without_scheme(sent) {
        let (host, path) = url.split_at(url.find(['/', '?']).unwrap_or(url.len()));
        if host_and_port(host.as_bytes()).is_none() {
            return refuse(stream, 400);
        }
        target = if path.starts_with('/') { path.into() } else { format!("/{path}").into() };
        fields.retain(|field| !field.name.eq_ignore_ascii_case(b"host"));
        fields.push(HeaderField::new(b"Host", host.as_bytes()));
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let Some(path) = decode_path(path.as_bytes()) else { return refuse(stream, 400) };
    let (script_name, path_info) = split_path(&path, Mount::Prefix(&site.prefix));
    if script_name.len() < site.prefix.len() {
        return refuse(stream, 404);
    }
    let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
    let snapshot = RequestSnapshot::new(&PlainRequest {
        method: method.as_bytes(),
        protocol: if minor_version == 1 { b"HTTP/1.1" } else { b"HTTP/1.0" },
        script_name,
        path_info,
        query: query.as_bytes(),
        peer: Endpoint { name: peer.ip().to_string().as_bytes(), port: Some(peer.port()) },
        content_length: terms.body.declared(),
        headers: &fields,
        extra: &[("REQUEST_URI", target.as_bytes())],
        variables: &site.location.settings().variables,
        ..PlainRequest::get(Endpoint { name: local.ip().to_string().as_bytes(), port: Some(local.port()) })
    });
    let awaited = Arc::new(Leaf::new(if terms.expects_continue { Some(stream.try_clone()?) } else { None }));
    let body = Body { incoming: Arc::clone(incoming), awaited: Arc::clone(&awaited) };
    let body = (!terms.body.is_at_end()).then(|| Box::new(body) as _);
    let (sink, relay) = relay(ROOM);
    let (exchange, end) = channel::<()>();
    let parts = HostParts::new(sink, Arc::new(StderrLog::default())).body(body).done(move |_| drop(exchange));
    let mut guard = incoming.lock().expect(LOCK);
    (guard.body, guard.pace, guard.too_slow) = (terms.body, Pace::default(), false);
    if !guard.body.is_at_end() && !terms.expects_continue {
        // Waits for the first bytes here: a client that announces a body and sends none must not occupy an application
        // thread.
        let fill = |incoming: &mut Incoming| incoming.reader.fill_buf().map(drop);
        if guard.read_body(fill, |filled| filled.as_ref().ok().map(|()| 0)).is_err() {
            return refuse(stream, 408);
        }
    }
    drop(guard);
    if let Err(refused) = site.gateway.dispatch(&site.location, snapshot, parts) {
        StderrLog::default().log(Level::Error, &format!("request refused: {refused}"));
        return refuse(stream, 503);
    }

    let (out, head_request) = (BufWriter::new(stream), method == "HEAD");
    let mut writer = Writer::new(out, minor_version, head_request, terms.persistent, SOFTWARE, SystemTime::now);
    for part in relay {
        if matches!(part, Part::Head(_)) && awaited.replace(None).is_some() {
            // It is too late for 100 Continue, and the client may or may not send its body.
            writer.end_connection();
        }
        // On failure the relay is dropped: the application's iterable is closed, and writing raises OSError.
        writer.write(part)?;
    }
    if !incoming.lock().expect(LOCK).body.is_at_end() {
        // The application may read the rest until its exchange ends, also in the iterable's close().
        let _ = end.recv();
    }
    let Incoming { reader, body, too_slow, .. } = &mut *incoming.lock().expect(LOCK);
    if !writer.has_begun() {
        // The traceback is in the log.
        return refuse(stream, if *too_slow { 408 } else { 500 });
    }
    reader.get_mut().deadline = Some(Instant::now() + LINGER_TIME);
    Ok(writer.is_reusable() && body.skip(reader, 256 * 1024))
}

/// Returns the authority and path of a target in absolute form, without `http://` or `https://`. The client chooses the
/// scheme, which has no effect.
fn without_scheme(target: &str) -> Option<&str> {
    let (scheme, url) = target.split_once("://")?;
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")).then_some(url)
}

/// Answers with an error of the host, and ends the connection.
fn refuse(stream: &TcpStream, status: u16) -> io::Result<bool> {
    Writer::new(BufWriter::new(stream), 1, false, false, SOFTWARE, SystemTime::now).refuse(status)?;
    Ok(false)
}
