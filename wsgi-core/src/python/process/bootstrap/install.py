"""Sets up `sys` for applications, and guards parts of Python against changes by them."""

import os
import sys


def install():
    if not (gateway.terminal and sys.__stdin__ and sys.__stdout__):
        sys.stdin = sys.__stdin__ = no_input()
        sys.stdout = sys.__stdout__ = text_stream("<stdout>", "notice")
    sys.stderr = sys.__stderr__ = text_stream("<stderr>", "error")
    sys.argv = [""]
    sys.path[:0] = [entry for entry in gateway.path if entry not in sys.path]
    # Registered before the functions of applications, and after that of threading.
    os.register_at_fork(after_in_child=after_fork_in_child)
    if gateway.reserved_signals:
        guard_signals()
    if gateway.fatal_exit_status is not None:
        guard_exit()
    if gateway.fault_handler:
        report_crashes()


install()
