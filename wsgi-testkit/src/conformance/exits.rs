//! Every way in which an application can end a request, with a body that a host would take for a request if it lost the
//! position.

use std::fmt::Write as _;

use super::host::{HostUnderTest, Site};
use super::probe::{After, Probe};
use crate::figure;
use crate::wire::request;

const WAYS: &str = "
class Closing(list):
    def close(self):
        raise ValueError('in close')

def reads_all(environ, start_response):
    environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [b'reads_all']
def reads_some(environ, start_response):
    environ['wsgi.input'].read(3)
    start_response('200 OK', [])
    return [b'reads_some']
def reads_a_line(environ, start_response):
    start_response('200 OK', [])
    environ['wsgi.input'].readline()
    yield b'reads_a_line'
def reads_nothing(environ, start_response):
    start_response('200 OK', [])
    return [b'reads_nothing']
def streams(environ, start_response):
    start_response('200 OK', [])
    yield b'str'
    yield b'eams'
def writes(environ, start_response):
    start_response('200 OK', [])(b'wri')
    return [b'tes']
def is_empty(environ, start_response):
    start_response('200 OK', [])
    return []
def closes_badly(environ, start_response):
    start_response('200 OK', [])
    return Closing([b'closes_badly'])
def gives_too_much(environ, start_response):
    start_response('200 OK', [('Content-Length', '14')])
    yield b'gives_too_much, and more'
def is_too_large(environ, start_response):
    start_response('413 Content Too Large', [])
    return [b'is_too_large']
def asks_for_credentials(environ, start_response):
    start_response('401 Unauthorized', [('WWW-Authenticate', 'Basic')])
    return [b'asks_for_credentials']
def has_no_content(environ, start_response):
    start_response('204 No Content', [])
    return [b'x']
def is_not_modified(environ, start_response):
    start_response('304 Not Modified', [])
    return [b'x']
def resets(environ, start_response):
    start_response('205 Reset Content', [])
    return [b'x']
def raises_at_once(environ, start_response):
    raise ValueError('at once')
def raises_later(environ, start_response):
    start_response('200 OK', [('Content-Length', '3')])
    raise ValueError('later')
def raises_in_the_first_step(environ, start_response):
    start_response('200 OK', [])
    raise ValueError('in the first step')
    yield b'x'
def exits(environ, start_response):
    raise SystemExit(1)
def gives_nothing(environ, start_response):
    start_response('200 OK', [])
def never_starts(environ, start_response):
    return [b'x']
def splits(environ, start_response):
    start_response('200 OK', [('X-A', 'a\\r\\nX-B: b')])
    return [b'x']
def raises_half_way(environ, start_response):
    start_response('200 OK', [])
    yield b'raises_'
    raise ValueError('half way')
def gives_too_little(environ, start_response):
    start_response('200 OK', [('Content-Length', '100')])
    yield b'gives_'

seen = []
def not_asked_for(environ, start_response):
    start_response('200 OK', [])
    return [repr(seen).encode()]

def application(environ, start_response):
    name = environ['PATH_INFO'][1:]
    if name not in globals():
        seen.append(name)
    return globals()[name](environ, start_response)
";

/// The ways in which the application ends a request, and the resulting status. The body is the name, if there is one.
const EXITS: [(&str, u16); 23] = [
    ("reads_all", 200),
    ("reads_some", 200),
    ("reads_a_line", 200),
    ("reads_nothing", 200),
    ("streams", 200),
    ("writes", 200),
    ("is_empty", 200),
    ("closes_badly", 200),
    ("gives_too_much", 200),
    ("is_too_large", 413),
    ("asks_for_credentials", 401),
    ("has_no_content", 204),
    ("is_not_modified", 304),
    ("resets", 205),
    ("raises_at_once", 500),
    ("raises_later", 500),
    ("raises_in_the_first_step", 500),
    ("exits", 500),
    ("gives_nothing", 500),
    ("never_starts", 500),
    ("splits", 500),
    ("raises_half_way", CUT),
    ("gives_too_little", CUT),
];

/// Marks a failure after the head has been sent.
const CUT: u16 = 0;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// In every way, and for every form of the body, the host reads the body or closes the connection. A request behind it is
/// answered as if it had been sent alone.
pub(super) fn no_response_leaves_request_body_bytes_on_the_connection(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(Probe::ANSWER.to_owned() + WAYS));
    let (mut number, mut answered, mut ended, mut cut, mut stray) = (0, 0, 0, 0, 0);
    let mut problems = String::new();
    for method in METHODS {
        for (way, status) in EXITS {
            for (body, small, bytes) in bodies(method, way) {
                number += 1;
                let mut client = site.connect();
                client.send([bytes, Probe::new(number).bytes()].concat());
                let response = client.final_response(method);
                let after = Probe::new(number).after(&mut client);
                // A response without a body has no later step that could fail.
                let status = if method == "HEAD" && status == CUT { 200 } else { status };
                let text = if method == "HEAD" || way == "is_empty" { "" } else { way };
                let exact = match status {
                    CUT => !response.whole && text.starts_with(&response.text()),
                    // The host's error page.
                    500 => response.status == 500 && response.whole,
                    204 | 205 | 304 => response.status == status && response.body.is_empty() && response.whole,
                    _ => response.status == status && response.text() == text && response.whole,
                };
                // A host may close the connection to a client whose body is not read, unless it has received the body
                // already.
                let read = host.traits().collects_body || way == "reads_all" || small;
                let right = match after {
                    After::Answer => status != CUT,
                    After::End => matches!(status, CUT | 500) || !read,
                    After::Stray(_) => false,
                };
                match after {
                    After::Answer => answered += 1,
                    After::End if status == CUT => cut += 1,
                    After::End => ended += 1,
                    After::Stray(count) => stray += count,
                }
                if !exact || !right {
                    let _ = writeln!(problems, "{method} {way}, {body}: {response:?}, then {after:?}");
                }
            }
        }
    }
    let taken = site.get("/not_asked_for").ok();
    figure(
        "S1",
        &format!(
            "{number} ways out of a request on {}: behind them {answered} probes answered exactly, {cut} connections cut, \
             {ended} ended, {stray} stray bytes; bodies taken for requests: {taken}",
            host.name()
        ),
    );
    assert!(problems.is_empty(), "{problems}");
    assert_eq!(taken, "[]");
}

/// Returns requests with a body that is a request itself, and for each, whether a host must read the body even if the
/// application does not, because it is short and has arrived.
fn bodies(method: &str, way: &str) -> Vec<(&'static str, bool, Vec<u8>)> {
    let small = request("GET", "/smuggled", "", b"");
    let large = small.repeat(5_000);
    let target = format!("/{way}");
    let of_length = |body: &[u8]| request(method, &target, "", body);
    let chunked = |body: &[u8]| {
        let head = request(method, &target, "Transfer-Encoding: chunked\r\n", b"");
        [&head, format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
    };
    let expected = {
        let fields = format!("Expect: 100-continue\r\nContent-Length: {}\r\n", small.len());
        [request(method, &target, &fields, b""), small.clone()].concat()
    };
    let mut bodies = vec![
        ("no body", true, of_length(b"")),
        ("a length", true, of_length(&small)),
        ("chunks", false, chunked(&small)),
        ("a length after Expect", false, expected),
    ];
    if method == "POST" {
        bodies.push(("a large length", false, of_length(&large)));
        bodies.push(("large chunks", false, chunked(&large)));
    }
    bodies
}
