"""The gateway's own Python: run once in each interpreter, before any application code.

The files of this folder run one after the other in one namespace. `gateway` is what Rust hands in:
    write(level, data)  write bytes of UTF-8 to the error log, a record for each complete line; returns their number
    flush()             write this thread's incomplete lines
    forked()            this process was forked by the application
    is_loading()        whether this thread loads an application
    reserved_signals    numbers of the signals that belong to the host
    fatal_exit_status   exit status the host cannot recover from, or None
    fault_handler       whether crashes are reported
    terminal            whether standard input and output are those of the process
    mask_changed()      the application may have blocked signals of the host
    spawned             the text of spawned.py
    path                what goes in front of sys.path
    interpreter         whose interpreter this is: a script's or module's, or None for the main one
"""

import types

gateway = types.SimpleNamespace(**gateway)


def log(level, text):
    """Writes text to the error log, a record for each complete line."""
    gateway.write(level, text.encode("utf-8", "backslashreplace"))


gateway.log = log


def let_others_run():
    """Called between items of an iterable: an iterator in C runs no bytecode, at which Python looks who waits for the GIL."""
