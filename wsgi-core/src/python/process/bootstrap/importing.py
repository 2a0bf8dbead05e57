"""A script that is imported by its own name, as `from app import db` does in another module, is the module that is loaded.

Without this Python would run its file a second time, and the application would have two of everything in it.
"""

import os
import sys

# The modules of scripts, by the name that an import of the file ends with.
stems = {}
# The names that scripts were imported by, by the names of their modules.
aliases = {}


def stem_of(path):
    return os.path.splitext(os.path.basename(path))[0]


def is_same_file(one, other):
    try:
        return os.path.samefile(one, other)
    except (OSError, TypeError, ValueError):
        return False


class LoadedScript:
    """Loads a name by putting the module of a script in its place."""

    def __init__(self, script):
        self._script = script

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        name = module.__spec__.name
        aliases.setdefault(self._script, set()).add(name)
        # importlib takes what stands here now, as for a module that replaces itself.
        sys.modules[name] = sys.modules[self._script]


class ImportOfScript:
    """Finds a script where an import would find its very file."""

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
    """What the import would find."""
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
                f'WSGI script "{path}" runs a second time: it was imported before, as module "{other}", and what the two '
                f'define is not the same. "wsgi_pass {other}" serves the module that is imported\n',
            )


def script_failed(name, path):
    """A script has failed when it ran for the first time."""
    stems.get(stem_of(path), set()).discard(name)
    for alias in aliases.pop(name, ()):
        sys.modules.pop(alias, None)


def script_replaced(name, module):
    """The module of a script is another one now: it was loaded again, or that has failed."""
    for alias in aliases.get(name, ()):
        sys.modules[alias] = module
        package, _, child = alias.rpartition(".")
        if package in sys.modules:
            setattr(sys.modules[package], child, module)


sys.meta_path.insert(0, ImportOfScript)
