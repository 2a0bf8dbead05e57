"""Standard streams of applications, and `wsgi.errors` beside write, writelines and flush."""

import functools
import io
import os
import weakref

# Of the process. Hosts point it at their error log.
STANDARD_ERROR = 2


class LogBytes(io.BufferedIOBase):
    """The bytes of a text stream: the error log, in UTF-8. Other bytes are escaped."""

    mode = "wb"

    def __init__(self, name, write, flush):
        self.name = name
        self._write = write
        self._flush = flush

    def writable(self):
        return True

    def fileno(self):
        return STANDARD_ERROR

    def write(self, data):
        return self._write(data)

    def flush(self):
        self._flush()

    def close(self):
        # Every text stream that a program puts around this one closes it at its own end. The log stays open.
        pass

    def detach(self):
        return self

    # What a program finds through codecs.StreamWriter, which looks up here all that it has not, and below a buffer of Python's.
    buffer = raw = property(detach)

    def __reduce__(self):
        raise TypeError(f"cannot pickle '{type(self).__name__}' object")


class NoInput(io.RawIOBase):
    """The bytes of sys.stdin: none."""

    name = "<stdin>"
    mode = "rb"
    _file = None

    def readable(self):
        return True

    def readinto(self, block):
        return 0

    def fileno(self):
        if self._file is None:
            self._file = open(os.devnull, "rb", buffering=0)
        return self._file.fileno()

    def close(self):
        super().close()
        if self._file is not None:
            self._file.close()


def text_stream(name, level):
    """As Python makes sys.stdout and sys.stderr when it is told to buffer nothing."""
    buffer = LogBytes(name, functools.partial(gateway.write, level), gateway.flush)
    stream = io.TextIOWrapper(buffer, "utf-8", "backslashreplace", newline="\n", write_through=True)
    stream.mode = "w"
    return stream


def no_input():
    stream = io.TextIOWrapper(io.BufferedReader(NoInput()), "utf-8")
    stream.mode = "r"
    return stream


class Errors:
    """Attributes of wsgi.errors, which is of a type that Rust makes: one of these streams is made for each request."""

    name = "<wsgi.errors>"
    mode = "w"
    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = closed = False
    write_through = True

    # By the identity of the stream, which its buffer keeps alive.
    _buffers = weakref.WeakValueDictionary()

    @property
    def buffer(self):
        buffers = self._buffers
        buffer = buffers.get(id(self))
        if buffer is None:
            buffer = buffers[id(self)] = LogBytes(self.name, self._write, self._flush)
        return buffer

    def fileno(self):
        return STANDARD_ERROR

    def isatty(self):
        return False

    def readable(self):
        return False

    def seekable(self):
        return False

    def writable(self):
        return True

    def close(self):
        pass


errors_attributes = {name: value for name, value in vars(Errors).items() if not name.startswith("__")}
