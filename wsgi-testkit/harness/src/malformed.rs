//! Malformed or ambiguous requests, and how each host answers them.
//!
//! The rows are in one table with a column for nginx and one for wsgi-hyper. Where releases of nginx differ, the column has
//! an answer for each, with the first release that gives it. A test of each host compares it with its column, and
//! `docs/conformance.md` lists the rows in which the columns differ.

mod chunks;
mod fields;
mod lengths;
mod lines;
mod targets;

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use wsgi_testkit::conformance::{Served, get};
use wsgi_testkit::{WAIT_TIMEOUT, figure};

use crate::NginxVersion;

/// An application that reads requests to their end, and records each: method, path, length of the body, and the header `X`.
/// `/seen` returns the records since its last call. It must be served at `/` on one thread, so that `/seen` is handled last.
pub const APPLICATION: &str = r#"
seen = []

def application(environ, start_response):
    if environ["PATH_INFO"] == "/seen":
        body = "\n".join(seen)
        seen.clear()
    else:
        length = len(environ["wsgi.input"].read())
        body = f"{environ['REQUEST_METHOD']} {ascii(environ['PATH_INFO'])[1:-1]} {length}"
        if "HTTP_X" in environ:
            body += " X=" + ascii(environ["HTTP_X"])[1:-1]
        seen.append(body)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]
"#;

/// Compares an nginx of this version, in its default configuration, with its column. Panics with all differences.
pub fn check_nginx(host: &dyn Served, version: NginxVersion) {
    check("nginx", host, version, |row| (row.nginx(version), row.backport()));
}

/// Compares wsgi-hyper, with default options, with its column. Panics with all differences.
pub fn check_hyper(host: &dyn Served) {
    check("wsgi-hyper", host, NEWEST, |row| (&row.hyper, None));
}

/// Compares a host that has its own parser with the common behaviour of nginx and wsgi-hyper: it must refuse the requests
/// that both refuse, with any status, and serve those that both serve in the same way. Where the two differ, it must behave
/// like one of them. On the rows named in `others` it must behave differently, but must never answer a hidden request.
pub fn check_other(name: &str, host: &dyn Served, others: &[&str]) {
    let mut problems = Vec::new();
    for row in &rows() {
        let allowed = [row.nginx(NEWEST), &row.hyper];
        let verdict = judge(host, &row.bytes, allowed.iter().any(|verdict| verdict.waits));
        let is_other = others.contains(&row.name) && !verdict.answers_hidden();
        if allowed.into_iter().any(|allowed| verdict.is_like(allowed)) == is_other {
            problems.push(format!("{}: {verdict:?}, not {allowed:?}", row.name));
        }
    }
    assert!(problems.is_empty(), "{name}: {}", problems.join("\n"));
}

/// Returns the requests that the hosts answer differently, as lines of a table in Markdown. Requests with the same answers
/// and the same reason share a line.
pub fn differences() -> String {
    let mut groups: Vec<([String; 2], &str, Vec<&str>)> = Vec::new();
    for row in rows().iter().filter(|row| row.differs()) {
        let verdicts = [row.nginx_summary(), row.hyper.summary()];
        match groups.iter_mut().find(|(other, why, _)| *other == verdicts && *why == row.why) {
            Some((_, _, names)) => names.push(row.name),
            None => groups.push((verdicts, row.why, vec![row.name])),
        }
    }
    let mut text = String::from("| requests | nginx | wsgi-hyper | why |\n");
    for ([nginx, hyper], why, names) in groups {
        let _ = writeln!(text, "| {} | {nginx} | {hyper} | {why} |", names.join("; "));
    }
    text
}

/// Compares a host with its column, and counts the rows that both hosts answer in the same way.
fn check(name: &str, host: &dyn Served, nginx: NginxVersion, column: impl Fn(&Row) -> (&Verdict, Option<&Verdict>)) {
    let mut problems = Vec::new();
    let (rows, mut equal, mut hidden) = (rows(), 0, Vec::new());
    for row in &rows {
        let (expected, also) = column(row);
        let verdict = judge(host, &row.bytes, expected.waits);
        equal += usize::from(*row.nginx(nginx) == row.hyper && verdict == *expected);
        if verdict.answers_hidden() {
            hidden.push(row.name);
        }
        if verdict.answers_hidden() && !expected.answers_hidden() {
            problems.push(format!("{}: the hidden request is answered: {verdict:?}", row.name));
        } else if verdict != *expected && Some(&verdict) != also {
            problems.push(format!("{}: {verdict:?}, not {expected:?}", row.name));
        }
    }
    let listed = rows.iter().filter(|row| row.differs()).count();
    figure(
        "S1",
        &format!(
            "{} of {} verdicts of {name} as in the table, {equal} the same on nginx and wsgi-hyper, {listed} listed as \
             different; hidden requests answered: {} {hidden:?}",
            rows.len() - problems.len(),
            rows.len(),
            hidden.len()
        ),
    );
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Sends a request, followed by [`NEXT`]. If the host is expected to wait for more, the client leaves after a while.
fn judge(host: &dyn Served, bytes: &[u8], waits: bool) -> Verdict {
    let mut stream = TcpStream::connect(host.address().expect("a host with connections")).expect("the host listens");
    stream.set_read_timeout(Some(if waits { SILENCE } else { WAIT_TIMEOUT })).expect("a time-out");
    // The host may have closed the connection before it has read all of it.
    let _ = stream.write_all(&[bytes, NEXT.as_bytes()].concat());
    let mut received = Vec::new();
    let waits = match stream.read_to_end(&mut received) {
        Ok(_) => false,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            stream.shutdown(Shutdown::Write).expect("a connection");
            stream.set_read_timeout(Some(WAIT_TIMEOUT)).expect("a time-out");
            // The response to a client that has left does not matter, but the host must close the connection.
            let _ = stream.read_to_end(&mut Vec::new());
            true
        }
        Err(error) => panic!("cannot read: {error}"),
    };
    let seen = host.send(get("/seen")).ok();
    Verdict { answers: statuses(&received), seen: seen.lines().map(str::to_owned).collect(), waits }
}

/// Time without an answer after which a host is taken to wait for more. There is no other sign of it.
const SILENCE: Duration = Duration::from_millis(100);

/// Returns the status codes of all final responses; 0 is a response without a head. No host's body looks like a status line.
fn statuses(received: &[u8]) -> Vec<u16> {
    if !received.is_empty() && !received.starts_with(b"HTTP/1.") {
        return vec![0];
    }
    let lines = received.windows(12).filter(|window| window.starts_with(b"HTTP/1.") && window[8] == b' ');
    let codes = lines.filter_map(|line| String::from_utf8_lossy(&line[9..]).parse().ok());
    codes.filter(|code| *code >= 200).collect()
}

/// A request and the answers of the hosts.
#[derive(Clone, Debug)]
struct Row {
    /// Describes the defect. Unique among the rows.
    name: &'static str,
    /// The bytes sent. [`NEXT`] follows.
    bytes: Vec<u8>,
    /// Answers of nginx, each with the first release that gives it, oldest first.
    nginx: Vec<(NginxVersion, Verdict)>,
    /// Whether distributions apply the newest release's answer to builds of older ones, too.
    is_backported: bool,
    hyper: Verdict,
    /// Why the hosts differ; empty where they agree.
    why: &'static str,
}

impl Row {
    /// Creates a request that both hosts answer alike, unless [`hyper`](Self::hyper) is called.
    fn new(name: &'static str, bytes: impl AsRef<[u8]>, verdict: Verdict) -> Self {
        let bytes = bytes.as_ref().to_vec();
        let nginx = vec![(NginxVersion::ANY, verdict.clone())];
        Self { name, bytes, nginx, is_backported: false, hyper: verdict, why: "" }
    }

    /// Creates a request that both hosts answer with 400.
    fn refused(name: &'static str, bytes: impl AsRef<[u8]>) -> Self {
        Self::new(name, bytes, refused(400))
    }

    fn hyper(self, hyper: Verdict, why: &'static str) -> Self {
        Self { hyper, why, ..self }
    }

    /// Sets the answer of nginx since this release.
    fn nginx_since(mut self, release: NginxVersion, verdict: Verdict) -> Self {
        self.nginx.push((release, verdict));
        self
    }

    /// Returns the answer of nginx in this version.
    fn nginx(&self, version: NginxVersion) -> &Verdict {
        let (_, verdict) = self.nginx.iter().rfind(|(since, _)| *since <= version).expect("an answer of any version");
        verdict
    }

    /// Returns all answers of nginx, in a word or two each.
    fn nginx_summary(&self) -> String {
        let answers = self.nginx.iter().map(|(since, verdict)| match *since {
            NginxVersion::ANY => verdict.summary(),
            since => format!("{} since {since}", verdict.summary()),
        });
        let answers = answers.collect::<Vec<_>>().join(", ");
        if self.is_backported { answers + ", and in Debian's builds of older ones" } else { answers }
    }

    /// Whether any version of nginx differs from wsgi-hyper.
    fn differs(&self) -> bool {
        self.nginx.iter().any(|(_, verdict)| *verdict != self.hyper)
    }

    fn backported(self) -> Self {
        Self { is_backported: true, ..self }
    }

    /// Returns the other answer that builds of any release may give.
    fn backport(&self) -> Option<&Verdict> {
        self.nginx.last().filter(|_| self.is_backported).map(|(_, verdict)| verdict)
    }
}

/// Newer than all releases of nginx.
const NEWEST: NginxVersion = NginxVersion(u32::MAX, 0, 0);

/// Returns the names of the requests in the table, and their bytes.
pub fn requests() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    rows().into_iter().map(|row| (row.name, row.bytes))
}

fn rows() -> Vec<Row> {
    [lines::rows(), targets::rows(), fields::rows(), lengths::rows(), chunks::rows()].concat()
}

/// The result of a row: all responses on its connection, and all requests that the application received.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    /// Status codes in order; 0 for a response without a head, as in HTTP/0.9.
    answers: Vec<u16>,
    /// Requests that the application has read to their end.
    seen: Vec<String>,
    /// Whether the connection stayed open until the client left.
    waits: bool,
}

impl Verdict {
    fn answers_hidden(&self) -> bool {
        self.seen.iter().any(|seen| seen.contains("/hidden"))
    }

    /// Whether the same requests were answered, and the connection ended in the same way. The status of a refusal may differ.
    fn is_like(&self, other: &Self) -> bool {
        let refuses = |verdict: &Self| verdict.answers.iter().all(|status| *status >= 400) && verdict.seen.is_empty();
        self == other || refuses(self) && refuses(other) && self.waits == other.waits
    }

    /// Returns a summary of a word or two.
    fn summary(&self) -> String {
        match self.answers.first() {
            _ if self.waits => "waits for more".to_owned(),
            None => "closes the connection without an answer".to_owned(),
            Some(0) => "body alone".to_owned(),
            Some(status) if self.answers_hidden() => format!("{status}, also to the hidden request"),
            Some(status) => status.to_string(),
        }
    }
}

/// These responses, while the application received these requests.
fn answered(answers: &[u16], seen: &[&str]) -> Verdict {
    Verdict { answers: answers.to_vec(), seen: seen.iter().map(|seen| (*seen).to_owned()).collect(), waits: false }
}

/// Answered by the application, which received this request; so was the next request.
fn served(seen: &str) -> Verdict {
    answered(&[200, 200], &[seen, "GET /next 0"])
}

/// Answered by the application, which received this request; the connection is closed.
fn served_last(seen: &str) -> Verdict {
    answered(&[200], &[seen])
}

/// Answered by the host; the connection is closed.
fn refused(status: u16) -> Verdict {
    answered(&[status], &[])
}

/// Closed without an answer.
fn closed() -> Verdict {
    answered(&[], &[])
}

/// Neither answered nor refused.
fn waits() -> Verdict {
    Verdict { waits: true, ..closed() }
}

const LINE_ENDS: &str =
    "lines end with CRLF: requests can be hidden where servers differ about a bare LF (RFC 9112, 2.2)";
const OLD: &str = "the program serves HTTP/1.0 and HTTP/1.1, not HTTP/0.9";
const VERSIONS: &str = "the program supports no later version of HTTP";
const PREFACE: &str = "hyper closes the connection at the preface of HTTP/2";
const BLANKS: &str = "one space separates the parts of the first line";
const BYTES: &str = "hyper accepts fewer bytes in targets, names and values (RFC 3986, 2; RFC 9110, 5)";
const HOSTS: &str = "an invalid host or port is refused, not truncated";
const LIMITS: &str = "the program accepts lines of 8 KiB, and heads and trailers of 32 KiB and 100 fields";
const BODIES: &str = "the program has no `client_max_body_size`; a declared length allocates nothing";
const CODINGS: &str = "both refuse it; the program answers 400 for any unsupported coding";
const TUNNELS: &str = "both refuse it, with different statuses";
/// The first release that accepts host and port only in the form of RFC 3986, and no line of a chunked body that ends with LF
/// alone.
const STRICT: NginxVersion = NginxVersion(1, 29, 4);

/// The first release that limits the number of header fields (`max_headers`).
const COUNTS_FIELDS: NginxVersion = NginxVersion(1, 29, 8);

/// The first release that recognizes CONNECT, and serves no tunnels.
const KNOWS_CONNECT: NginxVersion = NginxVersion(1, 30, 0);

const CHUNKS: &str = "a malformed chunk or trailer is refused";

/// Bytes that one parser takes for a part of the request, and another for a separate request. No host may answer them.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

/// The request after each row. It is answered if the row's request is understood and keeps the connection open.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Returns a request that begins with this line, and has a Host.
fn line(line: impl AsRef<[u8]>) -> Vec<u8> {
    [line.as_ref(), b"\r\nHost: a\r\n\r\n"].concat()
}

/// Returns a GET request with further header fields; whole lines with their ends.
fn fields(fields: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET /a HTTP/1.1\r\nHost: a\r\n", fields.as_ref(), b"\r\n"].concat()
}

/// Returns a POST request with further header fields; whole lines with their ends.
fn post(fields: &str, body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_rows_share_a_name_or_their_bytes() {
        let rows = rows();
        assert!(rows.len() >= 200, "{} rows", rows.len());
        assert_eq!(rows.iter().map(|row| row.name).collect::<HashSet<_>>().len(), rows.len());
        assert_eq!(rows.iter().map(|row| &row.bytes).collect::<HashSet<_>>().len(), rows.len());
    }

    #[test]
    fn hidden_request_is_answered_only_by_nginx_after_a_bare_lf() {
        for row in rows() {
            assert!(!row.hyper.answers_hidden(), "{}", row.name);
            let bare = row.bytes.windows(2).any(|pair| pair[0] != b'\r' && pair[1] == b'\n');
            let answered = row.nginx.iter().any(|(_, verdict)| verdict.answers_hidden());
            assert!(!answered || bare && row.why == LINE_ENDS, "{}", row.name);
        }
    }

    #[test]
    fn wsgi_hyper_takes_nothing_that_nginx_refuses_but_large_bodies() {
        let refused_by_nginx = |row: &&Row| {
            let verdict = row.nginx(NEWEST);
            verdict.seen.is_empty() && verdict.answers != [0]
        };
        for row in rows().iter().filter(refused_by_nginx) {
            let refused = row.hyper.seen.is_empty() && !row.hyper.waits;
            assert!(refused || row.why == BODIES, "{}", row.name);
        }
    }

    #[test]
    fn hosts_that_differ_have_a_reason() {
        for row in rows() {
            assert_eq!(!row.differs(), row.why.is_empty(), "{}", row.name);
        }
    }

    #[test]
    fn rows_that_differ_are_listed_in_the_documentation() {
        let text = include_str!("../../../docs/conformance.md");
        let section = text.split("\n## Malformed requests\n").nth(1).expect("a section about them");
        let section = section.split("\n## ").next().expect("the text up to the next section");
        let listed: String =
            section.lines().filter(|line| line.starts_with("| ")).map(|line| format!("{line}\n")).collect();
        let expected = differences();
        assert!(listed == expected, "the table in docs/conformance.md should be:\n{expected}");
    }
}
