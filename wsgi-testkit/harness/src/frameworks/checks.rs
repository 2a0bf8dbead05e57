//! The checks, as one table for all frameworks and all hosts.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use wsgi_testkit::conformance::{Served, get, post};
use wsgi_testkit::wire::Response;
use wsgi_testkit::{Request, wait_for};

use super::Framework;

type Check = fn(&mut Visitor<'_>);

/// Each check has a sentence and a function. The last one provokes a complaint, to prove that the validator is present.
const CHECKS: [(&str, Check); 18] = [
    ("a page arrives", page),
    ("HEAD has the head of the page and no body", head),
    ("a form that may be forged is refused", forged_form),
    ("fields of a form arrive in order, decoded", form),
    ("an upload arrives byte for byte", upload),
    ("a stream arrives whole and is closed once", stream),
    ("a redirection leads to the first page", redirection),
    ("a session is kept by its cookie", session),
    ("path and query arrive decoded", echo),
    ("two cookies arrive as two headers", cookies),
    ("an empty answer has neither body nor type", empty),
    ("a file arrives whole", file),
    ("HEAD of a file has no body", file_head),
    ("a file that has not changed is not sent", unchanged_file),
    ("a part of a file is the part that was asked for", part_of_file),
    ("an unknown path is 404", missing),
    ("an exception is 500 and is logged", error),
    ("an unknown method is a complaint of the validator", complaint),
];

/// The exception of `/error`, as logged.
const ERROR: &str = "RuntimeError: this route always fails";
/// The complaint that [`complaint`] provokes.
const COMPLAINT: &str = "WSGIWarning: Unknown REQUEST_METHOD: 'BREW'";
/// Text in complaints of the validator, and in reports of exceptions that Python cannot raise. The colon excludes the warn
/// statement that a traceback quotes.
const COMPLAINTS: [&str; 4] = ["AssertionError", "WSGIWarning: ", "garbage collected without", "Exception ignored"];

/// Runs all checks on a host that serves the framework's script at its root, in one process without earlier requests: the
/// scripts count in variables. Shuts the host down and checks its log. Panics at the first check that fails, and names it.
pub fn check(framework: &Framework, host: Box<dyn Served>) {
    let mut visitor = Visitor { framework, host: &*host, tracebacks: 0 };
    for (sentence, prove) in CHECKS {
        let proof = catch_unwind(AssertUnwindSafe(|| {
            prove(&mut visitor);
            visitor.look_at_log();
        }));
        if let Err(panic) = proof {
            eprintln!("not so with {}: {sentence}", framework.name);
            resume_unwind(panic);
        }
    }
    let tracebacks = visitor.tracebacks;
    let log = host.stop();
    let complete = format!("the complete log, with {}:\n{log}", framework.name);
    assert_eq!(log.matches("Traceback (").count(), tracebacks, "not as many tracebacks as exceptions in {complete}");
    assert!(log.contains(ERROR), "no {ERROR:?} in {complete}");
    assert!(log.contains(COMPLAINT), "no validator is around the application: no {COMPLAINT:?} in {complete}");
    assert_eq!(complaint_in(&log), None, "{complete}");
}

/// Returns the first line with a complaint, except the provoked one.
fn complaint_in(log: &str) -> Option<&str> {
    log.lines()
        .filter(|line| !line.contains(COMPLAINT))
        .find(|line| COMPLAINTS.iter().any(|complaint| line.contains(complaint)))
}

struct Visitor<'a> {
    framework: &'a Framework,
    host: &'a dyn Served,
    /// Number of tracebacks expected in the log.
    tracebacks: usize,
}

impl Visitor<'_> {
    /// Sends a request. Panics unless the response is complete and has the status.
    #[track_caller]
    fn send(&self, status: u16, request: Request) -> Response {
        let response = self.host.send(request.clone());
        if response.status != status || !response.whole {
            let log = self.host.log();
            panic!("a complete {status} was expected: {request:?}\n{}\nThe log so far:\n{log}", shown(&response));
        }
        response
    }

    #[track_caller]
    fn get(&self, target: &str) -> Response {
        self.send(200, get(target))
    }

    /// Sends HEAD. On a wire, the connection must end after the head.
    #[track_caller]
    fn head(&self, target: &str) -> Response {
        let request = get(target).method("HEAD").header("connection", "close");
        if self.host.address().is_some() {
            let mut client = self.host.connect();
            client.send(request.to_bytes());
            client.head();
            assert_eq!(String::from_utf8_lossy(&client.rest()), "", "after the head of {target}");
        }
        self.send(200, request)
    }

    /// Adds the CSRF token to a POST. The token is empty in frameworks without one.
    fn with_token(&self, request: Request) -> Request {
        let token = self.get("/form");
        request.header("cookie", jar(&token)).header("x-csrftoken", token.text())
    }

    #[track_caller]
    fn look_at_log(&self) {
        let log = self.host.log();
        assert_eq!(complaint_in(&log), None, "the log so far:\n{log}");
        let tracebacks = log.matches("Traceback (").count();
        assert!(tracebacks <= self.tracebacks, "an unexpected traceback is in the log:\n{log}");
    }
}

/// Returns a response for a message; of a long body only the length.
fn shown(response: &Response) -> String {
    let Response { status, headers, body, whole, .. } = response;
    let text = if body.len() < 2000 { response.text() } else { String::new() };
    format!("status {status}, whole: {whole}, headers {headers:#?}, {} bytes: {text}", body.len())
}

/// Returns the cookies of a response in the form that a client sends back.
fn jar(response: &Response) -> String {
    let cookies = response.all("Set-Cookie").into_iter();
    let pairs = cookies.map(|cookie| cookie.split(';').next().unwrap_or_default().trim());
    pairs.collect::<Vec<_>>().join("; ")
}

/// Returns the script, which is the content of `/file`.
fn script<'a>(visitor: &Visitor<'a>) -> &'a [u8] {
    visitor.framework.source.as_bytes()
}

fn page(visitor: &mut Visitor<'_>) {
    let response = visitor.get("/");
    assert_eq!(response.text(), "hello, world\n");
    assert_page_head(&response);
}

fn head(visitor: &mut Visitor<'_>) {
    let response = visitor.head("/");
    assert_eq!(response.text(), "");
    assert_page_head(&response);
}

#[track_caller]
fn assert_page_head(response: &Response) {
    let content_type = response.header("Content-Type").unwrap_or_default();
    assert!(content_type.starts_with("text/plain"), "{}", shown(response));
    assert_eq!(response.header("Content-Length"), Some("13"), "{}", shown(response));
}

fn forged_form(visitor: &mut Visitor<'_>) {
    let status = visitor.framework.refusal.unwrap_or(200);
    visitor.send(status, form_with(b"name=nobody"));
}

fn form(visitor: &mut Visitor<'_>) {
    let request = form_with(b"name=J%C3%BCrgen+M.&tag=a&tag=b%26c&text=one%0D%0Atwo&empty=");
    let response = visitor.send(200, visitor.with_token(request));
    assert_eq!(response.text(), "name=Jürgen M.\ntag=a\ntag=b&c\ntext=one\r\ntwo\nempty=\n");
}

fn form_with(fields: &[u8]) -> Request {
    post("/form", fields).header("content-type", "application/x-www-form-urlencoded")
}

fn upload(visitor: &mut Visitor<'_>) {
    // Longer than the part that a host keeps in memory, with a line that is almost a boundary.
    let mut content = b"\r\n--b0undar\r\n".to_vec();
    content.extend((0..300_000_u64).map(|number| ((number * number) >> 7) as u8));
    let opening = "--b0undary\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\ngrün & rot\r\n\
        --b0undary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"Bücher 1.bin\"\r\n\
        Content-Type: application/octet-stream\r\n\r\n";
    let body = [opening.as_bytes(), &content, b"\r\n--b0undary--\r\n"].concat();
    let request = post("/upload", &body).header("content-type", "multipart/form-data; boundary=b0undary");
    let response = visitor.send(200, visitor.with_token(request));
    // Digest of these bytes, by Python's hashlib.
    let digest = "301519c945bffb14078c5023fd384c03cae876ca23eb8f95ddbef724acda336a";
    assert_eq!(response.text(), format!("grün & rot\nBücher 1.bin\n{}\n{digest}\n", content.len()));
}

fn stream(visitor: &mut Visitor<'_>) {
    let blocks = (0..50).map(|number| format!("{number:03}\n").repeat(1000));
    let response = visitor.get("/stream");
    // Not by assert_eq!, which would print both texts in full.
    assert!(response.text() == blocks.collect::<String>(), "{}", shown(&response));
    // The iterable may be closed after the client has received the end.
    let closed =
        wait_for("the stream to be closed", || Some(visitor.get("/closed").text()).filter(|text| text != "0\n"));
    assert_eq!(closed, "1\n", "so often the stream was closed");
}

fn redirection(visitor: &mut Visitor<'_>) {
    let response = visitor.send(302, get("/redirect"));
    let location = response.header("Location").unwrap_or_default();
    assert!(location == "/" || location == "http://localhost/", "{}", shown(&response));
}

fn session(visitor: &mut Visitor<'_>) {
    let mut response = visitor.get("/session");
    assert_eq!(response.text(), "1\n");
    for visit in 2..4 {
        let cookies = jar(&response);
        response = visitor.send(200, get("/session").header("cookie", &cookies));
        assert_eq!(response.text(), format!("{visit}\n"), "with the cookies {cookies}");
    }
    assert_eq!(visitor.get("/session").text(), "1\n", "without a cookie");
}

fn echo(visitor: &mut Visitor<'_>) {
    assert_eq!(visitor.get("/echo/%C3%A9%20x+y?q=%C3%BC+1%2F2&other=").text(), "é x+y\nü 1/2\n");
}

fn cookies(visitor: &mut Visitor<'_>) {
    assert_eq!(jar(&visitor.get("/cookies")), "first=1; second=2");
}

fn empty(visitor: &mut Visitor<'_>) {
    let response = visitor.send(204, get("/empty"));
    assert!(response.body.is_empty() && response.all("Content-Type").is_empty(), "{}", shown(&response));
}

fn file(visitor: &mut Visitor<'_>) {
    let response = visitor.get("/file");
    assert!(response.body == script(visitor), "{}", shown(&response));
    assert_file_length(visitor, &response);
}

fn file_head(visitor: &mut Visitor<'_>) {
    let response = visitor.head("/file");
    assert!(response.body.is_empty(), "{}", shown(&response));
    assert_file_length(visitor, &response);
}

#[track_caller]
fn assert_file_length(visitor: &Visitor<'_>, response: &Response) {
    let length = script(visitor).len().to_string();
    assert_eq!(response.header("Content-Length"), Some(&*length), "{}", shown(response));
}

fn unchanged_file(visitor: &mut Visitor<'_>) {
    let response = visitor.get("/file");
    let modified = response.header("Last-Modified").unwrap_or_else(|| panic!("no Last-Modified: {}", shown(&response)));
    let response = visitor.send(304, get("/file").header("if-modified-since", modified));
    assert!(response.body.is_empty(), "{}", shown(&response));
}

fn part_of_file(visitor: &mut Visitor<'_>) {
    // For a framework without ranges, hosts behave differently.
    if visitor.framework.ranges {
        let content = script(visitor);
        let response = visitor.send(206, get("/file").header("range", "bytes=5-14"));
        assert_eq!(response.body, content[5..15], "{}", shown(&response));
        let range = format!("bytes 5-14/{}", content.len());
        assert_eq!(response.header("Content-Range"), Some(&*range), "{}", shown(&response));
    }
}

fn missing(visitor: &mut Visitor<'_>) {
    visitor.send(404, get("/missing"));
}

fn error(visitor: &mut Visitor<'_>) {
    visitor.tracebacks += visitor.framework.tracebacks;
    visitor.send(500, get("/error"));
}

fn complaint(visitor: &mut Visitor<'_>) {
    visitor.tracebacks += 1;
    visitor.send(500, get("/").method("BREW"));
}

#[cfg(test)]
mod tests {
    use super::{COMPLAINT, complaint_in};

    #[test]
    fn validator_lines_are_complaints_except_the_provoked_one() {
        for line in [
            "AssertionError: No Content-Type header found in headers ([])",
            "wsgiref.validate.WSGIWarning: QUERY_STRING is not in the WSGI environment",
            "Iterator garbage collected without being closed",
            "Exception ignored in: <function IteratorWrapper.__del__ at 0x7f>",
        ] {
            assert_eq!(complaint_in(&format!("before\n{line}\nafter")), Some(line));
        }
        assert_eq!(complaint_in(&format!("[error] wsgiref.validate.{COMPLAINT}\n  WSGIWarning)\n")), None);
    }
}
