"""Instructions per request, counted by callgrind: the same from run to run to a fraction of a percent."""

import pathlib
import re
import tempfile

# Numbers of requests. Two runs that differ in theirs leave out what a start and an end cost.
FEW, MANY = 300, 1300


def total(run, count):
    """Instructions of a program. `run` starts it with a profiler in front, for `count` requests, and waits for its end."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"], count)
        return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M)[1])


def per_request(run):
    """Instructions of a request; `run` as for total()."""
    return round((total(run, MANY) - total(run, FEW)) / (MANY - FEW))
