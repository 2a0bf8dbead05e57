//! Failures outside of the call and the iteration: the returned object, the loading of the script, the client (PEP 3333,
//! "Error Handling").

use super::host::{HostUnderTest, Served, Site, get};

/// Some servers would send something for each of these results.
pub(super) fn result_that_is_no_iterable_of_blocks_is_a_500(host: &dyn HostUnderTest) {
    for (result, kind) in [
        ("None", "NoneType"),
        ("1", "int"),
        ("object()", "object"),
        ("'a text'", "str"),
        ("b'octets'", "bytes"),
        ("bytearray(b'octets')", "int"),
        ("''", "str"),
        ("b''", "bytes"),
        ("application", "function"),
    ] {
        let site = host.serve(Site::new(format!(
            "
def application(environ, start_response):
    if environ['PATH_INFO'] == '/good':
        start_response('200 OK', [])
        return [b'good']
    start_response('200 OK', [('X-Mine', 'mine')])
    return {result}
"
        )));
        let response = site.get("/");
        assert_eq!((response.status, response.whole, response.header("X-Mine")), (500, true, None), "{result}");
        for text in ["octets", "a text", "None", "object", "iterable"] {
            assert!(!response.text().contains(text), "{response:?}");
        }
        assert_eq!(site.get("/good").ok(), "good");
        let log = site.stop();
        let complaints = log.lines().filter(|line| line.contains(kind) && !line.contains("File \""));
        assert_eq!(complaints.count(), 1, "{result}:\n{log}");
    }
}

/// Such a result is a frequent mistake, mostly a forgotten bracket, so the message names the rule.
pub(super) fn result_that_is_str_bytes_or_none_is_logged_with_the_rule(host: &dyn HostUnderTest) {
    for result in ["None", "'text'", "b'octets'"] {
        let site = host.serve(Site::new(format!(
            "
def application(environ, start_response):
    start_response('200 OK', [])
    return {result}
"
        )));
        assert_eq!(site.get("/").status, 500);
        let log = site.stop();
        let told = |line: &&str| line.contains("instead of an iterable of bytes") && line.contains("PEP 3333");
        assert_eq!(log.lines().filter(told).count(), 1, "{log}");
    }
}

pub(super) fn result_that_cannot_be_iterated_is_closed_still(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
closed = 0
class Result:
    def close(self):
        global closed
        closed += 1

def result(environ, start_response):
    start_response('200 OK', [])
    return Result()

def seen(environ, start_response):
    start_response('200 OK', [])
    return [str(closed).encode()]
",
    ));
    assert_eq!(site.get("/result").status, 500);
    site.eventually("/seen", "1");
}

pub(super) fn script_that_cannot_be_loaded_is_a_500_and_logged(host: &dyn HostUnderTest) {
    for (source, said) in [
        ("def application(environ, start_response):\n    return [\n", "SyntaxError"),
        ("import there_is_no_such_module\n", "ModuleNotFoundError"),
        ("raise ValueError('a secret')\n", "ValueError: a secret"),
        ("import sys\nsys.exit('a secret')\n", "SystemExit: a secret"),
        ("raise KeyboardInterrupt('a secret')\n", "KeyboardInterrupt: a secret"),
        ("raise GeneratorExit('a secret')\n", "GeneratorExit: a secret"),
        ("def recursion(): recursion()\nrecursion()\n", "RecursionError"),
        ("app = 'a secret'\n", "application"),
        ("application = 'a secret'\n", "application"),
    ] {
        let site = host.serve(Site::new(source));
        for _ in 0..2 {
            let response = site.get("/");
            assert_eq!((response.status, response.whole), (500, true), "{source}");
            for text in ["Error:", "secret", "Traceback", ".py", "application", "there_is_no"] {
                assert!(!response.text().contains(text), "{response:?}");
            }
        }
        let log = site.stop();
        // Each request tried to load the script, and logged the failure.
        assert_eq!(log.lines().filter(|line| line.contains(said) && !line.contains("File \"")).count(), 2, "{log}");
    }
}

/// The cause may have been corrected since, and the process is the same.
pub(super) fn script_that_could_not_be_loaded_is_tried_again(host: &dyn HostUnderTest) {
    for exception in ["ValueError", "SystemExit", "KeyboardInterrupt"] {
        let site = host.serve(Site::new(format!(
            "
import os, sys
tries = sys.__dict__.setdefault('_tries_to_load', {{}})
tries[__file__] = tries.get(__file__, 0) + 1
if tries[__file__] < 3:
    raise {exception}('not yet')

def application(environ, start_response):
    start_response('200 OK', [])
    return [str(tries[__file__]).encode()]
"
        )));
        let statuses = [(); 2].map(|()| site.get("/").status);
        assert_eq!(statuses, [500, 500], "{exception}");
        for _ in 0..2 {
            assert_eq!(site.get("/").ok(), "3", "{exception}");
        }
        assert_eq!(site.stop().matches(&format!("{exception}: not yet")).count(), 2, "{exception}");
    }
}

/// This holds even if the body ends only with the connection.
pub(super) fn failed_response_has_one_head(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    start_response('200 OK', [('Content-Length', '4000')] if environ['QUERY_STRING'] else [])
    yield b'begun'
    raise ValueError('a secret')
",
    ));
    for request in [get("/"), get("/?length"), get("/").http_1_0(), get("/?length").http_1_0()] {
        let mut client = site.connect();
        client.send(request.to_bytes());
        let everything = String::from_utf8_lossy(&client.rest()).into_owned();
        assert_eq!(everything.matches("HTTP/1.").count(), 1, "{everything}");
        let (head, body) = everything.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(" 200 "), "{everything}");
        for text in ["500", "secret", "Error", "\r\n0\r\n"] {
            assert!(!body.contains(text), "{everything}");
        }
        assert!(body.contains("begun"), "{everything}");
    }
}

pub(super) fn write_to_a_client_that_has_left_is_an_oserror(host: &dyn HostUnderTest) {
    let site: Box<dyn Served> = host.serve(Site::of_functions(
        "
seen = []
def written(environ, start_response):
    write = start_response('200 OK', [])
    try:
        for _ in range(100000):
            write(b'x' * 65536)
    except Exception as error:
        seen.append(isinstance(error, OSError))
        raise
    seen.append('written to nobody')

def told(environ, start_response):
    start_response('200 OK', [])
    return [repr(seen).encode()]
",
    ));
    let mut client = site.connect();
    client.send(get("/written").to_bytes());
    assert_eq!(client.head().status, 200);
    drop(client);
    site.eventually("/told", "[True]");
    let log = site.stop();
    assert!(!log.contains("Traceback"), "a client that leaves is no error of the application's:\n{log}");
}
