"""Standard output and standard error of applications: the error log."""

import io


class LogStream(io.TextIOBase):
    """sys.stdout and sys.stderr: each complete line becomes one record of the error log."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, name, level):
        self.name = name
        self._level = level

    def writable(self):
        return True

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        gateway.log(self._level, text)
        return len(text)

    def flush(self):
        gateway.flush()
