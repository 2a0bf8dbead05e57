//! Error responses reveal nothing to clients but a status (CWE-209).

use std::fmt::Write as _;

use super::host::{HostUnderTest, Served, Site};
use crate::figure;
use crate::malformed;
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

/// Neither the error and its place, nor names and versions of the software: those are in the log.
pub(super) fn no_error_tells_a_client_about_the_server(host: &dyn HostUnderTest) {
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
    for (name, bytes) in malformed::requests() {
        answers.push((name.to_owned(), raw_after_end(&*site, &bytes)));
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
    assert!(errors > 100, "{errors}");
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
