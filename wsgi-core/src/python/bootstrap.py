"""The gateway's own Python: run once in each interpreter, before any application code.

`gateway` is the namespace that Rust hands in:
    log(level, text)    write text to the error log, a record for each complete line
    flush()             write this thread's incomplete lines
    reserved_signals    numbers of the signals that belong to the host
    fatal_exit_status   exit status the host cannot recover from, or None
    path                what goes in front of sys.path
    interpreter         whose interpreter this is: a script's or module's, or None for the main one
    worker              process id of the worker
"""

import atexit
import gc
import importlib
import importlib.machinery
import importlib.util
import io
import os
import sys
import threading
import traceback
import types

gateway = types.SimpleNamespace(**gateway)


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


class FileWrapper:
    """wsgi.file_wrapper (PEP 3333, "Optional Platform-Specific File Handling"): a file in blocks."""

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


class ScriptLoader(importlib.machinery.SourceFileLoader):
    """Compiles a script from its source each time.

    No bytecode is read or written: app.wsgi and app.py would share one cache file, and an edit within the
    resolution of its time stamp would run the old code.
    """

    def get_code(self, fullname):
        path = self.get_filename(fullname)
        return compile(self.get_data(path), path, "exec", dont_inherit=True)


# Which version of its file a module was made from, by the module's name.
versions = {}


def load_script(name, path, version, watched):
    """The module of a script: the one there is, unless it is watched and its file is another one now."""
    before = sys.modules.get(name)
    if before is not None and not (watched and versions.get(name) != version):
        return before
    return execute(name, path, version, before, None)


def load_module(name, version, watched):
    """As load_script, for a module that Python finds by its name."""
    before = sys.modules.get(name)
    if before is None:
        module = importlib.import_module(name)
        versions[name] = version
        return module
    path = getattr(getattr(before, "__spec__", None), "origin", None)
    if path is None or not watched or versions.setdefault(name, version) == version:
        return before
    module = execute(name, path, version, before, before.__spec__.submodule_search_locations)
    package, _, child = name.rpartition(".")
    if package in sys.modules:
        setattr(sys.modules[package], child, module)
    return module


def execute(name, path, version, before, search_locations):
    """Makes a module from a file. If that fails, everything is as before."""
    loader = ScriptLoader(name, path)
    spec = importlib.util.spec_from_file_location(
        name, path, loader=loader, submodule_search_locations=search_locations
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before
        raise
    versions[name] = version
    # A script may replace itself in sys.modules, as any module may.
    return sys.modules.get(name, module)


def find_file(name):
    """The file that a module would come from, as bytes, or None."""
    spec = importlib.util.find_spec(name)
    return os.fsencode(spec.origin) if spec is not None and spec.has_location else None


def import_module(name):
    return importlib.import_module(name)


def freeze(again):
    """Moves what the application has loaded out of the garbage collector's sight."""
    if again:
        # What the version before has left can be collected now.
        gc.unfreeze()
    gc.collect()
    gc.freeze()


def describe(exception):
    """The traceback as text, and the hint that goes below it, or None."""
    text = "".join(traceback.format_exception(type(exception), exception, exception.__traceback__))
    hint = None
    if isinstance(exception, ModuleNotFoundError):
        version = ".".join(map(str, sys.version_info[:3]))
        hint = (
            f"this is Python {version} with prefix {sys.prefix}; sys.path is {sys.path!r}; "
            "see wsgi_python_path, wsgi_python_home"
        )
    elif gateway.interpreter is not None:
        refused = refused_import(exception)
        if refused is not None:
            hint = (
                f"{refused} failed in the interpreter of {gateway.interpreter!r}; if it is an extension module that only "
                'one interpreter of a process can load, set "wsgi_use_main_interpreter on" in every location that needs it'
            )
    return text, hint


def refused_import(exception):
    """What could not be imported, if that is behind the exception and a name that is missing is not."""
    found, seen = None, set()
    while exception is not None and id(exception) not in seen:
        seen.add(id(exception))
        if isinstance(exception, ImportError):
            found = exception
        exception = exception.__cause__ or exception.__context__
    if found is None or isinstance(found, ModuleNotFoundError) or str(found).startswith("cannot import name"):
        return None
    if found.name:
        return f'"import {found.name}"'
    frames = traceback.extract_tb(found.__traceback__)
    return f'"{frames[-1].line}" in {frames[-1].filename}' if frames else "an import"


def guard_signals():
    import signal

    original = signal.signal

    def guarded(signalnum, handler):
        if signalnum in gateway.reserved_signals:
            caller = sys._getframe(1)
            try:
                name = signal.Signals(signalnum).name
            except ValueError:
                name = str(signalnum)
            gateway.log(
                "warn",
                f"signal.signal({name}) ignored: the signal belongs to the server "
                f"(called from {caller.f_code.co_filename}:{caller.f_lineno})\n",
            )
            return signal.getsignal(signalnum)
        return original(signalnum, handler)

    guarded.__name__ = guarded.__qualname__ = "signal"
    guarded.__doc__ = original.__doc__
    signal.signal = guarded


def guard_exit():
    original = os._exit

    def guarded(status):
        # Children made by os.fork() end through os._exit too: theirs is nobody's business.
        if os.getpid() == gateway.worker:
            gateway.log("crit", f"the application ended the worker with os._exit({status})\n")
            if isinstance(status, int) and status & 0xFF == gateway.fatal_exit_status:
                status = 1
        original(status)

    guarded.__name__ = guarded.__qualname__ = "_exit"
    guarded.__doc__ = original.__doc__
    os._exit = guarded


def running_threads():
    """The application's threads that a program waits for at its end."""
    ignored = (threading.main_thread(), threading.current_thread())
    return [thread for thread in threading.enumerate() if not thread.daemon and thread not in ignored]


def end_threads():
    """What threading does at the end of a program. Its own function waits for the main thread when another one calls it."""
    # Executors tell their threads to end here.
    for function in reversed(getattr(threading, "_threading_atexits", ())):
        function()
    while threads := running_threads():
        for thread in threads:
            thread.join()


def shutdown(seconds):
    """Waits for the application's threads, at most `seconds`, then runs what it registered with atexit."""
    ended = True
    if running_threads():
        # In a thread of its own: there is no limit to how long it waits.
        waiter = threading.Thread(target=end_threads, name="wsgi-shutdown", daemon=True)
        waiter.start()
        waiter.join(seconds)
        ended = not waiter.is_alive()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    return ended


def install():
    sys.stdin = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    sys.stdout = sys.__stdout__ = LogStream("<stdout>", "notice")
    sys.stderr = sys.__stderr__ = LogStream("<stderr>", "error")
    sys.argv = [""]
    sys.path[:0] = [entry for entry in gateway.path if entry not in sys.path]
    if gateway.reserved_signals:
        guard_signals()
    if gateway.fatal_exit_status is not None:
        guard_exit()


install()
