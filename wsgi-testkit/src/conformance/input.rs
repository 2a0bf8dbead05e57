//! `wsgi.input`, compared with Python's files (PEP 3333, "Input and Error Streams").

use std::fmt::Write as _;

use super::host::{HostUnderTest, Site, get, post};
use crate::{Body, Request};

/// Reads the body by the steps in the query, and an `io.BytesIO` in the same way; answers with the first difference.
const COMPARE: &str = "
import io

METHODS = {'r': 'read', 'l': 'readline', 'L': 'readlines', 's': 'seek', 't': 'tell'}

def take(stream, step):
    if step == 'n':
        return next(stream, 'the end')
    arguments = [None if word == 'None' else int(word) for word in step[1:].split(',') if word]
    return getattr(stream, METHODS[step[0]])(*arguments)

def kinds(result):
    return type(result), [type(item) for item in result] if type(result) is list else None

def application(environ, start_response):
    length, *steps = environ['QUERY_STRING'].split('&')
    whole = (UNIT * (int(length) // len(UNIT) + 1))[:int(length)]
    stream, file = environ['wsgi.input'], io.BytesIO(whole)
    answer = 'as a file'
    if environ['PATH_INFO'] == '/again' and not hasattr(stream, 'seek'):
        answer, steps = 'as it arrives', []
    for number, step in enumerate(steps):
        found, expected = take(stream, step), take(file, step)
        if found != expected or kinds(found) != kinds(expected):
            answer = f'step {number}, {step}: {found!r:.99} instead of {expected!r:.99}'
            break
    start_response('200 OK', [])
    return [answer.encode()]
";

pub(super) fn body_of_known_length_reads_as_a_file_does(host: &dyn HostUnderTest) {
    reads_as_a_file_does(host, |request| request);
}

/// nginx has stored it in a file by then; other hosts may still be decoding it.
pub(super) fn chunked_body_reads_as_a_file_does(host: &dyn HostUnderTest) {
    reads_as_a_file_does(host, Request::unknown_length);
}

fn reads_as_a_file_does(host: &dyn HostUnderTest, framed: fn(Request) -> Request) {
    let site = host.serve(Site::new(format!("UNIT = bytes.fromhex('{}')\n{COMPARE}", hex(&unit()))));
    let mut dice = Dice(1);
    for (length, pieces, times) in [(0, 1, 4), (1, 1, 8), (100 << 10, 13, 24), (3 << 20, 10_000, 6)] {
        let body: Vec<u8> = unit().into_iter().cycle().take(length).collect();
        for arrival in [Body::Whole, Body::Pieces(pieces)] {
            for _ in 0..times {
                let target = format!("/?{length}{}", steps(&mut dice, length));
                let answer = site.send(framed(post(&target, &body).body_arrives(arrival))).ok();
                assert_eq!(answer, "as a file", "{target}, {arrival:?}");
            }
        }
    }
}

/// Zope reads bodies twice, and libraries determine a length with `seek(0, 2)`. A body that is read as it arrives does not
/// have these methods: `hasattr` is false.
pub(super) fn body_that_is_complete_can_be_read_again_as_a_file_can(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(format!("UNIT = bytes.fromhex('{}')\n{COMPARE}", hex(&unit()))));
    let mut dice = Dice(3);
    for (length, times) in [(1, 8), (100 << 10, 24), (3 << 20, 6)] {
        let body: Vec<u8> = unit().into_iter().cycle().take(length).collect();
        for _ in 0..times {
            let mut steps = steps(&mut dice, length);
            for _ in 0..8 {
                let (to, back) = (dice.roll(length + length / 8 + 2), dice.roll(length + 9));
                let seek = [format!("s{to}"), format!("s{to},0"), format!("s-{back},1"), format!("s-{back},2")];
                let _ = write!(steps, "&t&{}&t&r{}&l9&t", seek[dice.roll(4)], dice.roll(20_000));
            }
            let target = format!("/again?{length}{steps}&s0&r&t&r1&s0,2&t&s0&l");
            let arrives = |request: Request| site.send(request).ok();
            for (request, is_collected) in [
                (post(&target, &body), host.traits().collects_body),
                (post(&target, &body).unknown_length(), host.traits().collects_chunks),
            ] {
                let answer = arrives(request);
                let right = answer == "as a file" || (!is_collected && answer == "as it arrives");
                assert!(right, "{target}: {answer:?}");
            }
        }
    }
}

/// Returns steps that read a body to its end. They fit into a request line.
fn steps(dice: &mut Dice, length: usize) -> String {
    let mut steps = String::new();
    for _ in 0..dice.roll(40) {
        let size = match dice.roll(12) {
            0..=4 => dice.roll(12),
            5..=8 => dice.roll(20_000),
            9..=10 => dice.roll(2 * length + 2),
            _ => usize::MAX >> 1,
        };
        let _ = match dice.roll(24) {
            0 => write!(steps, "&r"),
            1 => write!(steps, "&{}", ["r-1", "rNone", "L-1", "LNone"][dice.roll(4)]),
            2 => write!(steps, "&{}", ["L", "L0", "l-1", "lNone"][dice.roll(4)]),
            3..=9 => write!(steps, "&r{size}"),
            10..=12 => write!(steps, "&l"),
            13..=16 => write!(steps, "&l{size}"),
            17..=20 => write!(steps, "&L{size}"),
            _ => write!(steps, "&n"),
        };
    }
    steps + "&r&r&r1&r0&l&l5&L&L1&n&n&r-1"
}

/// Returns the unit that bodies repeat: lines of many lengths, the longest above the size of any buffer for lines.
fn unit() -> Vec<u8> {
    let mut dice = Dice(2);
    let mut bytes = Vec::new();
    for length in [3, 0, 0, 70, 1, 9_000, 12, 255, 1_000] {
        bytes.extend((0..length).map(|_| dice.roll(256) as u8).map(|byte| if byte == b'\n' { b'\r' } else { byte }));
        bytes.push(b'\n');
    }
    bytes.extend(b"no newline between one unit and the next");
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reproducible pseudo-random numbers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// Returns the result of one expression that reads the body, where `body` is the stream.
fn reads(host: &dyn HostUnderTest, body: &[u8], expression: &str) -> String {
    let site = host.serve(Site::new(format!(
        "
def application(environ, start_response):
    body = environ['wsgi.input']
    result = {expression}
    start_response('200 OK', [])
    return [repr(result).encode()]
"
    )));
    let whole = site.post("/", body).ok();
    for request in [post("/", body).unknown_length(), post("/", body).body_arrives(Body::Pieces(2))] {
        assert_eq!(site.send(request).ok(), whole, "it depends on how the body arrives");
    }
    whole
}

pub(super) fn read_gives_so_many_bytes_and_without_an_argument_the_rest(host: &dyn HostUnderTest) {
    let found = reads(host, b"one\ntwo\n\0\xff", "[body.read(2), body.read(0), body.read(), body.read()]");
    assert_eq!(found, r"[b'on', b'', b'e\ntwo\n\x00\xff', b'']");
    for rest in ["body.read(-1)", "body.read(None)", "body.read(100)", "body.read(2 ** 62)"] {
        assert_eq!(reads(host, b"abcdef", &format!("[body.read(4), {rest}]")), "[b'abcd', b'ef']", "{rest}");
    }
}

pub(super) fn readline_splits_a_line_that_is_longer_than_its_size(host: &dyn HostUnderTest) {
    let found = reads(
        host,
        b"abcde\n\r\nlast",
        "[body.readline(size) for size in (2, 0, 3, 3, 10, -1, 10)] + [body.readline()]",
    );
    assert_eq!(found, r"[b'ab', b'', b'cde', b'\n', b'\r\n', b'last', b'', b'']");
}

pub(super) fn readlines_gives_whole_lines_until_its_hint_is_reached(host: &dyn HostUnderTest) {
    let found = reads(host, b"ab\ncd\nef\ngh\ni", "[body.readlines(1), body.readlines(6), body.readlines()]");
    assert_eq!(found, r"[[b'ab\n'], [b'cd\n', b'ef\n'], [b'gh\n', b'i']]");
    for every in ["body.readlines(0)", "body.readlines(-1)", "body.readlines(None)"] {
        assert_eq!(reads(host, b"a\nb", every), r"[b'a\n', b'b']", "{every}");
    }
}

pub(super) fn iteration_gives_the_lines_of_readlines(host: &dyn HostUnderTest) {
    let body = b"one\n\ntwo\r\nlast";
    let lines = reads(host, body, "body.readlines()");
    assert_eq!(lines, r"[b'one\n', b'\n', b'two\r\n', b'last']");
    assert_eq!(reads(host, body, "[line for line in body]"), lines);
    assert_eq!(reads(host, body, "list(iter(body))"), lines);
    assert_eq!(reads(host, body, "list(map(next, [iter(body)] * 4)) + list(body)"), lines);
}

pub(super) fn last_line_without_a_newline_is_whole(host: &dyn HostUnderTest) {
    for expression in ["body.readline()", "body.readline(10)", "body.readlines()[0]", "next(iter(body))"] {
        assert_eq!(reads(host, b"no end", expression), "b'no end'", "{expression}");
    }
}

pub(super) fn all_ways_to_read_share_one_position(host: &dyn HostUnderTest) {
    let found = reads(
        host,
        b"one\ntwo\nthree\nfour\nfive\nsix",
        "[body.readline(), body.read(1), next(iter(body)), body.readlines(1), body.readline(1), body.read(6)] \
         + list(body)",
    );
    assert_eq!(found, r"[b'one\n', b't', b'wo\n', [b'three\n'], b'f', b'our\nfi', b've\n', b'six']");
}

pub(super) fn all_read_methods_return_bytes(host: &dyn HostUnderTest) {
    let kinds = "{type(part).__name__ for part in [body.read(0), body.read(1), body.readline(), *body.readlines(1), \
                 next(iter(body)), body.read(), body.read(), body.read(1), body.readline()]}";
    assert_eq!(reads(host, b"one\ntwo\nthree\nfour", kinds), "{'bytes'}");
    assert_eq!(reads(host, b"a", "[type(body.readlines()).__name__, body.readlines()]"), "['list', []]");
}

pub(super) fn invalid_read_size_is_refused_as_by_a_file(host: &dyn HostUnderTest) {
    let source = "
import io
def refusal(stream, method, arguments):
    try:
        return getattr(stream, method)(*arguments)
    except Exception as error:
        return type(error).__name__

def application(environ, start_response):
    answers = []
    for method in ['read', 'readline', 'readlines']:
        for arguments in [('1',), (1.0,), (b'1',), (1, 2), (object(),), (2 ** 70,)]:
            found, expected = (refusal(stream, method, arguments) for stream in (environ['wsgi.input'], io.BytesIO()))
            if found != expected:
                answers.append(f'{method}{arguments} gives {found} instead of {expected}')
    answers.append(environ['wsgi.input'].read().decode())
    start_response('200 OK', [])
    return ['; '.join(answers).encode()]
";
    let site = host.serve(Site::new(source));
    assert_eq!(site.post("/", b"body").ok(), "body", "the position has moved, or sizes are read differently");
}

/// No read may wait for bytes that the client does not send.
pub(super) fn input_without_a_body_is_at_its_end_at_once(host: &dyn HostUnderTest) {
    let source = "
def application(environ, start_response):
    body = environ['wsgi.input']
    parts = [body.read(), body.read(1), body.readline(), body.readline(5), body.readlines(), list(body), body.read(0)]
    parts += [body.tell(), body.seek(0), body.seek(0, 2), body.read()]
    start_response('200 OK', [])
    return [repr(parts).encode()]
";
    let site = host.serve(Site::new(source));
    for request in [
        get("/"),
        get("/").header("content-length", "0"),
        get("/").http_1_0(),
        post("/", b""),
        post("/", b"").header("content-length", "0"),
        get("/").method("DELETE"),
    ] {
        let answer = site.send(request.clone()).ok();
        assert_eq!(answer, "[b'', b'', b'', b'', [], [], b'', 0, 0, 0, b'']", "{request:?}");
    }
}

pub(super) fn application_reads_a_chunked_body_decoded(host: &dyn HostUnderTest) {
    let source = "
def application(environ, start_response):
    facts = [environ.get('HTTP_TRANSFER_ENCODING'), environ.get('CONTENT_LENGTH'), environ['wsgi.input'].read()]
    start_response('200 OK', [])
    return [repr(facts).encode()]
";
    let site = host.serve(Site::new(source));
    // A length is set only if it is known before the application is called.
    let length = if host.traits().collects_chunks { "'11'" } else { "None" };
    let request = post("/", b"chunk\r\nbody").unknown_length().body_arrives(Body::Pieces(4));
    assert_eq!(site.send(request).ok(), format!(r"[None, {length}, b'chunk\r\nbody']"));
}

/// Not in PEP 3333; a convention of servers, which frameworks check before they read without a length.
pub(super) fn wsgi_input_terminated_is_set(host: &dyn HostUnderTest) {
    let source = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [repr(environ['wsgi.input_terminated']).encode()]
";
    let site = host.serve(Site::new(source));
    for request in [get("/"), post("/", b"body"), post("/", b"body").unknown_length()] {
        assert_eq!(site.send(request).ok(), "True");
    }
}

pub(super) fn closing_the_input_breaks_nothing(host: &dyn HostUnderTest) {
    let source = "
def application(environ, start_response):
    body = environ['wsgi.input']
    parts = [body.read(2)]
    body.close()
    body.close()
    parts.append(body.read())
    start_response('200 OK', [])
    return parts
";
    let site = host.serve(Site::new(source));
    for _ in 0..2 {
        assert_eq!(site.post("/", b"in parts").ok(), "in parts");
    }
}

pub(super) fn input_can_be_read_while_the_response_is_produced(host: &dyn HostUnderTest) {
    let source = "
def application(environ, start_response):
    start_response('200 OK', [])
    yield b'lines:'
    for line in environ['wsgi.input']:
        yield line
";
    let site = host.serve(Site::new(source));
    let body = "one line of many\n".repeat(5_000);
    for request in [post("/", body.as_bytes()), post("/", body.as_bytes()).unknown_length()] {
        assert_eq!(site.send(request).ok(), format!("lines:{body}"));
    }
}

/// An application may keep the stream for any time after its request has ended.
pub(super) fn input_expires_with_its_request(host: &dyn HostUnderTest) {
    let source = "
kept = []
def refused(read):
    try:
        return repr(read())
    except (RuntimeError, ValueError) as error:
        return 'request is over' in str(error)

def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/keep':
        kept[:] = [environ['wsgi.input']]
        return [kept[0].read(3)]
    late = kept[0]
    reads = [late.read, lambda: late.read(0), late.readline, late.readlines, lambda: next(late), lambda: list(late)]
    return [repr([refused(read) for read in reads]).encode()]
";
    let site = host.serve(Site::new(source));
    // A large body may be in a file, which is also closed with the request.
    for lines in [100, 20_000] {
        assert_eq!(site.post("/keep", &b"line\n".repeat(lines)).ok(), "lin");
        site.eventually("/late", "[True, True, True, True, True, True]");
    }
}
