"""os._exit in a worker."""

import os


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
