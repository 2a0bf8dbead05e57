"""What an application finds in `sys`."""

import io
import sys


def install():
    sys.stdin = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    sys.stdout = sys.__stdout__ = LogStream("<stdout>", "notice")
    sys.stderr = sys.__stderr__ = LogStream("<stderr>", "error")
    sys.argv = [""]
    sys.path[:0] = [entry for entry in gateway.path if entry not in sys.path]
    if gateway.reserved_signals:
        guard_signals()
    if gateway.fatal_exit_status is not None:
        guard_exit()


install()
