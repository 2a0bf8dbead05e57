"""The end of an interpreter."""

import atexit
import sys
import threading

# Whether the end has begun.
ending = False


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
    global ending
    ending = True
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
