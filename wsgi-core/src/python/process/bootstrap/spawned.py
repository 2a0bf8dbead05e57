"""Lets processes that `multiprocessing` starts anew find the modules of scripts.

A pickle names a function or a class by its module. The module name of a script is derived from its path, and `import`
does not find it. The data that `multiprocessing` passes to a new process (start methods `spawn` and `forkserver`)
therefore has one more entry: this source, which runs there as it has run here, and the paths of the scripts, for that
process and those that it starts in turn.

`source` is this source; `scripts` has the paths of scripts by the names of their modules.
"""

import errno
import importlib.machinery
import importlib.util
import os
import stat
import sys


class ScriptLoader(importlib.machinery.SourceFileLoader):
    """Compiles a script from its source each time.

    No bytecode is read or written: app.wsgi and app.py would share one cache file, and after a change within the
    resolution of its time stamp the old code would run.
    """

    def get_data(self, path):
        # Opening a pipe would block, and with it all requests for the application.
        def opener(path, flags):
            descriptor = os.open(path, flags | os.O_NONBLOCK)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise OSError(errno.EINVAL, "not a regular file", path)
            return descriptor

        with open(path, "rb", opener=opener) as file:
            return file.read()

    def get_code(self, fullname):
        path = self.get_filename(fullname)
        return compile(self.get_data(path), path, "exec", dont_inherit=True)


class Handover:
    """The entry, which a new process unpickles before the function that it runs."""

    def __reduce__(self):
        return exec, (source, {"__name__": __name__, "source": source, "scripts": dict(scripts)})


def hand_over(spawn):
    """Adds the entry to the data that the module multiprocessing.spawn prepares for a new process."""
    original = spawn.get_preparation_data

    def get_preparation_data(name):
        data = original(name)
        if scripts:
            data["wsgi_scripts"] = Handover()
        return data

    spawn.get_preparation_data = get_preparation_data


class SpawnLoader:
    """Loads multiprocessing.spawn and patches it."""

    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        hand_over(module)


class ScriptFinder:
    """Finds scripts by the names of their modules, and patches multiprocessing.spawn if an application imports it."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in scripts:
            return importlib.util.spec_from_file_location(name, scripts[name], loader=ScriptLoader(name, scripts[name]))
        if name != "multiprocessing.spawn":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = SpawnLoader(spec.loader)
        return spec


sys.meta_path.insert(0, ScriptFinder)
if "multiprocessing.spawn" in sys.modules:
    hand_over(sys.modules["multiprocessing.spawn"])
