"""Standard streams of applications, and the attributes of `wsgi.errors` besides write, writelines and flush."""

import functools
import io
import os
import weakref

# Descriptor of the process, which hosts redirect to their error log.
STANDARD_ERROR = 2


class LogBytes(io.BufferedIOBase):
    """The binary buffer of a text stream: writes UTF-8 to the error log, and escapes other bytes."""

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
        # Each text stream that a program puts around this one closes it in the end. The log stays open.
        pass

    def detach(self):
        return self

    # Programs find these through codecs.StreamWriter, which looks up missing attributes here, and below a buffer of
    # Python's.
    buffer = raw = property(detach)

    def __reduce__(self):
        raise TypeError(f"cannot pickle '{type(self).__name__}' object")


class NoInput(io.RawIOBase):
    """The raw stream of sys.stdin, which is empty."""

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
    """Creates a text stream as Python creates sys.stdout and sys.stderr with the option -u."""
    buffer = LogBytes(name, functools.partial(gateway.write, level), gateway.flush)
    stream = io.TextIOWrapper(buffer, "utf-8", "backslashreplace", newline="\n", write_through=True)
    stream.mode = "w"
    return stream


def no_input():
    stream = io.TextIOWrapper(io.BufferedReader(NoInput()), "utf-8")
    stream.mode = "r"
    return stream


class Errors:
    """Attributes of wsgi.errors, whose type is created in Rust. Each request has one such stream."""

    name = "<wsgi.errors>"
    mode = "w"
    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = closed = False
    write_through = True

    # Keyed by the identity of the stream, which its buffer keeps alive.
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
