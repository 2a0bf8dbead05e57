"""Reports of crashes: Python tracebacks on standard error."""

import faulthandler

# Undoes it in a process that the application has forked, unless the application wants reports there as well.
stop_reports = None


def report_crashes():
    """Enables the reports, and again where the application disables them: they are the operator's as well."""
    global stop_reports
    enable, disable = faulthandler.enable, faulthandler.disable
    # Python shows either the thread that has crashed or all threads of the interpreter that was the last to enable this.
    # With several interpreters the second may be the wrong ones.
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
    # PYTHONFAULTHANDLER and the development mode have done it.
    if stop_reports or not is_only:
        enable(file=STANDARD_ERROR, all_threads=is_only)
    guard(faulthandler, "enable", guarded_enable)
    guard(faulthandler, "disable", guarded_disable)
