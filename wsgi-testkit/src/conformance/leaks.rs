//! Error responses reveal nothing to clients but a status (CWE-209).

use std::fmt::Write as _;

use super::host::{HostUnderTest, Served, Site};
use crate::figure;
use crate::wire::request;

const FAILS: &str = "
import sys

class Closing(list):
    def close(self):
        raise ValueError('a secret in close')

def where(environ, start_response):
    start_response('200 OK', [])
    folder, _, name = __file__.rpartition('/')
    words = [folder, name, __name__, sys.prefix, sys.base_prefix, sys.version.split()[0], environ.get('SERVER_SOFTWARE', '')]
    return ['\\n'.join(words).encode()]
def raises(environ, start_response):
    raise ValueError('a secret')
def raises_after_the_call(environ, start_response):
    start_response('200 OK', [('X-Secret', 'a secret')])
    raise ValueError('a secret')
def raises_in_the_first_step(environ, start_response):
    start_response('200 OK', [('X-Secret', 'a secret')])
    raise ValueError('a secret')
    yield b''
def raises_half_way(environ, start_response):
    start_response('200 OK', [])
    yield b'half'
    raise ValueError('a secret')
def raises_in_close(environ, start_response):
    start_response('200 OK', [])
    return Closing([b'whole'])
def imports(environ, start_response):
    import there_is_no_secret_module
def exits(environ, start_response):
    sys.exit('a secret')
def recurses(environ, start_response):
    return recurses(environ, start_response)
def gives_nothing(environ, start_response):
    start_response('200 OK', [('X-Secret', 'a secret')])
def gives_text(environ, start_response):
    start_response('200 OK', [('X-Secret', 'a secret')])
    return ['a secret']
def gives_numbers(environ, start_response):
    start_response('200 OK', [])
    yield b'half'
    yield 5
def never_starts(environ, start_response):
    return [b'a secret']
def has_a_bad_status(environ, start_response):
    start_response('a secret', [])
def has_a_bad_header(environ, start_response):
    start_response('200 OK', [('a secret', 'a secret')])
def has_a_bad_value(environ, start_response):
    start_response('200 OK', [('X-A', 'a secret\\n')])
def has_a_bad_length(environ, start_response):
    start_response('200 OK', [('Content-Length', 'a secret')])
def writes_too_much(environ, start_response):
    start_response('200 OK', [('Content-Length', '1')])(b'a secret')
def gives_too_little(environ, start_response):
    start_response('200 OK', [('Content-Length', '9')])
    return [b'half']
def decodes(environ, start_response):
    environ['PATH_INFO'].encode('latin-1').decode('ascii').encode('ascii') + b'\\xff'.decode('utf-8').encode()
def reads(environ, start_response):
    environ['wsgi.input'].read('a secret')

def application(environ, start_response):
    return globals()[environ['PATH_INFO'][1:]](environ, start_response)
";

/// Scripts that cannot be loaded.
const BROKEN: [&str; 6] = [
    "def application(environ, start_response):\n    return [ # a secret\n",
    "import there_is_no_secret_module\n",
    "raise ValueError('a secret')\n",
    "import sys\nsys.exit('a secret')\n",
    "application = 'a secret'\n",
    "app = 'a secret'\n",
];

/// Words that occur in tracebacks, messages and paths, in lower case.
const TELLING: [&str; 12] = [
    "traceback",
    "file \"",
    ".py",
    "line ",
    "error:",
    "exception",
    "secret",
    "python",
    "site-packages",
    "panicked",
    "/home",
    "/tmp",
];

pub(super) fn no_error_reveals_details_of_the_server(host: &dyn HostUnderTest) {
    check_leaks(host, &refused());
}

/// Provokes errors in applications, in scripts and by the `malformed` requests, each with a name for messages. Panics if an
/// answer has the error, its place, or a name or version of the software: those are in the log.
pub fn check_leaks(host: &dyn HostUnderTest, malformed: &[(&str, Vec<u8>)]) {
    let mut answers = Vec::new();
    let site = host.serve(Site::new(FAILS));
    let words = site.get("/where").ok();
    let words: Vec<_> = words.lines().chain(TELLING).map(str::to_lowercase).filter(|word| word.len() > 2).collect();
    assert!(words.len() > TELLING.len() + 4, "{words:?}");
    let functions = FAILS.lines().filter_map(|line| line.strip_prefix("def ")?.split('(').next());
    for function in functions.filter(|function| !matches!(*function, "where" | "application")) {
        for method in ["GET", "POST", "HEAD"] {
            answers.push((
                format!("{method} {function}"),
                raw(&*site, &request(method, &format!("/{function}"), CLOSE, b"")),
            ));
        }
    }
    // No such function: raises KeyError.
    answers.push(("GET no function".to_owned(), raw(&*site, &request("GET", "/there-is-none", CLOSE, b""))));
    for (name, bytes) in malformed {
        answers.push(((*name).to_owned(), raw_after_end(&*site, bytes)));
    }
    for source in BROKEN {
        let site = host.serve(Site::new(source));
        answers.push((source.to_owned(), raw(&*site, &request("GET", "/", CLOSE, b""))));
    }
    let site = host.serve(Site::new(FAILS).at("/mounted"));
    answers.push(("another place".to_owned(), raw(&*site, &request("GET", "/elsewhere", CLOSE, b""))));

    let (mut hits, mut errors, mut problems) = (0, 0, String::new());
    for (name, answer) in &answers {
        errors += usize::from(["4", "5"].iter().any(|class| answer.starts_with(&format!("http/1.1 {class}"))));
        for word in words.iter().filter(|word| answer.contains(*word)) {
            hits += 1;
            let _ = writeln!(problems, "{name}: {word:?} is in {answer:?}");
        }
    }
    let count = answers.len();
    figure(
        "S7",
        &format!("{hits} hits of {} words in {count} answers of {}, {errors} of them errors", words.len(), host.name()),
    );
    assert!(problems.is_empty(), "{problems}");
    assert!(errors > count / 2, "only {errors} of {count} are errors");
}

/// Returns malformed requests: one for each kind of error that servers answer by themselves.
fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n").into_bytes();
    let head = |fields: &str| format!("GET /a HTTP/1.1\r\n{fields}\r\n").into_bytes();
    let body = |fields: &str, body: &str| format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}").into_bytes();
    let chunks = |chunks: &str| body("Transfer-Encoding: chunked\r\n", chunks);
    vec![
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("a method with a parenthesis", line("G(T /a HTTP/1.1")),
        ("CONNECT", line("CONNECT a:80 HTTP/1.1")),
        ("TRACE", line("TRACE /a HTTP/1.1")),
        ("HTTP/0.9", line("GET /a HTTP/0.9")),
        ("HTTP/2.0", line("GET /a HTTP/2.0")),
        ("a version of another protocol", line("GET /a RTSP/1.0")),
        ("a bare CR in the first line", line("GET /a\r HTTP/1.1")),
        ("dots above the root", line("GET /../a HTTP/1.1")),
        ("an escape that is no number", line("GET /a%zz HTTP/1.1")),
        ("an escape of NUL", line("GET /a%00 HTTP/1.1")),
        ("a target of 70,000 bytes", line(&format!("GET /{} HTTP/1.1", "a".repeat(70_000)))),
        ("no Host", head("")),
        ("two Hosts", head("Host: a\r\nHost: b\r\n")),
        ("a Host with a slash", head("Host: a/b\r\n")),
        ("a field without a name", head("Host: a\r\n: b\r\n")),
        ("a space before a colon", head("Host: a\r\nX : y\r\n")),
        ("a value with NUL", head("Host: a\r\nX: \0\r\n")),
        ("a value of 70,000 bytes", head(&format!("Host: a\r\nX: {}\r\n", "x".repeat(70_000)))),
        ("1,200 fields", head(&format!("Host: a\r\n{}", "X: y\r\n".repeat(1_200)))),
        ("an unknown expectation", head("Host: a\r\nExpect: 200-ok\r\n")),
        ("a length that is no number", body("Content-Length: x\r\n", "abc")),
        ("two lengths", body("Content-Length: 3\r\nContent-Length: 0\r\n", "abc")),
        ("a length of 2^63", body("Content-Length: 9223372036854775808\r\n", "abc")),
        ("a length and a coding", body("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("an unknown coding", body("Transfer-Encoding: gzip\r\n", "abc")),
        ("a body that ends too early", body("Content-Length: 9\r\n", "abc")),
        ("a chunk size that is no number", chunks("x\r\nabc\r\n0\r\n\r\n")),
        ("a chunk size that overflows", chunks("10000000000000003\r\nabc\r\n0\r\n\r\n")),
        ("a chunk that is longer than its size", chunks("3\r\nabcd\r\n0\r\n\r\n")),
        ("no last chunk", chunks("3\r\nabc\r\n")),
    ]
}

const CLOSE: &str = "Connection: close\r\n";

/// Returns the whole response to a request with `Connection: close`, in lower case.
fn raw(site: &dyn Served, bytes: &[u8]) -> String {
    let mut client = site.connect();
    client.send(bytes);
    String::from_utf8_lossy(&client.rest()).to_lowercase()
}

/// As [`raw`], for malformed requests. The client closes its sending side, because the server may wait for more; a server may
/// drop a valid request then.
fn raw_after_end(site: &dyn Served, bytes: &[u8]) -> String {
    let mut client = site.connect();
    client.send(bytes);
    client.end();
    String::from_utf8_lossy(&client.rest()).to_lowercase()
}
