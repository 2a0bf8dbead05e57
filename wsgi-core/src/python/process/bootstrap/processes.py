"""Processes that the application forks, and exits of the worker by the application."""

import os
import signal
import sys
import threading

# The original function, before it is guarded.
set_handler = signal.signal
forked = False


def after_fork_in_child():
    """Gives a forked process the state that it would have if a plain Python program had forked it."""
    global forked
    forked = True
    try:
        gateway.forked()
    finally:
        if stop_reports:
            stop_reports()
        for number in gateway.reserved_signals:
            if number not in (signal.SIGINT, signal.SIGPIPE):
                set_handler(number, signal.SIG_DFL)
        # Unless the application has changed its handler.
        if signal.getsignal(signal.SIGINT) in (None, signal.default_int_handler):
            set_handler(signal.SIGINT, signal.default_int_handler)
    # Up to 3.12 a thread that Python has not started becomes the main thread without the lock that
    # threading._shutdown() expects, and a process of multiprocessing exits with 1.
    if isinstance(threading._main_thread, threading._DummyThread):
        threading._main_thread = threading._MainThread()


def end_of_forked(exception, application):
    """Logs that the application has returned in a forked process. Returns the exit status, by Python's rules."""
    process = os.getpid()
    what = f"process {process}, forked by {application}, exits"
    status = 0
    if exception is None:
        what += ": the application has returned"
    elif isinstance(exception, SystemExit):
        code = exception.code
        if isinstance(code, int):
            # Python treats a number that does not fit into a C long as -1.
            status = code & 0xFF if -sys.maxsize - 1 <= code <= sys.maxsize else 0xFF
        elif code is not None:
            gateway.log("error", f"{code}\n")
            status = 1
        what += f" by SystemExit with status {status}"
    else:
        gateway.log("error", describe(exception)[0])
        status = 1
        what += " by an exception"
    gateway.log("warn", what + "; a forked process must end with os._exit() or run another program\n")
    gateway.flush()
    return status


def guard_exit():
    original = os._exit

    def guarded(status):
        # Forked processes exit through os._exit, too: that does not affect the server.
        if not forked:
            gateway.log("crit", f"the application ended the worker with os._exit({status})\n")
            if isinstance(status, int) and status & 0xFF == gateway.fatal_exit_status:
                status = 1
        original(status)

    guarded.__name__ = guarded.__qualname__ = "_exit"
    guarded.__doc__ = original.__doc__
    os._exit = guarded
