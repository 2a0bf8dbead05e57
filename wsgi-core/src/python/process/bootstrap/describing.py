"""Formats exceptions for the error log."""

import sys
import traceback


def describe(exception):
    """Returns the traceback as text, and a hint to log after it, or None."""
    text = "".join(traceback.format_exception(type(exception), exception, exception.__traceback__))
    hint = None
    if isinstance(exception, ModuleNotFoundError):
        if (exception.name or "").startswith("_wsgi_"):
            return text, (
                f"{exception.name} is the module of a WSGI script, which this process has not loaded: define pickled "
                "classes (sessions, caches, queues) in a module on wsgi_python_path, not in the script"
            )
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
    """Returns the import whose failure caused the exception, or None; not for a missing module or name."""
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
