"""wsgi.file_wrapper."""

import io
import sys
from types import BuiltinMethodType


class FileWrapper:
    """wsgi.file_wrapper (PEP 3333, "Optional Platform-Specific File Handling"): iterates over the blocks of a file."""

    def __init__(self, filelike, block_size=8192, /):
        self.filelike = filelike
        self._read = filelike.read
        self._block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self):
        return self

    def __next__(self):
        block = self._read(self._block_size)
        if block:
            return block
        raise StopIteration


def real_file(wrapper):
    """Returns the descriptor and the position of the file that `wrapper` reads, or None if its reads may return
    other bytes than those of a descriptor."""
    try:
        read = wrapper._read
        tempfile = sys.modules.get("tempfile")
        if type(wrapper.filelike) is getattr(tempfile, "_TemporaryFileWrapper", None):
            # Its methods only call those of its file.
            read = wrapper.filelike.file.read
        if not isinstance(read, BuiltinMethodType) or read.__name__ != "read":
            return None
        file = read.__self__
        for kind in (io.BufferedReader, io.BufferedRandom, io.FileIO):
            # A subclass may have another method.
            if isinstance(file, kind) and type(file).read is kind.read:
                raw = file if kind is io.FileIO else file.raw
                if kind is not io.FileIO and type(raw) is not io.FileIO or not raw.readable():
                    return None
                return io.FileIO.fileno(raw), kind.tell(file)
    except (AttributeError, OSError, TypeError, ValueError):
        # The read reports the error.
        pass
    return None
