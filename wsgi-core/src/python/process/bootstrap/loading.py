"""Loading scripts and modules."""

import gc
import importlib
import importlib.util
import os
import sys


# Finds scripts also in processes that are started anew.
spawned = {"__name__": "_wsgi_gateway_spawned", "source": gateway.spawned, "scripts": {}}
exec(compile(gateway.spawned, "<wsgi_gateway/spawned>", "exec"), spawned)
ScriptLoader = spawned["ScriptLoader"]
# The paths of scripts, by the names of their modules.
scripts = spawned["scripts"]

# Which version of its file a module was made from, by the module's name.
versions = {}


def load_script(name, path, version, watched):
    """The module of a script: the one there is, unless it is watched and its file is another one now."""
    before = sys.modules.get(name)
    if before is not None and not (watched and versions.get(name) != version):
        return before
    # From here on: a script may start processes while it is loaded.
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
    """As load_script, for a module that Python finds by its name."""
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
    """Makes a module from a file. If that fails, everything is as before."""
    loader = ScriptLoader(name, path)
    spec = importlib.util.spec_from_file_location(
        name, path, loader=loader, submodule_search_locations=search_locations
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    script_replaced(name, module)
    # As importlib does it: what fails for want of a name in the meantime is called a circular import.
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
    """The file that a module would come from, as bytes, or None."""
    spec = importlib.util.find_spec(name)
    return os.fsencode(spec.origin) if spec is not None and spec.has_location else None


def import_module(name):
    return importlib.import_module(name)


def collect(again):
    """What comes before freeze()."""
    if again:
        # What the version before has left can be collected now.
        gc.unfreeze()
    gc.collect()


# Moves what the application has loaded out of the garbage collector's sight.
freeze = gc.freeze
