"""Loading scripts and modules."""

import gc
import importlib
import importlib.util
import os
import sys


# Finds scripts also in processes that multiprocessing starts anew.
spawned = {"__name__": "_wsgi_gateway_spawned", "source": gateway.spawned, "scripts": {}}
exec(compile(gateway.spawned, "<wsgi_gateway/spawned>", "exec"), spawned)
ScriptLoader = spawned["ScriptLoader"]
# Paths of scripts, by the names of their modules.
scripts = spawned["scripts"]

# Version of the file that a module was loaded from, by the module's name.
versions = {}


def load_script(name, path, version, watched):
    """Returns the module of a script; loads it first if it is new, or if it is watched and its file has changed."""
    before = sys.modules.get(name)
    if before is not None and not (watched and versions.get(name) != version):
        return before
    # Set before the script runs, because it may start processes while it is loaded.
    scripts[name] = path
    if before is None:
        script_begins(name, path)
    try:
        return execute(name, path, version, before, None)
    except BaseException:
        if before is None:
            script_failed(name, path)
            scripts.pop(name, None)
        raise


def load_module(name, version, watched):
    """Like load_script, for a module that Python finds by its name."""
    before = sys.modules.get(name)
    if before is None:
        module = importlib.import_module(name)
        versions[name] = version
        return module
    path = getattr(getattr(before, "__spec__", None), "origin", None)
    if path is None or not watched or versions.setdefault(name, version) == version:
        return before
    module = execute(name, path, version, before, before.__spec__.submodule_search_locations)
    package, _, child = name.rpartition(".")
    if package in sys.modules:
        setattr(sys.modules[package], child, module)
    return module


def execute(name, path, version, before, search_locations):
    """Creates a module from a file. If that fails, the previous module is restored."""
    loader = ScriptLoader(name, path)
    spec = importlib.util.spec_from_file_location(
        name, path, loader=loader, submodule_search_locations=search_locations
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    script_replaced(name, module)
    # As in importlib: a name that is missing meanwhile is then reported as a circular import.
    spec._initializing = True
    try:
        loader.exec_module(module)
    except BaseException:
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before
            script_replaced(name, before)
        raise
    finally:
        spec._initializing = False
    versions[name] = version
    # A script may replace itself in sys.modules, as any module may.
    found = sys.modules.get(name, module)
    if found is not module:
        script_replaced(name, found)
    return found


def find_file(name):
    """Returns the file that a module would be loaded from, as bytes, or None."""
    spec = importlib.util.find_spec(name)
    return os.fsencode(spec.origin) if spec is not None and spec.has_location else None


def import_module(name):
    return importlib.import_module(name)


def collect(again):
    """Collects garbage before freeze()."""
    if again:
        # Objects of the previous version can be collected now.
        gc.unfreeze()
    gc.collect()


# Hides all objects from the garbage collector.
freeze = gc.freeze
