"""An application that runs the bytes of the variable fuzz.program as instructions."""

import array
import io
import operator
import os

# Objects of earlier requests, for calls after they have expired.
kept = []


class Index:
    def __init__(self, value):
        self.value = value

    def __index__(self):
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


class Text(str):
    def encode(self, *arguments):
        raise RuntimeError("made up")

    def __str__(self):
        return 5


class Block(bytes):
    def __len__(self):
        return 2**40

    def __iter__(self):
        raise RuntimeError("no")


class Liar(list):
    def __len__(self):
        return -1

    def __iter__(self):
        yield from range(3)

    def __getitem__(self, index):
        raise IndexError(index)


class Growing(list):
    """A list that changes during iteration."""

    def __iter__(self):
        for item in list.__iter__(self):
            self.clear()
            yield item


class Iterable:
    def __init__(self, items, close):
        self.items = iter(items)
        self.close = close

    def __iter__(self):
        return self

    def __next__(self):
        item = next(self.items)
        if isinstance(item, BaseException):
            raise item
        return item


class NotOne:
    close = 5

    def __iter__(self):
        return 5


def broken(rule):
    """Ends the process. A printed message would not do: the program can print the same text."""
    os.write(2, f"ERROR: {rule}\n".encode("utf-8", "backslashreplace"))
    os.abort()


def error():
    raise ValueError("made up")


def exc_info():
    import sys

    try:
        raise KeyError("made up")
    except KeyError:
        return sys.exc_info()


EXCEPTIONS = [
    ValueError("made up"),
    SystemExit(3),
    KeyboardInterrupt(),
    MemoryError(),
    RecursionError(),
    GeneratorExit(),
    StopIteration(4),
    OSError(5, "made up"),
    UnicodeEncodeError("latin-1", "\u20ac", 0, 1, "made up"),
]


class Run:
    def __init__(self, environ, start_response):
        self.program = iter(environ["fuzz.program"].encode("latin-1"))
        self.environ = environ
        self.start = start_response
        self.write = error
        self.input = environ["wsgi.input"]
        self.errors = environ["wsgi.errors"]
        self.wrapper = environ.get("wsgi.file_wrapper", io.BytesIO)
        self.model = None

    def byte(self):
        return next(self.program, 0)

    def raw(self):
        return bytes(self.byte() for _ in range(self.byte() % 24))

    def any(self, depth=2):
        some = [
            lambda: None,
            lambda: True,
            self.byte,
            lambda: -1 - self.byte(),
            lambda: 2**31,
            lambda: 2**63 - 1,
            lambda: 2**63,
            lambda: -(2**70),
            lambda: 1.5,
            lambda: self.raw().decode("latin-1"),
            lambda: "a\ud800",
            lambda: "\u20ac\U0001d11e",
            self.raw,
            lambda: bytearray(self.raw()),
            lambda: memoryview(self.raw()),
            lambda: memoryview(bytes(9))[::2],
            lambda: array.array("i", [1, 2, 3]),
            lambda: Text("200 OK"),
            lambda: Block(b"abc"),
            lambda: Index(self.byte()),
            lambda: Index(2**70),
            lambda: Index(ValueError("made up")),
            lambda: Index("no number"),
            lambda: Liar([1]),
            lambda: Growing([("X", "y"), ("X", "z")]),
            exc_info,
            lambda: (ValueError, None, None),
            lambda: (None, None, None),
            lambda: (ValueError("made up"), ValueError, 5),
            lambda: self.start,
            lambda: self.write,
            self.given_away,
            lambda: self.errors,
            lambda: type(self.input),
            lambda: NotOne(),
            lambda: {"Content-Length": "5"},
            lambda: "200 OK",
            lambda: [("Content-Type", "text/plain"), ("Content-Length", str(self.byte()))],
            lambda: b"b" * 9000,
            lambda: b"x" * self.byte(),
            lambda: io.BytesIO(self.raw()),
            lambda: io.StringIO("text"),
            lambda: self.wrapper(io.BytesIO(self.raw()), self.byte()),
            lambda: [self.any(depth - 1) for _ in range(self.byte() % 4)],
            lambda: tuple(self.any(depth - 1) for _ in range(self.byte() % 4)),
            lambda: (self.any(depth - 1) for _ in range(self.byte() % 4)),
            lambda: Iterable([self.any(depth - 1) for _ in range(self.byte() % 4)], error),
            lambda: Iterable([b"a", EXCEPTIONS[self.byte() % len(EXCEPTIONS)]], lambda: self.step()),
            self.old,
        ]
        choice = self.byte() % len(some)
        return None if depth < 0 else some[choice]()

    def given_away(self):
        """Returns the input; any later reader may advance it, so the model is dropped."""
        self.model = None
        return self.input

    def old(self):
        if not kept:
            return None
        old = kept[self.byte() % len(kept)]
        if old is self.input:
            self.model = None
        return old

    def arguments(self):
        return [self.any() for _ in range(self.byte() % 5)]

    def headers(self):
        return [(self.raw().decode("latin-1"), self.raw().decode("latin-1")) for _ in range(self.byte() % 3)]

    def read(self):
        """Reads, and compares the result with the same read of a file, as long as no other read has advanced the input."""
        name = ["read", "readline", "readlines", "__next__"][self.byte() % 4]
        argument = () if name == "__next__" else [(), (self.any(0),), (self.byte(),), (None,), (-1,)][self.byte() % 5]
        file, body = self.model, None
        try:
            body = getattr(self.input, name)(*argument)
        except OSError:
            self.model = None
            raise
        except Exception as exception:
            body = type(exception)
        if file is not None:
            try:
                if name == "readlines" and argument and isinstance(argument[0], Index):
                    # readlines() of io.BytesIO refuses such an object as a size; its other methods accept it.
                    argument = (operator.index(argument[0]),)
                expected = getattr(file, name)(*argument)
            except Exception as exception:
                expected = type(exception)
            wrong = isinstance(body, type) != isinstance(expected, type)
            if wrong or not isinstance(body, type) and body != expected:
                broken(f"{name}{argument}: {body!r:.200} is not what io.BytesIO has: {expected!r:.200}")

    def step(self):
        choice = self.byte() % 16
        if choice == 0:
            self.write = self.start(*self.arguments())
        elif choice == 1:
            self.write = self.start("200 OK", self.headers())
        elif choice == 2:
            self.write = self.start("500 Sorry", [("Content-Length", str(self.byte()))], exc_info())
        elif choice == 3:
            self.write(*self.arguments())
        elif choice == 4:
            self.write(b"w" * self.byte() * 16)
        elif choice in (5, 6):
            self.read()
        elif choice == 7:
            self.model = None
            getattr(self.input, ["read", "readline", "readlines", "__iter__", "__next__"][self.byte() % 5])(*self.arguments())
        elif choice == 8:
            getattr(self.errors, ["write", "writelines", "flush", "__iter__", "close"][self.byte() % 5])(*self.arguments())
        elif choice == 9:
            kept.append([self.start, self.write, self.input, self.errors][self.byte() % 4])
            del kept[:-8]
        elif choice == 10:
            old = self.old()
            getattr(old, ["read", "write", "__call__", "readline", "__class__", "__doc__"][self.byte() % 6])(*self.arguments())
        elif choice == 11:
            target = [self.start, self.write, self.input, self.errors][self.byte() % 4]
            [lambda: setattr(target, "x", 5), lambda: target.x, lambda: type(target)(), lambda: repr(target), lambda: target == 5,
             lambda: hash(target), lambda: target.__reduce__(), lambda: type(target).__new__(type(target))][self.byte() % 8]()
        elif choice == 12:
            raise EXCEPTIONS[self.byte() % len(EXCEPTIONS)].with_traceback(None)
        elif choice == 13:
            self.environ.pop(list(self.environ)[self.byte() % len(self.environ)])
        elif choice == 14:
            self.wrapper(*self.arguments())
        elif choice == 15:
            print(self.any(), end="")

    def body(self):
        """An iterable whose blocks run further instructions."""
        for _ in range(self.byte() % 8):
            yield b"b" * self.byte()
            self.tried()

    def tried(self):
        try:
            self.step()
        except SystemError as exception:
            broken(f"{exception!r} is what CPython calls a defect of C code")
        except BaseException:
            pass

    def result(self):
        choice = self.byte() % 8
        if choice == 0:
            return self.any()
        if choice == 1:
            return self.body()
        if choice == 2:
            raise EXCEPTIONS[self.byte() % len(EXCEPTIONS)].with_traceback(None)
        if choice == 3:
            return [b"l" * self.byte() for _ in range(self.byte() % 4)]
        if choice == 4:
            return Iterable(self.body(), error)
        if choice == 5:
            return self.wrapper(io.BytesIO(b"f" * self.byte() * 64), 1 + self.byte())
        return [b"one"]


def application(environ, start_response):
    run = Run(environ, start_response)
    whole = environ.get("fuzz.body")
    if whole is not None:
        run.model = io.BytesIO(whole.encode("latin-1"))
    for _ in range(run.byte() % 16):
        run.tried()
    if run.byte() % 4:
        try:
            run.write = start_response("200 OK", [("Content-Type", "text/plain")])
        except Exception:
            pass
    return run.result()
