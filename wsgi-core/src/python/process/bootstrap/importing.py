"""Makes an import of a script by its file name, as `from app import db` in another module, return the loaded module.

Without this Python would run the file a second time, and the application would have two of each of its objects.
"""

import os
import sys

# Modules of scripts, by the last part of the name under which an import finds the file.
stems = {}
# Names under which scripts were imported, by the names of their modules.
aliases = {}


def stem_of(path):
    return os.path.splitext(os.path.basename(path))[0]


def is_same_file(one, other):
    try:
        return os.path.samefile(one, other)
    except (OSError, TypeError, ValueError):
        return False


class LoadedScript:
    """Loads a name by using the module of a script for it."""

    def __init__(self, script):
        self._script = script

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        name = module.__spec__.name
        aliases.setdefault(self._script, set()).add(name)
        # importlib returns the module that is in sys.modules now, which supports modules that replace themselves.
        sys.modules[name] = sys.modules[self._script]


class ImportOfScript:
    """Finds a script where an import would find the same file."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        candidates = stems.get(name.rpartition(".")[2])
        if not candidates or name in scripts:
            return None
        spec = find_elsewhere(name, path, target)
        origin = getattr(spec, "origin", None)
        for script in candidates:
            if script in sys.modules and is_same_file(origin, scripts.get(script)):
                spec.loader = LoadedScript(script)
                break
        return spec


def find_elsewhere(name, path, target):
    """Returns the spec that the import would find without ImportOfScript."""
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        if finder is not ImportOfScript and find_spec is not None:
            spec = find_spec(name, path, target)
            if spec is not None:
                return spec
    return None


def script_begins(name, path):
    """Called before a script runs for the first time."""
    stems.setdefault(stem_of(path), set()).add(name)
    for other, module in list(sys.modules.items()):
        if other.rpartition(".")[2] == stem_of(path) and is_same_file(getattr(module, "__file__", None), path):
            gateway.log(
                "warn",
                f'WSGI script "{path}" runs a second time: it was imported before, as module "{other}", and the two '
                f'modules share no variables. "wsgi_pass {other}" serves the module that is imported\n',
            )


def script_failed(name, path):
    """Called when a script has failed in its first run."""
    stems.get(stem_of(path), set()).discard(name)
    for alias in aliases.pop(name, ()):
        sys.modules.pop(alias, None)


def script_replaced(name, module):
    """Called when the module of a script was replaced: it was loaded again, or that has failed."""
    for alias in aliases.get(name, ()):
        sys.modules[alias] = module
        package, _, child = alias.rpartition(".")
        if package in sys.modules:
            setattr(sys.modules[package], child, module)


sys.meta_path.insert(0, ImportOfScript)
