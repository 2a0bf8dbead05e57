"""Signals that belong to the host."""

import sys


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
