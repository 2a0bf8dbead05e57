"""fuzz-coverage.py EXPORT: prints the reached regions of the parsing modules from an export of llvm-cov; fails below 95 %."""

import collections
import json
import pathlib
import sys

LEAST = 95
MODULES = {
    "head": ("wsgi-core", ["head", "head/status", "head/ranges"]),
    "environ": ("wsgi-core", ["environ/" + name for name in ("cache", "collected", "fixed", "name", "slots")]),
    "paths": ("wsgi-core", ["environ/decode", "environ/path"]),
    "snapshot": ("wsgi-core", ["snapshot"]),
    "input": ("wsgi-core", ["input"]),
    "response": ("wsgi-core", ["response", "response/framing"]),
    "http1": ("wsgi-core", ["http1/extent", "http1/terms", "http1/writer"]),
    "output": ("wsgi-core", ["output", "output/spool"]),
    "record": ("wsgi-core", ["record"]),
    "config": (
        "wsgi-core",
        ["config/" + name for name in ("directives", "flag", "level", "lines", "process", "target", "value")],
    ),
    "connection": ("wsgi-hyper", ["server/framing", "server/guarded", "server/merging", "server/order"]),
}
CODE = 0

# The export has a generic function once for each of its types: its region counts once, and is reached if one of these is.
root = pathlib.Path(__file__).resolve().parents[2]
reached = collections.defaultdict(lambda: collections.defaultdict(int))
for function in json.load(open(sys.argv[1]))["data"][0]["functions"]:
    for *place, count, file, _, kind in function["regions"]:
        path = pathlib.Path(function["filenames"][file])
        if kind == CODE and path.is_relative_to(root):
            reached[path.relative_to(root)][tuple(place)] += count

low = []
print(f"{'module':<32} {'regions':>8} {'missed':>8} {'reached':>9}")


def row(name, counts):
    missed = sum(count == 0 for count in counts)
    percent = 100 - 100 * missed / len(counts)
    print(f"{name:<32} {len(counts):>8} {missed:>8} {percent:>8.1f}%")
    return percent


for module, (crate, names) in MODULES.items():
    paths = {name: pathlib.Path(crate, "src", name + ".rs") for name in names}
    moved = [str(path) for path in paths.values() if not (root / path).exists()]
    if moved:
        sys.exit(f"error: these files do not exist: {', '.join(moved)}; see MODULES in scripts/measure/fuzz-coverage.py")
    # A file without code, such as a list of constants, has no regions.
    known = {name: list(reached[path].values()) for name, path in paths.items() if path in reached}
    if row(module, [count for counts in known.values() for count in counts]) < LEAST:
        low.append(module)
    for name, counts in known.items():
        row("  " + name, counts)
if low:
    sys.exit(f"error: below {LEAST} %: {', '.join(low)}; add seeds, or remove unreachable code")
