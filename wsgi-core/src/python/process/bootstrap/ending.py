"""The end of an interpreter: threads, child processes of `multiprocessing`, and functions of `atexit`."""

import atexit
import sys
import threading
import time

# Whether the interpreter is ending.
ending = False


def running_threads():
    """Returns the application's threads that a program waits for at its exit."""
    ignored = (threading.main_thread(), threading.current_thread())
    return [thread for thread in threading.enumerate() if not thread.daemon and thread not in ignored]


def end_threads():
    """Ends threads as `threading._shutdown` does, which waits for the main thread if another thread calls it."""
    # Executors stop their threads in these functions, and wait for them. `multiprocessing` joins the processes of
    # executors in a function of atexit, which would wait forever if that had not been done before.
    for function in reversed(getattr(threading, "_threading_atexits", ())):
        function()
    while threads := running_threads():
        for thread in threads:
            thread.join()


def children():
    """Returns processes that `multiprocessing` has started in this interpreter and that have not been joined."""
    processes = sys.modules.get("multiprocessing.process")
    return list(processes._children) if processes is not None else []


def end_children(seconds, pause):
    """Terminates child processes after `seconds`, and kills the remaining ones after a pause.

    Threads that wait for these processes can then end.
    """
    time.sleep(seconds)
    for end in ("terminate", "kill"):
        for child in children():
            try:
                getattr(child, end)()
            except Exception:
                # The process has ended, or has been closed.
                pass
        time.sleep(pause)


def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, name="wsgi-shutdown", daemon=True)
    thread.start()
    return thread


def shutdown(seconds):
    """Ends the application's threads and child processes within `seconds`, then runs the functions of atexit.

    Returns whether all threads have ended.
    """
    global ending
    ending = True
    if "multiprocessing.process" in sys.modules:
        in_thread(end_children, seconds, 0.1 + seconds / 8)
    ended = True
    if running_threads() or getattr(threading, "_threading_atexits", ()):
        # On a separate thread, because the wait has no time limit.
        waiter = in_thread(end_threads)
        waiter.join(seconds)
        ended = not waiter.is_alive()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except Exception:
            pass
    gateway.flush()
    return ended
