//! Applications in a real Python, on threads of the pool: the promises of PEP 3333, observed by the host.

use wsgi_core::error::{Fault, HostError};
use wsgi_core::host::Level;
use wsgi_testkit::{Body, Captured, Event, Faults, Host, get, post};

fn run(source: &str, request: wsgi_testkit::Request) -> Captured {
    let host = Host::shared();
    host.send(&host.app(source), request)
}

#[test]
fn list_is_sent_complete_with_its_length() {
    let response = run(
        "def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello ', b'', b'world']
",
        get("/"),
    );
    assert_eq!(response.text(), "hello world");
    assert_eq!(response.content_length(), Some(11));
    assert_eq!(response.header("content-type"), ["text/plain"]);
    assert!(response.is_complete());
}

#[test]
fn environ_is_a_fresh_dict_of_str() {
    let response = run(
        "def application(environ, start_response):
    wrong = [key for key, value in environ.items() if not key.startswith('wsgi') and type(value) is not str]
    left = 'left.behind' in environ
    environ['left.behind'] = 1
    start_response('200 OK', [])
    text = repr((type(environ) is dict, wrong, left, environ['wsgi.version'], environ['REQUEST_METHOD'],
                 environ['PATH_INFO'], environ['QUERY_STRING'], environ['HTTP_X_A'], environ['SERVER_NAME']))
    return [text.encode()]
",
        get("/p?q=1").header("x-a", "b"),
    );
    assert_eq!(response.text(), "(True, [], False, (1, 0), 'GET', '/p', 'q=1', 'b', 'testkit')");
}

#[test]
fn gateway_objects_cannot_be_made_copied_derived_or_changed_by_applications() {
    let response = run(
        "import copy, sys
def application(environ, start_response):
    write = start_response('200 OK', [])
    done = []
    for thing in start_response, write, environ['wsgi.input'], environ['wsgi.errors']:
        kind = type(thing)
        attempts = {
            'made': [kind, lambda: kind.__new__(kind), lambda: object.__new__(kind)],
            'copied': [lambda: copy.copy(thing), lambda: copy.deepcopy(thing), lambda: thing.__reduce_ex__(4)],
            'derived': [lambda: type('Derived', (kind,), {})],
            'given attributes': [lambda: setattr(thing, 'extra', 1), lambda: setattr(thing, '__class__', object)],
        }
        if sys.version_info >= (3, 10):
            attempts['changed'] = [lambda: setattr(kind, '__call__', print), lambda: setattr(kind, 'read', print)]
        for name, ways in attempts.items():
            for way in ways:
                try:
                    way()
                except (TypeError, AttributeError):
                    continue
                done.append((kind.__name__, name))
    return [repr(done).encode()]
",
        get("/"),
    );
    assert_eq!(response.text(), "[]");
}

#[test]
fn headers_that_come_and_go_leave_the_rest_of_environ_alone() {
    let host = Host::shared();
    let app = host.app(
        "def application(environ, start_response):
    start_response('200 OK', [])
    count = len(environ)
    names = sorted(key for key in environ if key.startswith('HTTP_'))
    return [repr((count - len(names), [(key, environ[key]) for key in names], environ['PATH_INFO'])).encode()]
",
    );
    const NAMES: [&str; 8] = ["x-a", "x-b", "x-c", "x-d", "x-e", "x-f", "x-g", "x-h"];
    let others = host.send(&app, get("/")).text();
    let (others, _) = others.split_once(',').expect("a tuple");
    // Each set follows many others, so that the gateway's dict is updated many times.
    for round in 0..300usize {
        let set = round * 37 % 256;
        let chosen = NAMES.iter().enumerate().filter(|(bit, _)| set & 1 << bit != 0);
        let mut request = get("/there");
        let mut expected = Vec::new();
        for (bit, name) in chosen {
            let value = format!("{round}.{bit}");
            expected.push(format!("('HTTP_{}', '{value}')", name.to_uppercase().replace('-', "_")));
            request = request.header(name, value);
        }
        let expected = format!("{others}, [{}], '/there')", expected.join(", "));
        assert_eq!(host.send(&app, request).text(), expected, "round {round}");
    }
}

#[test]
fn an_exception_before_the_head_is_500_with_a_traceback_in_the_log() {
    let response = run(
        "def application(environ, start_response):
    start_response('200 OK', [('ETag', 'x')])
    raise ValueError('%s %d')
",
        get("/"),
    );
    assert_eq!(response.status(), 500);
    assert!(response.head().is_none());
    assert!(response.log_text(Level::Error).contains("ValueError: %s %d"));
    assert!(!response.is_complete());
}

#[test]
fn an_exception_after_the_head_leaves_the_response_incomplete_and_closes_once() {
    let response = run(
        "class Blocks:
    def __init__(self, errors): self.errors, self.left = errors, 2
    def __iter__(self): return self
    def __next__(self):
        self.left -= 1
        if not self.left: raise OSError('gone')
        return b'block'
    def close(self): self.errors.write('closed\\n')
def application(environ, start_response):
    start_response('200 OK', [])
    return Blocks(environ['wsgi.errors'])
",
        get("/"),
    );
    assert_eq!(response.text(), "block");
    assert!(!response.is_complete());
    assert_eq!(response.log_text(Level::Error).matches("closed").count(), 1);
}

#[test]
fn system_exit_is_an_exception_like_others() {
    let response = run("import sys\ndef application(environ, start_response):\n    sys.exit(3)\n", get("/"));
    assert_eq!(response.status(), 500);
    assert!(response.log_text(Level::Error).contains("SystemExit"));
}

#[test]
fn the_body_is_read_in_amounts_and_lines_from_one_position() {
    let source = "def application(environ, start_response):
    stream = environ['wsgi.input']
    parts = [stream.read(2), stream.readline(), stream.readline(1), next(stream), stream.readlines(), stream.read()]
    start_response('200 OK', [])
    return [repr(parts).encode()]
";
    for plan in [Body::Whole, Body::Pieces(1)] {
        let response = run(source, post("/", "abc\ndef\nghi\njk").body_arrives(plan));
        assert_eq!(response.text(), r"[b'ab', b'c\n', b'd', b'ef\n', [b'ghi\n', b'jk'], b'']");
    }
}

#[test]
fn a_client_that_leaves_while_sending_is_an_os_error() {
    let response = run(
        "def application(environ, start_response):
    try:
        environ['wsgi.input'].read()
    except OSError as error:
        start_response('200 OK', [])
        return [type(error).__name__.encode()]
",
        post("/", "abcdef").body_arrives(Body::CutAfter(3)),
    );
    assert_eq!(response.text(), "BrokenPipeError");
}

#[test]
fn write_error_after_a_disconnect_is_not_logged_as_an_error() {
    let source = "
def written(start_response):
    write = start_response('200 OK', [])
    for _ in range(3):
        write(b'block')
def application(environ, start_response):
    if environ['PATH_INFO'] == '/call':
        written(start_response)
    elif environ['PATH_INFO'] == '/iteration':
        return map(written, [start_response])
    try:
        written(start_response)
    except OSError as error:
        raise LookupError('for want of the client') from error
";
    let host = Host::shared();
    let app = host.app(source);
    for path in ["/call", "/iteration"] {
        let response = host.send_to(&app, get(path), Faults { leaves_after: Some(5), ..Faults::default() }).finish();
        assert!(matches!(response.fault(), Some(Fault::Host(HostError::ClientGone))), "{response:?}");
        assert_eq!(response.log_text(Level::Warn), "");
        assert!(response.log_text(Level::Info).contains("client closed the connection"), "{response:?}");
    }
    let response = host.send_to(&app, get("/other"), Faults { leaves_after: Some(5), ..Faults::default() }).finish();
    assert!(response.log_text(Level::Error).contains("LookupError: for want of the client"), "{response:?}");
}

#[test]
fn write_comes_before_the_iterable() {
    let response = run(
        "def application(environ, start_response):
    write = start_response('200 OK', [])
    write(b'a')
    return [b'b']
",
        get("/"),
    );
    assert_eq!(response.text(), "ab");
    assert_eq!(response.content_length(), None);
}

#[test]
fn head_requests_have_no_body_and_no_invented_length() {
    let response = run(
        "def application(environ, start_response):
    start_response('200 OK', [])
    return [b'body']
",
        get("/").method("HEAD"),
    );
    assert_eq!((response.body(), response.content_length()), (Vec::new(), None));
    assert!(response.is_complete());
}

#[test]
fn wrong_calls_of_start_response_are_refused_where_they_are_made() {
    let cases = [
        ("start_response('200 OK', ())", "TypeError"),
        ("start_response(b'200 OK', [])", "TypeError"),
        ("start_response('200', [], None, None)", "TypeError"),
        ("start_response(status='200 OK', headers=[])", "TypeError"),
        ("start_response('20 OK', [])", "ValueError"),
        ("start_response('200 O\\nK', [])", "ValueError"),
        ("start_response('200 OK', [('A', 'b\\r\\nC: d')])", "ValueError"),
        ("start_response('200 OK', [('A:', 'b')])", "ValueError"),
        ("start_response('200 OK', [('Content-Length', '-1')])", "ValueError"),
        ("start_response('200 OK', [('A', '\\u0100')])", "ValueError"),
        ("start_response('200 OK', [('A', b'b')])", "TypeError"),
        ("start_response('200 OK', []); start_response('200 OK', [])", "RuntimeError"),
    ];
    for (call, error) in cases {
        let response = run(
            &format!(
                "def application(environ, start_response):
    try:
        {call}
    except Exception as error:
        import sys
        start_response('500 Oops', [], sys.exc_info())
        return [type(error).__name__.encode()]
"
            ),
            get("/"),
        );
        assert_eq!(response.text(), error, "{call}");
    }
}

#[test]
fn blocks_that_are_no_bytes_are_refused() {
    for result in ["'text'", "b'text'", "['text']", "None", "[bytearray(b'x')]", "iter(['x'])"] {
        let response = run(
            &format!(
                "def application(environ, start_response):\n    start_response('200 OK', [])\n    return {result}\n"
            ),
            get("/"),
        );
        assert_eq!(response.status(), 500, "{result}");
        assert!(!response.log_text(Level::Error).is_empty(), "{result}");
    }
}

#[test]
fn stalled_client_delays_only_its_own_generator() {
    let host = Host::shared();
    let slow = host.app(
        "import threading
def application(environ, start_response):
    start_response('200 OK', [])
    first = threading.get_ident()
    yield b'one'
    yield str(threading.get_ident() == first).encode()
",
    );
    let quick = host.app("def application(e, s):\n    s('200 OK', [])\n    return [b'quick']\n");
    let pending: Vec<_> =
        (0..4).map(|_| host.send_to(&slow, get("/"), Faults { stalls_before: vec![1], ..Faults::default() })).collect();
    while !pending.iter().all(|pending| pending.client().is_stalled()) {
        std::thread::yield_now();
    }
    assert_eq!(host.send(&quick, get("/")).text(), "quick");
    for pending in pending {
        pending.client().go_on();
        assert_eq!(pending.finish().text(), "oneTrue");
    }
}

#[test]
fn cancelling_closes_the_generator() {
    let host = Host::shared();
    let app = host.app(
        "def application(environ, start_response):
    start_response('200 OK', [])
    try:
        while True:
            yield b'x'
    finally:
        environ['wsgi.errors'].write('finally\\n')
",
    );
    let pending = host.send_to(&app, get("/"), Faults { stalls_before: vec![3], ..Faults::default() });
    while !pending.client().is_stalled() {
        std::thread::yield_now();
    }
    pending.cancel();
    let response = pending.finish();
    assert!(response.log_text(Level::Error).contains("finally"));
    assert!(!response.is_complete());
    assert!(matches!(response.events().last(), Some(Event::Dropped)));
}

#[test]
fn objects_of_an_ended_request_raise() {
    let host = Host::shared();
    let app = host.app(
        "kept = []
def application(environ, start_response):
    if kept:
        names = []
        for late in (kept[0], kept[1].write, kept[2]):
            try:
                late(b'x') if late is kept[2] else late('200 OK', []) if late is kept[0] else late('text')
            except RuntimeError:
                names.append('raised')
        start_response('200 OK', [])
        return [' '.join(names).encode()]
    kept.extend([start_response, environ['wsgi.errors'], start_response('200 OK', [])])
    return []
",
    );
    host.send(&app, get("/"));
    assert_eq!(host.send(&app, get("/")).text(), "raised raised raised");
}

#[test]
fn a_script_that_fails_to_load_is_tried_again() {
    let host = Host::shared();
    let app = host.app("import no_such_module_at_all\n");
    let response = host.send(&app, get("/"));
    assert_eq!(response.status(), 500);
    assert!(response.log_text(Level::Error).contains("sys.path is"));
    std::fs::write(
        app.path().expect("a script"),
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'now']\n",
    )
    .expect("a writable folder");
    assert_eq!(host.send(&app, get("/")).text(), "now");
}

#[test]
fn the_python_that_runs_is_the_one_that_this_was_built_for() {
    let host = Host::shared();
    let app = host.app("def application(e, s):\n    s('200 OK', [])\n    return [b'']\n");
    host.send(&app, get("/"));
    let other: Vec<_> = host.log().into_iter().filter(|line| line.text.contains("but built for")).collect();
    assert!(other.is_empty(), "{other:?}");
}
