"""Crash reports: Python tracebacks on standard error."""

import faulthandler

# Disables the reports in a process that the application has forked; None if the application has enabled them itself.
stop_reports = None


def report_crashes():
    """Enables the reports, and enables them again if the application disables them: the operator needs them, too."""
    global stop_reports
    enable, disable = faulthandler.enable, faulthandler.disable
    # faulthandler prints either the thread that has crashed, or all threads of the interpreter that enabled it last.
    # With several interpreters these may be the wrong threads.
    is_only = gateway.interpreter is None

    def guarded_enable(*arguments, **options):
        global stop_reports
        enable(*arguments, **options)
        stop_reports = None

    def guarded_disable():
        global stop_reports
        was_enabled = disable()
        if not forked:
            enable(file=STANDARD_ERROR, all_threads=is_only)
            stop_reports = disable
        return was_enabled

    if not faulthandler.is_enabled():
        stop_reports = disable
    # PYTHONFAULTHANDLER and the development mode have enabled them already.
    if stop_reports or not is_only:
        enable(file=STANDARD_ERROR, all_threads=is_only)
    guard(faulthandler, "enable", guarded_enable)
    guard(faulthandler, "disable", guarded_disable)
