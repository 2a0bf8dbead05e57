//! Access lines: one for each request, when it is over.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::channel::Cut;
use crate::response::ResponseBody;

/// Where lines go.
pub(super) type AccessLog = Arc<dyn Fn(&str) + Send + Sync>;

/// A request under way. Its line is written when it is dropped.
pub(super) struct Entry {
    log: AccessLog,
    peer: Option<SocketAddr>,
    request: String,
    time: SystemTime,
    began: Instant,
    /// None as long as there is no head.
    status: Option<StatusCode>,
    bytes: u64,
}

impl Entry {
    pub(super) fn new<B>(request: &Request<B>, peer: Option<SocketAddr>, log: AccessLog) -> Self {
        let target = request.uri().to_string();
        Self {
            log,
            peer,
            request: escaped(&format!("{} {target} {:?}", request.method(), request.version())),
            time: SystemTime::now(),
            began: Instant::now(),
            status: None,
            bytes: 0,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let peer = self.peer.map_or_else(|| "-".to_owned(), |peer| peer.ip().to_canonical().to_string());
        // nginx's number for a client that did not wait.
        let status = self.status.map_or(499, |status| status.as_u16());
        let (time, bytes) = (common_time(self.time), self.bytes);
        let took = self.began.elapsed().as_millis();
        (self.log)(&format!("{peer} - - [{time}] \"{}\" {status} {bytes} {took}ms", self.request));
    }
}

/// Text that cannot forge a line, escaped as nginx does: whatever is no printable ASCII character, and what has a meaning
/// between quotes.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut line, byte| {
        match byte {
            b'"' | b'\\' => line.push_str(&format!("\\x{byte:02X}")),
            b' '..=b'~' => line.push(char::from(byte)),
            byte => line.push_str(&format!("\\x{byte:02X}")),
        }
        line
    })
}

/// `10/Oct/2000:13:55:36 +0000`, made of HTTP's `Tue, 10 Oct 2000 13:55:36 GMT`.
fn common_time(time: SystemTime) -> String {
    let text = httpdate::fmt_http_date(time);
    let mut words = text.split(' ').skip(1);
    let mut word = || words.next().unwrap_or_default();
    format!("{}/{}/{}:{} +0000", word(), word(), word(), word())
}

/// A body whose bytes are counted.
pub(super) struct Logged {
    body: ResponseBody,
    entry: Entry,
}

impl Logged {
    pub(super) fn new(body: ResponseBody, mut entry: Entry, status: StatusCode) -> Self {
        entry.status = Some(status);
        Self { body, entry }
    }
}

impl Body for Logged {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.entry.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
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
        let request = Request::get("/a%20b?'").body(()).unwrap();
        let peer = Some("10.0.0.1:99".parse().unwrap());
        let mut entry =
            Entry::new(&request, peer, Arc::new(move |line: &str| log.lock().unwrap().push(line.to_owned())));
        entry.time = SystemTime::UNIX_EPOCH + Duration::from_secs(971_186_136);
        entry.bytes = 7;
        drop(entry);
        let line = lines.lock().unwrap().remove(0);
        let expected = r#"10.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET /a%20b?' HTTP/1.1" 499 7 "#;
        assert!(line.starts_with(expected) && line.ends_with("ms"), "{line}");
    }

    #[test]
    fn no_text_can_forge_a_line() {
        assert_eq!(escaped("GET /\" 200\n\\\u{e9}"), r"GET /\x22 200\x0A\x5C\xC3\xA9");
    }
}
