"""Instructions per request, counted by callgrind: runs differ by a fraction of a percent."""

import pathlib
import re
import tempfile

# Numbers of requests. The difference of the two runs leaves out the instructions of start and end.
FEW, MANY = 300, 1300


def total(run, count):
    """Instructions of a program. `run(profiler, count)` runs it under the command `profiler` for `count` requests."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"], count)
        return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M)[1])


def per_request(run):
    """Instructions of a request; `run` as for total()."""
    return round((total(run, MANY) - total(run, FEW)) / (MANY - FEW))
