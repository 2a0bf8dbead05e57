//! Access log: one line for each request that has ended.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};

use crate::response::Cut;
use crate::response::ResponseBody;

/// Called for each request that has ended.
pub(super) type AccessLog = Arc<dyn Fn(&Access) + Send + Sync>;

/// A request that has ended. Its `Display` is a line of the common log format, followed by the duration.
#[derive(Debug)]
pub struct Access {
    peer: Option<SocketAddr>,
    method: Method,
    uri: Uri,
    version: Version,
    start: Start,
    /// `None` if there was no response head.
    status: Option<StatusCode>,
    bytes: u64,
}

/// The time at which a request began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    time: SystemTime,
    clock: Instant,
}

impl Start {
    pub(super) fn now() -> Self {
        Self { time: SystemTime::now(), clock: Instant::now() }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => write!(formatter, "{}", peer.ip().to_canonical())?,
            None => formatter.write_str("-")?,
        }
        write!(formatter, " - - [{}] \"", common_time(self.start.time))?;
        write!(Escaping(formatter), "{} {} {:?}", self.method, self.uri, self.version)?;
        // nginx's status for a client that disconnected before the response.
        let status = self.status.map_or(499, |status| status.as_u16());
        write!(formatter, "\" {status} {} {}ms", self.bytes, self.start.clock.elapsed().as_millis())
    }
}

/// A request whose line is logged when this is dropped.
pub(super) struct Entry {
    log: AccessLog,
    access: Access,
}

impl Entry {
    pub(super) fn new(request: Parts, start: Start, peer: Option<SocketAddr>, log: AccessLog) -> Self {
        let Parts { method, uri, version, .. } = request;
        Self { log, access: Access { peer, method, uri, version, start, status: None, bytes: 0 } }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        (self.log)(&self.access);
    }
}

/// Escapes text so that it cannot forge a line, as nginx does: all bytes but printable ASCII characters, and quotes and
/// backslashes.
struct Escaping<'a, W>(&'a mut W);

impl<W: fmt::Write> fmt::Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_plain = |character: char| matches!(character, ' '..='~') && !matches!(character, '"' | '\\');
        let mut rest = text;
        while let Some(at) = rest.find(|character| !is_plain(character)) {
            let (plain, behind) = rest.split_at(at);
            self.0.write_str(plain)?;
            let special = behind.chars().next().map_or(0, char::len_utf8);
            let (special, behind) = behind.split_at(special);
            special.bytes().try_for_each(|byte| write!(self.0, "\\x{byte:02X}"))?;
            rest = behind;
        }
        self.0.write_str(rest)
    }
}

/// Returns `10/Oct/2000:13:55:36 +0000` for HTTP's `Tue, 10 Oct 2000 13:55:36 GMT`.
fn common_time(time: SystemTime) -> String {
    let text = httpdate::fmt_http_date(time);
    let mut words = text.split(' ').skip(1);
    let mut word = || words.next().unwrap_or_default();
    format!("{}/{}/{}:{} +0000", word(), word(), word(), word())
}

/// A body that counts its bytes for the access log.
pub(super) struct Logged {
    body: ResponseBody,
    entry: Entry,
}

impl Logged {
    pub(super) fn new(body: ResponseBody, mut entry: Entry, status: StatusCode) -> Self {
        entry.access.status = Some(status);
        Self { body, entry }
    }
}

impl Body for Logged {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.entry.access.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_has_what_the_common_log_format_has() {
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&lines);
        let (request, ()) = http::Request::get("/a%20b?'").body(()).unwrap().into_parts();
        let peer = Some("10.0.0.1:99".parse().unwrap());
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(971_186_136);
        let start = Start { time, clock: Instant::now() };
        let log = Arc::new(move |access: &Access| log.lock().unwrap().push(access.to_string()));
        let mut entry = Entry::new(request, start, peer, log);
        entry.access.bytes = 7;
        drop(entry);
        let line = lines.lock().unwrap().remove(0);
        let expected = r#"10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET /a%20b?' HTTP/1.1" 499 7 "#;
        assert!(line.starts_with(expected) && line.ends_with("ms"), "{line}");
    }

    #[test]
    fn no_text_can_forge_a_line() {
        let escaped = |text| {
            let mut line = String::new();
            Escaping(&mut line).write_str(text).map(|()| line)
        };
        assert_eq!(escaped("GET /\" 200\n\\\u{e9}"), Ok(r"GET /\x22 200\x0A\x5C\xC3\xA9".to_owned()));
    }
}
