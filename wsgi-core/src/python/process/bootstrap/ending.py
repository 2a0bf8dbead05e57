"""The end of an interpreter: threads, child processes of `multiprocessing`, and functions of `atexit`."""

import atexit
import sys
import threading
import time

# Whether the end has begun.
ending = False


def running_threads():
    """The application's threads that a program waits for at its end."""
    ignored = (threading.main_thread(), threading.current_thread())
    return [thread for thread in threading.enumerate() if not thread.daemon and thread not in ignored]


def end_threads():
    """What threading does at the end of a program. Its own function waits for the main thread when another one calls it."""
    # Executors tell their threads to end here, and wait for them. `multiprocessing` joins the processes of executors in
    # a function of atexit, which would wait for ever if that had not been done before.
    for function in reversed(getattr(threading, "_threading_atexits", ())):
        function()
    while threads := running_threads():
        for thread in threads:
            thread.join()


def children():
    """Processes that `multiprocessing` has started in this interpreter and that have not been joined."""
    processes = sys.modules.get("multiprocessing.process")
    return list(processes._children) if processes is not None else []


def end_children(seconds, pause):
    """Terminates child processes after so many seconds, and kills those that are there after a pause.

    Threads that wait for them go on then.
    """
    time.sleep(seconds)
    for end in ("terminate", "kill"):
        for child in children():
            try:
                getattr(child, end)()
            except Exception:
                # It has ended, or has been closed.
                pass
        time.sleep(pause)


def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, name="wsgi-shutdown", daemon=True)
    thread.start()
    return thread


def shutdown(seconds):
    """Ends the application's threads and child processes within `seconds`, then runs what it registered with atexit.

    Returns whether all threads have ended.
    """
    global ending
    ending = True
    if "multiprocessing.process" in sys.modules:
        in_thread(end_children, seconds, 0.1 + seconds / 8)
    ended = True
    if running_threads() or getattr(threading, "_threading_atexits", ()):
        # In a thread of its own: there is no limit to how long it waits.
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
