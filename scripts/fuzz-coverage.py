"""fuzz-coverage.py SUMMARY: regions of the parsing modules from llvm-cov's summary; fails below 95 % in one of them."""

import json
import pathlib
import sys

LEAST = 95
MODULES = {
    "head": ["head.rs", "head/status.rs", "head/ranges.rs"],
    "environ": ["environ/cache.rs", "environ/collected.rs", "environ/fixed.rs", "environ/name.rs", "environ/slots.rs"],
    "paths": ["environ/decode.rs", "environ/path.rs"],
    "snapshot": ["snapshot.rs"],
    "input": ["input.rs"],
    "response": ["response.rs", "response/framing.rs"],
    "http1": ["http1/extent.rs", "http1/terms.rs", "http1/writer.rs"],
    "output": ["output.rs", "output/spool.rs"],
    "record": ["record.rs"],
    "config": ["config/" + name + ".rs" for name in ("directives", "flag", "level", "lines", "process", "target", "value")],
    "connection": ["server/framing.rs", "server/guarded.rs", "server/strict.rs"],
}

root = pathlib.Path(__file__).resolve().parent.parent
files = {}
for file in json.load(open(sys.argv[1]))["data"][0]["files"]:
    for crate in ("wsgi-core", "wsgi-hyper"):
        path = pathlib.Path(file["filename"])
        if path.is_relative_to(root / crate / "src"):
            files[str(path.relative_to(root / crate / "src"))] = file["summary"]["regions"]

low = []
print(f"{'module':<32} {'regions':>8} {'missed':>8} {'reached':>9}")
for module, names in MODULES.items():
    # A file without code, such as a list of constants, has no regions.
    known = {name: files[name] for name in names if name in files}
    total = sum(regions["count"] for regions in known.values())
    reached = sum(regions["covered"] for regions in known.values())
    percent = 100 * reached / total
    print(f"{module:<32} {total:>8} {total - reached:>8} {percent:>8.1f}%")
    for name, regions in known.items():
        if regions["count"] > regions["covered"]:
            print(f"  {name:<30} {regions['count']:>8} {regions['count'] - regions['covered']:>8} {regions['percent']:>8.1f}%")
    if percent < LEAST:
        low.append(module)
if low:
    sys.exit(f"error: below {LEAST} %: {', '.join(low)}; seeds are missing, or code that nothing can reach is to go")
