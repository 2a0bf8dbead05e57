"""Instructions per request of the in-process host, by callgrind, compared with a bare loop over Python's C API.

The loop makes the same environ and the same call (see benches/src/bare.rs). In the set `changing`, requests of two clients with
different headers alternate. It is the worst case for the gateway's cache of similar requests, does not affect the loop, and has
a higher limit.
"""

import json
import os
import subprocess
import sys

import callgrind
import measured_nginx as measured

PROGRAM = measured.ROOT / "target/bench/release/embedding"
RECORD = measured.ROOT / "scripts/measure/embedding.json"
WAYS = ("bare", "inline", "threads")
# Limits of the gateway's instructions, relative to those of the loop, by set of requests.
LIMITS = {"bare": 1.5, "browser": 1.5, "changing": 2.0}
# Noise, relative to the recorded number; more with threads, which wait for each other.
TOLERANCES = {"inline": 1.03, "threads": 1.1}


def per_request(way, requests, padding=0):
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PADDING": "padding---" * padding}

    def run(profiler, count):
        command = [*profiler, PROGRAM, way, requests, str(count)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True)
        if ended.returncode != 0 or not ended.stdout.startswith(f"{count} requests"):
            raise SystemExit(f"{way} {requests} failed:\n{ended.stderr}{ended.stdout}")

    return callgrind.per_request(run)


def count():
    return {requests: {way: per_request(way, requests) for way in WAYS} for requests in LIMITS}


def ratio(row):
    return row["inline"] / row["bare"]


def show(figures):
    print("Instructions per request (callgrind), application included, of a bare C-API loop and of the in-process host:")
    measured.table([
        ["requests", "bare loop", "inline", "threads", "inline / bare loop"],
        *([name, row["bare"], row["inline"], row["threads"], f"{ratio(row):.2f}"] for name, row in figures.items()),
    ])


def slips(figures):
    """Messages for numbers above their limit or above the recorded number."""
    recorded = json.loads(RECORD.read_text())
    for name, row in figures.items():
        if ratio(row) > LIMITS[name]:
            yield f"{name}: {ratio(row):.2f} times the bare loop, the limit is {LIMITS[name]}"
        for way, tolerance in TOLERANCES.items():
            limit = recorded[name][way] * tolerance
            row[way] = measured.least(row[way], limit, lambda padding: per_request(way, name, padding))
            if row[way] > limit:
                yield f"{name}: {row[way]:,} instructions {way}, the recorded number is {recorded[name][way]:,}"


def record(figures):
    RECORD.write_text(json.dumps(figures, indent=2) + "\n")


def main(arguments):
    figures = count()
    show(figures)
    if "--record" in arguments:
        record(figures)
    found = list(slips(figures))
    if found:
        sys.exit("too many instructions (scripts/measure/embedding.json has the recorded numbers):\n  " + "\n  ".join(found))
    print("Within the limits and the recorded numbers.")


if __name__ == "__main__":
    main(sys.argv[1:])
