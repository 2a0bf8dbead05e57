"""Python code of the gateway, run once in each interpreter, before any application code.

The files of this folder run one after the other in one namespace. `gateway` has functions and settings from Rust:
    write(level, data)  writes bytes of UTF-8 to the error log, a record for each complete line; returns their number
    flush()             writes this thread's incomplete lines
    forked()            records that the application has forked this process
    is_loading()        returns whether this thread loads an application
    reserved_signals    numbers of the signals that belong to the host
    fatal_exit_status   exit status from which the host cannot recover, or None
    fault_handler       whether crashes are reported
    terminal            whether standard input and output are those of the process
    mask_changed()      records that the application may have blocked signals of the host
    spawned             the text of spawned.py
    path                folders that are put in front of sys.path
    interpreter         the script or module that this interpreter is for, or None for the main interpreter
"""

import types

gateway = types.SimpleNamespace(**gateway)


def log(level, text):
    """Writes text to the error log, a record for each complete line."""
    gateway.write(level, text.encode("utf-8", "backslashreplace"))


gateway.log = log


def let_others_run():
    """Called between items of an iterable: CPython switches threads between bytecodes, and a C iterator runs none."""
