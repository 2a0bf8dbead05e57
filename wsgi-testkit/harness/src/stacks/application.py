"""Recursions that Python ends with RecursionError, most of them through functions in C, which need more stack than Python's.

The query string is "shape,limit": the shape recurses three times as deep as the recursion limit allows. On /thread it runs on a
`threading.Thread`, elsewhere on the thread of the request. The answer is "fine" or the name of the exception. /size answers
with the bytes of the stack of the request's thread.
"""

import ast
import collections
import copy
import ctypes
import functools
import itertools
import json
import operator
import pickle
import re
import sys
import threading
import xml.etree.ElementTree as ElementTree


def nested_lists(depth):
    lists = []
    for _ in range(depth):
        lists = [lists]
    return lists


class Chain:
    """Each operation calls the same operation on a shorter chain."""

    def __init__(self, length):
        self.length = length

    def rest(self):
        return Chain(self.length - 1)

    def __getattr__(self, name):
        return getattr(self.rest(), name) if self.length else None

    def __repr__(self):
        return f"({self.rest()!r})" if self.length else ""

    def __str__(self):
        return str(self.rest()) if self.length else ""

    def __eq__(self, other):
        return self.length == 0 or [self.rest()] == [self.rest()]

    def __hash__(self):
        return hash((self.rest(),)) if self.length else 0

    def __iter__(self):
        if self.length:
            yield from self.rest()

    def __contains__(self, item):
        return self.length != 0 and item in self.rest()

    def __add__(self, other):
        return self.rest() + other if self.length else 0

    def __lt__(self, other):
        return self.length != 0 and max(self.rest(), self.rest()) is None

    def __getitem__(self, index):
        return operator.getitem(self.rest(), index) if self.length else 0

    def __call__(self):
        return self.rest()() if self.length else 0

    def __len__(self):
        return len(self.rest()) if self.length else 0

    def __format__(self, spec):
        return format(self.rest(), spec) if self.length else ""

    def __reduce__(self):
        return (Chain, (self.rest(),)) if self.length else (Chain, (0,))


class Ending:
    """Its destructor makes and destroys a shorter chain."""

    def __init__(self, length):
        self.length = length

    def __del__(self):
        if self.length:
            Ending(self.length - 1)


def quiet(shape):
    """Runs the shape without Python's messages about exceptions in destructors."""

    @functools.wraps(shape)
    def run(depth):
        before = sys.unraisablehook
        sys.unraisablehook = lambda unraisable: None
        try:
            return shape(depth)
        finally:
            sys.unraisablehook = before

    return run


def plain_calls(n):
    return 0 if n == 0 else 1 + plain_calls(n - 1)


def sorted_key(n):
    return 0 if n == 0 else sorted([n - 1], key=sorted_key)[0]


def sort_method(n):
    return 0 if n == 0 else [n - 1].sort(key=sort_method) or 0


def substitution(n):
    return "" if n == 0 else re.sub("a", lambda match: substitution(n - 1), "a")


def map_function(n):
    return 0 if n == 0 else next(map(map_function, [n - 1]))


def filter_function(n):
    return 0 if n == 0 else len(list(filter(filter_function, [n - 1])))


def reduce_function(n):
    return 0 if n == 0 else functools.reduce(lambda first, second: reduce_function(second), [0, n - 1])


def partial_call(n):
    return 0 if n == 0 else functools.partial(partial_call, n - 1)()


def cached_call(n):
    @functools.lru_cache(None)
    def cached(n):
        return 0 if n == 0 else cached(n - 1)

    return cached(n)


def max_key(n):
    return 0 if n == 0 else max([n - 1], key=max_key)


def starmap(n):
    return 0 if n == 0 else next(itertools.starmap(starmap, [(n - 1,)]))


def json_default(n):
    return json.dumps(n, default=lambda n: 0) if n == 0 else json.dumps(object(), default=lambda _: json_default(n - 1))


def json_hook(n):
    return 0 if n == 0 else json.loads("{}", object_hook=lambda _: json_hook(n - 1))


def missing_key(n):
    class Missing(dict):
        def __missing__(self, key):
            return self[key - 1] if key else 0

    return Missing()[n]


def default_factory(n):
    return 0 if n == 0 else collections.defaultdict(lambda: default_factory(n - 1))[0]


def class_property(n):
    class Node:
        length = n

        @property
        def value(self):
            self.length -= 1
            return self.value if self.length else 0

    return Node().value


SHAPES = {
    shape.__name__: shape
    for shape in (
        plain_calls,
        sorted_key,
        sort_method,
        substitution,
        map_function,
        filter_function,
        reduce_function,
        partial_call,
        cached_call,
        max_key,
        starmap,
        json_default,
        json_hook,
        missing_key,
        default_factory,
        class_property,
    )
}
SHAPES["json_loads"] = lambda n: json.loads("[" * n + "]" * n)
SHAPES["json_dumps"] = lambda n: json.dumps(nested_lists(n))
SHAPES["deepcopy"] = lambda n: copy.deepcopy(nested_lists(n))
SHAPES["pickle_dumps"] = lambda n: pickle.dumps(nested_lists(n))
SHAPES["pickle_reduce"] = lambda n: pickle.dumps(Chain(n))
SHAPES["literal_eval"] = lambda n: ast.literal_eval("(" * n + ")" * n)
SHAPES["eval_sum"] = lambda n: eval("+".join(["1"] * n))
SHAPES["compile_unary"] = lambda n: compile("-" * n + "1", "unary", "eval")
SHAPES["compile_attributes"] = lambda n: compile("a" + ".a" * n, "attributes", "eval")
SHAPES["parse_calls"] = lambda n: ast.dump(ast.parse("f" + "()" * n))[:9]
SHAPES["xml"] = lambda n: ElementTree.tostring(ElementTree.fromstring("<a>" * n + "</a>" * n))[:9]
SHAPES["getattr"] = lambda n: Chain(n).missing
SHAPES["repr"] = lambda n: repr(Chain(n))[:9]
SHAPES["str"] = lambda n: str(Chain(n))
SHAPES["eq"] = lambda n: Chain(n) == Chain(n)
SHAPES["hash"] = lambda n: hash(Chain(n))
SHAPES["yield_from"] = lambda n: list(Chain(n))
SHAPES["contains"] = lambda n: 1 in Chain(n)
SHAPES["add"] = lambda n: Chain(n) + 1
SHAPES["max"] = lambda n: max(Chain(n), Chain(n)) is None
SHAPES["getitem"] = lambda n: Chain(n)[0]
SHAPES["call"] = lambda n: Chain(n)()
SHAPES["len"] = lambda n: len(Chain(n))
SHAPES["format"] = lambda n: format(Chain(n), "")
SHAPES["destructors"] = quiet(lambda n: (Ending(n), None)[1])
SHAPES["repr_lists"] = lambda n: repr(nested_lists(n))[:9]
SHAPES["eq_lists"] = lambda n: nested_lists(n) == nested_lists(n)
SHAPES["free_lists"] = lambda n: (nested_lists(n * 10), None)[1]
SHAPES["isinstance"] = lambda n: isinstance(1, functools.reduce(lambda types, _: (types,), range(n), (str,)))


def outcome(shape, limit):
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(limit)
    try:
        SHAPES[shape](3 * limit)
        return "fine"
    except Exception as exception:
        return type(exception).__name__
    finally:
        sys.setrecursionlimit(before)


def on_a_thread(*arguments):
    results = []
    thread = threading.Thread(target=lambda: results.append(outcome(*arguments)))
    thread.start()
    thread.join()
    return results[0]


def stack_size():
    library = ctypes.CDLL(None)
    library.pthread_self.restype = ctypes.c_ulong
    attributes = ctypes.create_string_buffer(64)
    library.pthread_getattr_np(ctypes.c_ulong(library.pthread_self()), attributes)
    size = ctypes.c_size_t()
    library.pthread_attr_getstacksize(attributes, ctypes.byref(size))
    library.pthread_attr_destroy(attributes)
    return size.value


def application(environ, start_response):
    if environ["PATH_INFO"] == "/size":
        answer = str(stack_size())
    else:
        shape, limit = environ["QUERY_STRING"].split(",")
        answer = (on_a_thread if environ["PATH_INFO"] == "/thread" else outcome)(shape, int(limit))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode()]
