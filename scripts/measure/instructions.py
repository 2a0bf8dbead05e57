"""Instructions per request, counted by callgrind: the same from run to run to a fraction of a percent.

Two runs that differ in their number of requests leave out what a start and an end cost.
"""

import pathlib
import re
import tempfile

import measured_nginx as measured

FEW, MANY = 300, 1300
HEADERS = {"bare": measured.BARE, "browser": measured.BROWSER}


def total(threads, path, headers, count, padding):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        profiler = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        nginx = measured.Nginx(threads, single=True, profiler=profiler, padding=padding)
        nginx.get(path, count, headers)
        nginx.stop()
        return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M)[1])


def per_request(threads, path, headers, padding=0):
    few, many = (total(threads, path, headers, count, padding) for count in (FEW, MANY))
    return round((many - few) / (MANY - FEW))


MODES = {"inline": 0, "threads": 1}


def beyond(mode, headers, base, padding=0):
    """Instructions of an application beyond those of `return 200`."""
    return per_request(MODES[mode], "/", HEADERS[headers], padding) - base


def count():
    """Instructions of `return 200`, and of an application beyond them, by execution mode and headers."""
    figures = {}
    for name, headers in HEADERS.items():
        base = per_request(0, "/return", headers)
        figures[name] = {"return": base, **{mode: beyond(mode, name, base) for mode in MODES}}
    return figures
