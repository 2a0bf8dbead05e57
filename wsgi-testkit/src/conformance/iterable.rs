//! The iterable that an application returns (PEP 3333, "Specification Details", "Handling the Content-Length Header", "A Note
//! On String Types").

use super::host::{HostUnderTest, Site};

pub(super) fn any_iterable_is_a_result(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
import collections, itertools
class Iterator:
    def __init__(self): self.left = [b'b', b'a']
    def __iter__(self): return self
    def __next__(self):
        if not self.left: raise StopIteration
        return self.left.pop()
class Sequence:
    def __getitem__(self, index): return [b'a', b'b'][index]
class Iterable:
    def __iter__(self): return iter((b'a', b'b'))
def blocks():
    yield b'a'
    yield b'b'
class List(list): pass

def answer(result):
    def application(environ, start_response):
        start_response('200 OK', [])
        return result()
    return application

list_ = answer(lambda: [b'a', b'b'])
list_subclass = answer(lambda: List([b'a', b'b']))
tuple_ = answer(lambda: (b'a', b'b'))
generator = answer(blocks)
iterator = answer(Iterator)
sequence = answer(Sequence)
iterable = answer(Iterable)
deque = answer(lambda: collections.deque([b'a', b'b']))
chain = answer(lambda: itertools.chain([b'a'], [b'b']))
dict_ = answer(lambda: {b'a': 1, b'b': 2})
map_ = answer(lambda: map(str.encode, 'ab'))
",
    ));
    for kind in [
        "list_",
        "list_subclass",
        "tuple_",
        "generator",
        "iterator",
        "sequence",
        "iterable",
        "deque",
        "chain",
        "dict_",
        "map_",
    ] {
        assert_eq!(site.get(&format!("/{kind}")).ok(), "ab", "{kind}");
    }
}

pub(super) fn a_block_that_is_not_bytes_is_an_error(host: &dyn HostUnderTest) {
    for (expression, kind) in [
        ("'text'", "str"),
        ("bytearray(b'x')", "bytearray"),
        ("memoryview(b'x')", "memoryview"),
        ("7", "int"),
        ("None", "NoneType"),
        ("[b'x']", "list"),
    ] {
        let site = host.serve(Site::of_functions(&format!(
            "
def in_list(environ, start_response):
    start_response('200 OK', [('X-Mine', '1')])
    return [b'fine', {expression}]
def first(environ, start_response):
    start_response('200 OK', [('X-Mine', '1')])
    yield {expression}
def later(environ, start_response):
    start_response('200 OK', [])
    yield b'fine'
    yield {expression}
"
        )));
        for path in ["/in_list", "/first"] {
            let response = site.get(path);
            assert_eq!((response.status, response.header("X-Mine")), (500, None), "{expression} {path}");
        }
        let response = site.get("/later");
        assert!(response.status == 200 && !response.whole, "{expression}: {response:?}");
        let log = site.stop();
        let message = format!("block of type {kind} instead of bytes (PEP 3333");
        assert_eq!(log.matches(&message).count(), 3, "{log}");
    }
}

pub(super) fn empty_blocks_are_legal_anywhere_and_send_nothing(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
def list_(environ, start_response):
    start_response('200 OK', [])
    return [b'', b'a', b'', b'', b'b', b'']
def generator(environ, start_response):
    start_response('200 OK', [])
    yield b''
    yield b'a'
    yield b''
    yield b'b'
    yield b''
def only(environ, start_response):
    start_response('200 OK', [])
    yield b''
    yield b''
def before_start(environ, start_response):
    yield b''
    start_response('200 OK', [])
    yield b'ab'
",
    ));
    assert_eq!(site.get("/list_").ok(), "ab");
    assert_eq!(site.get("/generator").ok(), "ab");
    assert_eq!(site.get("/only").ok(), "");
    assert_eq!(site.get("/before_start").ok(), "ab");
}

pub(super) fn every_byte_passes_unchanged(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
EVERY = bytes(range(256)) * 300 + b'\\r\\n\\r\\n0\\r\\n\\r\\n\\n\\r'
def list_(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain; charset=utf-8')])
    return [EVERY]
def generator(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain; charset=utf-8')])
    for at in range(0, len(EVERY), 997):
        yield EVERY[at:at + 997]
def written(environ, start_response):
    start_response('200 OK', [])(EVERY)
    return []
",
    ));
    let every = [(0..=255).collect::<Vec<u8>>().repeat(300), b"\r\n\r\n0\r\n\r\n\n\r".to_vec()].concat();
    for path in ["/list_", "/generator", "/written"] {
        let response = site.get(path);
        assert!(response.status == 200 && response.whole);
        assert!(response.body == every, "{path} changed the body");
    }
}

/// `len()` is the number of blocks, and only `len() == 1` allows a conclusion about the number of bytes.
pub(super) fn length_of_the_result_is_no_length_of_the_body(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
class Result:
    def __init__(self, length, blocks): self.length, self.blocks = length, blocks
    def __len__(self):
        if self.length is None: raise RuntimeError('no length')
        return self.length
    def __iter__(self): return iter(self.blocks)
def three(environ, start_response):
    start_response('200 OK', [])
    return Result(3, [b'aa', b'bb', b'cc'])
def broken(environ, start_response):
    start_response('200 OK', [])
    return Result(None, [b'aa', b'bb'])
",
    ));
    assert_eq!(site.get("/three").ok(), "aabbcc");
    assert_eq!(site.get("/broken").ok(), "aabb");
}

pub(super) fn a_single_block_gets_a_content_length(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
class One:
    def __init__(self, block): self.block = block
    def __len__(self): return 1
    def __iter__(self): return iter([self.block])
def list_(environ, start_response):
    start_response('200 OK', [])
    return [b'hello']
def one(environ, start_response):
    start_response('200 OK', [])
    return One(b'hello')
def nothing(environ, start_response):
    start_response('200 OK', [])
    return []
def written(environ, start_response):
    start_response('200 OK', [])(b'more ')
    return One(b'hello')
",
    ));
    assert_eq!(site.get("/list_").header("Content-Length"), Some("5"));
    assert_eq!(site.get("/one").header("Content-Length"), Some("5"));
    assert_eq!(site.get("/nothing").header("Content-Length"), Some("0"));
    let written = site.get("/written");
    assert_eq!((written.ok().as_str(), written.header("Content-Length")), ("more hello", None));
}

/// All blocks are known before the first is sent.
pub(super) fn a_list_or_tuple_of_blocks_gets_a_content_length(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
def list_(environ, start_response):
    start_response('200 OK', [])
    return [b'a', b'', b'bc']
def tuple_(environ, start_response):
    start_response('200 OK', [])
    return (b'abc',)
def legacy(environ, start_response):
    start_response('200 OK', [])
    class Legacy:
        def __getitem__(self, index): return [b'a', b'b', b'c'][index]
    return Legacy()
def generator(environ, start_response):
    start_response('200 OK', [])
    yield b'a'
    yield b'bc'
",
    ));
    for (path, length) in [("/list_", Some("3")), ("/tuple_", Some("3")), ("/legacy", None), ("/generator", None)] {
        let response = site.get(path);
        assert_eq!((response.ok().as_str(), response.header("Content-Length")), ("abc", length), "{path}");
    }
}

/// A host may join the blocks of a list, but keeps their bytes and order.
pub(super) fn lists_of_many_blocks_arrive_whole_and_in_order(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
def small(environ, start_response):
    start_response('200 OK', [])
    return [b'%06d' % number for number in range(40000)]
def mixed(environ, start_response):
    start_response('200 OK', [])
    return tuple(b'%d' % (number % 10) * (number * 37 % 20000) for number in range(100))
def cut(environ, start_response):
    start_response('200 OK', [('Content-Length', '100001')])
    return [b'%06d' % number for number in range(40000)]
def written(environ, start_response):
    start_response('200 OK', [])(b'written')
    return [b'%d' % (number % 10) for number in range(1000)]
def empty(environ, start_response):
    start_response('200 OK', [])
    return [b''] * 1000
",
    ));
    let small: String = (0..40_000).map(|number| format!("{number:06}")).collect();
    let mixed: String = (0..100).map(|number| format!("{}", number % 10).repeat(number * 37 % 20_000)).collect();
    let written: String = (0..1000).map(|number| format!("{}", number % 10)).collect();
    for (path, body) in [
        ("/small", small.as_str()),
        ("/mixed", &mixed),
        ("/cut", &small[..100_001]),
        ("/written", &format!("written{written}")),
        ("/empty", ""),
    ] {
        let response = site.get(path);
        assert!(response.ok() == body, "{path}: {} bytes for {}", response.body.len(), body.len());
        let head = site.send(super::get(path).method("HEAD"));
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
}

/// A response to HEAD has the length that GET would have, which only the application knows.
pub(super) fn no_content_length_is_made_up_where_there_is_no_body(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
def ok(environ, start_response):
    start_response('200 OK', [])
    return [b'']
def nothing(environ, start_response):
    start_response('200 OK', [])
    return []
def told(environ, start_response):
    start_response('200 OK', [('Content-Length', '1234')])
    return [b'']
def no_content(environ, start_response):
    start_response('204 No Content', [])
    return []
",
    ));
    for path in ["/ok", "/nothing"] {
        assert_eq!(site.send(super::get(path).method("HEAD")).header("Content-Length"), None, "{path}");
    }
    assert_eq!(site.send(super::get("/told").method("HEAD")).header("Content-Length"), Some("1234"));
    assert_eq!(site.get("/no_content").header("Content-Length"), None);
}

pub(super) fn nothing_of_the_result_is_touched_but_iteration_and_close(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
touched = []
class Result:
    def __init__(self): object.__setattr__(self, 'blocks', iter([b'a', b'b']))
    def __getattribute__(self, name):
        touched.append(name)
        return object.__getattribute__(self, name)
    def __setattr__(self, name, value): touched.append('set ' + name)
    def __iter__(self): return object.__getattribute__(self, 'blocks')
    def __bool__(self): touched.append('bool'); return True
    def __eq__(self, other): touched.append('eq'); return False
    def __hash__(self): touched.append('hash'); return 1
    def __repr__(self): touched.append('repr'); return ''
    def close(self): touched.append('closed')
def answer(environ, start_response):
    start_response('200 OK', [])
    return Result()
def seen(environ, start_response):
    start_response('200 OK', [])
    return [' '.join(touched).encode()]
",
    ));
    assert_eq!(site.get("/answer").ok(), "ab");
    site.eventually("/seen", "close closed");
}

pub(super) fn an_iterator_that_fails_at_its_first_step_is_500(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
def raises(environ, start_response):
    start_response('200 OK', [('X-Mine', '1')])
    raise ValueError('at the first step')
    yield b''
class Broken:
    def __iter__(self): raise ValueError('no iterator')
def no_iterator(environ, start_response):
    start_response('200 OK', [('X-Mine', '1')])
    return Broken()
",
    ));
    for path in ["/raises", "/no_iterator"] {
        let response = site.get(path);
        assert_eq!((response.status, response.header("X-Mine")), (500, None), "{path}");
    }
    let log = site.stop();
    assert!(log.contains("ValueError: at the first step") && log.contains("ValueError: no iterator"), "{log}");
}

/// An iterable with a Content-Length is iterated until it ends, or exceeds the length: a generator may have code to run after
/// its last block.
pub(super) fn iteration_ends_beyond_content_length(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
asked = {}
def note(environ, what):
    asked.setdefault(environ['PATH_INFO'], []).append(what)
def exact(environ, start_response):
    start_response('200 OK', [('Content-Length', '4')])
    yield b'ab'
    yield b'cd'
    for number in range(200):
        yield b''
    note(environ, 'behind')
def beyond(environ, start_response):
    start_response('200 OK', [('Content-Length', '4')])
    for block in [b'ab', b'cd', b'', b'ef', b'gh']:
        note(environ, block.decode())
        yield block
def within(environ, start_response):
    start_response('200 OK', [('Content-Length', '3')])
    for block in [b'ab', b'cd', b'ef']:
        note(environ, block.decode())
        yield block
def in_list(environ, start_response):
    start_response('200 OK', [('Content-Length', '3')])
    return [b'ab', b'cd']
def failing(environ, start_response):
    start_response('200 OK', [('Content-Length', '2')])
    yield b'ab'
    note(environ, 'failed')
    raise ValueError('behind the last block')
def no_bytes(environ, start_response):
    start_response('200 OK', [('Content-Length', '2')])
    yield b'ab'
    note(environ, 'text')
    yield 'text'
class Closed:
    def __init__(self, environ):
        self.environ, self.blocks = environ, iter([b'ab', b''])
    def __iter__(self): return self
    def __next__(self): return next(self.blocks)
    def close(self): note(self.environ, 'closed')
def closed(environ, start_response):
    start_response('200 OK', [('Content-Length', '2')])
    return Closed(environ)
def seen(environ, start_response):
    start_response('200 OK', [])
    return [' '.join(asked.get(environ['QUERY_STRING'], [])).encode()]
",
    ));
    for (path, body, asked) in [
        ("/exact", "abcd", "behind"),
        ("/beyond", "abcd", "ab cd  ef"),
        ("/within", "abc", "ab cd"),
        ("/in_list", "abc", ""),
        ("/failing", "ab", "failed"),
        ("/no_bytes", "ab", "text"),
        ("/closed", "ab", "closed"),
    ] {
        assert_eq!(site.get(path).ok(), body, "{path}");
        site.eventually(&format!("/seen?{path}"), asked);
    }
    let log = site.stop();
    assert_eq!(log.matches("beyond its Content-Length").count(), 3, "what is too much is logged: {log}");
    for text in ["ValueError: behind the last block", "a block of type str instead of bytes"] {
        assert!(log.contains(text), "{text} is not in {log}");
    }
}

pub(super) fn a_body_shorter_than_content_length_is_cut_off_and_logged(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
def generator(environ, start_response):
    start_response('200 OK', [('Content-Length', '10')])
    yield b'abc'
def in_list(environ, start_response):
    start_response('200 OK', [('Content-Length', '10')])
    return [b'abc']
def nothing(environ, start_response):
    start_response('200 OK', [('Content-Length', '10')])
    return []
",
    ));
    for path in ["/generator", "/in_list", "/nothing"] {
        let response = site.get(path);
        assert!(response.status == 500 || !response.whole, "{path} looks complete: {response:?}");
    }
    let log = site.stop();
    assert_eq!(log.matches("before the declared Content-Length of 10 (PEP 3333").count(), 3, "{log}");
}
