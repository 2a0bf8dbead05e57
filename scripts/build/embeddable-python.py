"""Checks whether the running interpreter can be embedded: CPython with a shared library, the GIL and development files.

If so, prints sys.executable and the path behind its symbolic links, which differ in a virtual environment; else prints an error.
The exit status is 2 if only development files are missing, and 1 for any other problem.
"""

import os
import sys
import sysconfig

OLDEST = (3, 9)


def problem():
    """The error message, None without an error, and the exit status."""
    name = "Python %d.%d (%s)" % (sys.version_info[0], sys.version_info[1], sys.executable)
    if sys.version_info < OLDEST:
        return "%s is too old: %d.%d or newer is needed, choose one with PYTHON=" % ((name,) + OLDEST), 1
    if sys.implementation.name != "cpython":
        return "%s is %s: CPython is needed, choose one with PYTHON=" % (name, sys.implementation.name), 1
    if sysconfig.get_config_var("Py_GIL_DISABLED") or "t" in sys.abiflags:
        return "%s is free-threaded: the gateway needs the GIL, choose a Python that has it with PYTHON=" % name, 1
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return (
            "%s was built without a shared library, so it cannot be embedded: build it with --enable-shared "
            "(pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared) or choose another with PYTHON=" % name
        ), 1
    library = os.path.join(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("LDLIBRARY") or "")
    if not os.path.isfile(library):
        package = "python%d.%d-dev" % sys.version_info[:2]
        return "%s has no %s: install its development files (Debian: %s)" % (name, library, package), 2
    return None, 0


if __name__ == "__main__":
    found, status = problem()
    if found:
        sys.stderr.write("error: %s\n" % found)
        sys.exit(status)
    print(sys.executable)
    print(os.path.realpath(sys.executable))
