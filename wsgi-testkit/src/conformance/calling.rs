//! The call of an application (PEP 3333, "The Application/Framework Side"; "Environ Variables" for the dict).

use super::host::{HostUnderTest, Site};

pub(super) fn application_is_called_once_with_two_positional_arguments(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
calls = []
def application(*args, **kwargs):
    environ, start_response = args
    calls.append((len(args), len(kwargs)))
    start_response('200 OK', [])
    return [repr(calls).encode()]
",
    ));
    assert_eq!(site.get("/").ok(), "[(2, 0)]");
    assert_eq!(site.get("/").ok(), "[(2, 0), (2, 0)]", "one call for each request");
}

pub(super) fn any_callable_is_an_application(host: &dyn HostUnderTest) {
    const KINDS: &str = "
import functools

def answer(word, environ, start_response):
    start_response('200 OK', [])
    return [word.encode()]

def function(environ, start_response):
    return answer('function', environ, start_response)

class Class:
    def __init__(self, environ, start_response):
        self.blocks = answer('class', environ, start_response)
    def __iter__(self):
        return iter(self.blocks)

class Instance:
    def __call__(self, environ, start_response):
        return answer('instance', environ, start_response)
    def method(self, environ, start_response):
        return answer('method', environ, start_response)

class Opaque:
    '''Nothing about it can be found out but that it can be called.'''
    def __call__(self, *args):
        return answer('opaque', *args)
    def __getattribute__(self, name):
        raise RuntimeError('asked for ' + name)
";
    for (expression, answer) in [
        ("function", "function"),
        ("Class", "class"),
        ("Instance()", "instance"),
        ("Instance().method", "method"),
        ("functools.partial(answer, 'partial')", "partial"),
        ("lambda environ, start_response: answer('lambda', environ, start_response)", "lambda"),
        ("Opaque()", "opaque"),
    ] {
        let site = host.serve(Site::new(format!("{KINDS}\napplication = {expression}\n")));
        assert_eq!(site.get("/").ok(), answer);
    }
}

pub(super) fn application_is_called_again_and_again(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
count = 0
def application(environ, start_response):
    global count
    count += 1
    start_response('200 OK', [])
    return [str(count).encode()]
",
    ));
    for number in 1..=50 {
        assert_eq!(site.get("/").ok(), number.to_string());
    }
}

pub(super) fn environ_is_a_new_plain_dict_for_each_request(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
seen = []
def application(environ, start_response):
    fresh = type(environ) is dict and all(environ is not other for other in seen) and 'mine' not in environ
    seen.append(environ)
    path = environ['PATH_INFO']
    if path == '/clear':
        environ.clear()
    else:
        environ['mine'] = object()
        environ[('not', 'a', 'str')] = 1
        del environ['REQUEST_METHOD'], environ['wsgi.input'], environ['wsgi.errors']
    start_response('200 OK', [])
    return [repr(fresh).encode()]
",
    ));
    for path in ["/", "/clear", "/", "/clear", "/"] {
        assert_eq!(site.get(path).ok(), "True");
    }
}
