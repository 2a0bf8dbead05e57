"""Tells whether the library of the running interpreter can be embedded.

If so, prints its path and that of the program itself, which differ in a virtual environment; else one sentence.
"""

import os
import sys
import sysconfig

OLDEST = (3, 9)


def problem():
    name = "Python %d.%d (%s)" % (sys.version_info[0], sys.version_info[1], sys.executable)
    if sys.version_info < OLDEST:
        return "%s is too old: %d.%d or newer is needed" % ((name,) + OLDEST)
    if sys.implementation.name != "cpython":
        return "%s is %s: CPython is needed" % (name, sys.implementation.name)
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return (
            "%s was built without a shared library, so it cannot be embedded: build it with --enable-shared "
            "(pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared) or choose another with PYTHON=" % name
        )
    library = os.path.join(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LDLIBRARY"))
    if not os.path.exists(library):
        package = "python%d.%d-dev" % sys.version_info[:2]
        return "%s has no %s: install its development files (Debian: %s)" % (name, library, package)
    return None


if __name__ == "__main__":
    found = problem()
    if found:
        sys.exit("error: " + found)
    print(sys.executable)
    print(os.path.realpath(sys.executable))
