"""wsgi.file_wrapper."""


class FileWrapper:
    """wsgi.file_wrapper (PEP 3333, "Optional Platform-Specific File Handling"): iterates over the blocks of a file."""

    def __init__(self, filelike, block_size=8192, /):
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
