"""Signals that belong to the host: calls that would take them raise, or are ignored with a warning."""

import faulthandler
import signal
import sys
import threading


def belongs_to_host(number):
    # A forked process owns all its signals.
    return not forked and number in gateway.reserved_signals


def on_host_thread():
    """Returns whether Python allows this thread to set handlers. With inline execution, applications run on it."""
    return gateway.interpreter is None and threading.get_ident() == threading.main_thread().ident


def is_passed_over():
    """Returns whether a call is ignored with a warning.

    Libraries install handlers when they are imported or restore them at exit, and work without that.
    """
    return ending or gateway.is_loading()


def name_of(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def warn(call, number):
    caller = sys._getframe(2)
    gateway.log(
        "warn",
        f"{call}({name_of(number)}) ignored: the signal belongs to the server "
        f"(called from {caller.f_code.co_filename}:{caller.f_lineno})\n",
    )


def refusal(call, number):
    return ValueError(f"{call}({name_of(number)}): the signal belongs to the server in whose process the application runs")


def guard(module, name, guarded):
    original = getattr(module, name)
    guarded.__name__ = guarded.__qualname__ = name
    guarded.__module__ = original.__module__
    guarded.__doc__ = original.__doc__
    setattr(module, name, guarded)


def guard_signals():
    set_interrupt, register, set_mask = signal.siginterrupt, faulthandler.register, signal.pthread_sigmask

    def guarded_signal(signalnum, handler):
        if belongs_to_host(signalnum):
            if is_passed_over():
                warn("signal.signal", signalnum)
                return signal.getsignal(signalnum)
            if on_host_thread():
                raise refusal("signal.signal", signalnum)
        # On any other thread Python itself raises.
        return set_handler(signalnum, handler)

    def guarded_siginterrupt(signalnum, flag):
        if not belongs_to_host(signalnum):
            return set_interrupt(signalnum, flag)
        if not is_passed_over():
            raise refusal("signal.siginterrupt", signalnum)
        warn("signal.siginterrupt", signalnum)

    def guarded_register(signum, *arguments, **options):
        if not belongs_to_host(signum):
            return register(signum, *arguments, **options)
        if not is_passed_over():
            raise refusal("faulthandler.register", signum)
        warn("faulthandler.register", signum)

    def guarded_mask(how, mask):
        # Blocking them for a while is allowed: they are unblocked when the application returns.
        gateway.mask_changed()
        return set_mask(how, mask)

    guard(signal, "signal", guarded_signal)
    guard(signal, "siginterrupt", guarded_siginterrupt)
    guard(signal, "pthread_sigmask", guarded_mask)
    guard(faulthandler, "register", guarded_register)
