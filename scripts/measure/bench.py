"""Measures the cost of a request: instructions, CPU time, requests per second, and the memory of a worker.

The reference is `return 200` of the same nginx, which answers the same 12 bytes. CPU times are ratios of alternating runs, so
that other load on the machine affects both. `--instructions` counts only instructions, also those of the in-process host (see
embedding.py) and of wsgi-hyper (see hop.py), and compares them with the recorded numbers and with limits. `--record` writes the
numbers.
"""

import json
import statistics
import sys

import embedding
import hop
import instructions
import measured_nginx as measured

RECORD = measured.ROOT / "scripts/measure/instructions.json"
PAIRS = 7
SECONDS = 2
# Noise, relative to the recorded number: other versions of libraries, another layout of the memory.
TOLERANCE = 1.03


def paired(threads, headers):
    nginx = measured.Nginx(threads)

    def run(path):
        before = nginx.cpu()
        requests, seconds = nginx.wrk(path, SECONDS, headers)
        return (nginx.cpu() - before) / requests, requests / seconds

    run("/return"), run("/")
    pairs = [(run("/return"), run("/")) for _ in range(PAIRS)]
    memory = nginx.memory()
    nginx.stop()
    median = statistics.median
    return {
        "cpu_us_return": round(median(base[0] for base, _ in pairs), 2),
        "cpu_us_wsgi": round(median(own[0] for _, own in pairs), 2),
        "cpu_ratio": round(median(own[0] / base[0] for base, own in pairs), 3),
        "requests_per_second_return": round(median(base[1] for base, _ in pairs)),
        "requests_per_second_wsgi": round(median(own[1] for _, own in pairs)),
        "requests_ratio": round(median(own[1] / base[1] for base, own in pairs), 3),
        "pss_kib_after_load": memory,
    }


def fresh_memory(threads):
    nginx = measured.Nginx(threads)
    memory = nginx.memory()
    nginx.stop()
    return memory


def show_instructions(figures):
    print("Instructions per request (callgrind); for applications those beyond `return 200`:")
    measured.table([
        ["headers", "return 200", "inline", "threads"],
        *([name, row["return"], row["inline"], row["threads"]] for name, row in figures.items()),
    ])


def slips(figures):
    recorded = json.loads(RECORD.read_text())
    found = []
    for name, row in figures.items():
        for mode in instructions.MODES:
            limit = recorded[name][mode] * TOLERANCE
            again = lambda padding: instructions.beyond(mode, name, row["return"], padding)
            row[mode] = measured.least(row[mode], limit, again)
            if row[mode] > limit:
                found.append(f"{mode} with {name} headers: {row[mode]:,} instructions, the recorded number is {recorded[name][mode]:,}")
    return found


def main(arguments):
    figures, embedded, hops = instructions.count(), embedding.count(), hop.count()
    show_instructions(figures)
    embedding.show(embedded)
    hop.show(hops)
    if "--record" in arguments:
        RECORD.write_text(json.dumps(figures, indent=2) + "\n")
        embedding.record(embedded)
    if "--instructions" in arguments:
        found = [*slips(figures), *embedding.slips(embedded), *hop.slips(hops)]
        if found:
            recorded = "scripts/measure/instructions.json, scripts/measure/embedding.json"
            sys.exit(f"too many instructions ({recorded}):\n  " + "\n  ".join(found))
        print("Within the limits, and above the recorded numbers by no more than noise.")
        return
    runs = {}
    for mode, threads in (("inline", 0), ("threads", 1)):
        for name, headers in instructions.HEADERS.items():
            print(f"{PAIRS} pairs of runs, {mode}, {name} headers", flush=True)
            runs[f"{mode}, {name}"] = paired(threads, headers)
    print("\nCPU time and requests per second, medians of paired runs with wrk:")
    measured.table([
        ["run", "µs return", "µs wsgi", "ratio", "req/s return", "req/s wsgi", "ratio"],
        *([name, row["cpu_us_return"], row["cpu_us_wsgi"], row["cpu_ratio"], row["requests_per_second_return"],
           row["requests_per_second_wsgi"], row["requests_ratio"]] for name, row in runs.items()),
    ])
    behind_hyper = {"instructions": hops, "runs": hop.measure()}
    memory = {mode: fresh_memory(threads) for mode, threads in (("inline", 0), ("threads", 1))}
    print("Memory of a worker with one small application, PSS in KiB:")
    measured.table([["mode", "fresh"], *([mode, kib] for mode, kib in memory.items())])
    measured.write("bench.json", {
        "instructions": figures, "embedding": embedded, "hop": behind_hyper, "runs": runs, "pss_kib": memory,
    })


main(sys.argv[1:])
