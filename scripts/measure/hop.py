"""The cost of a request behind hyper: wsgi-hyper's server, compared with a plain hyper that hops to one thread for the bare call.

The program benches/src/bin/hop.rs runs both, on one core with one application thread; benches/src/hop.rs describes the plain
one. callgrind counts the instructions for one client that waits for each answer, without those of the kernel. CPU times are
ratios of alternating runs and include the kernel.
"""

import concurrent.futures
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import callgrind
import measured_nginx as measured

PROGRAM = measured.ROOT / "target/bench/release/hop"
WAYS = ("plain", "server")
HEADERS = {"bare": measured.BARE, "browser": measured.BROWSER}
PAIRS = 15
SECONDS = 1
# Limit of wsgi-hyper's cost, relative to that of the plain hyper.
LIMIT = 1.3
# Noise in counts of instructions: the threads wait for each other at different places in each run.
TOLERANCE = 1.1


class Server(measured.Client):
    """One of the two servers, running."""

    def __init__(self, way, profiler=()):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wsgi-bench-"))
        (self.folder / "app.py").write_text(measured.APPLICATION)
        command = [*profiler, str(PROGRAM), way, str(self.folder / "app.py")]
        if not profiler and shutil.which("taskset"):
            command = ["taskset", "-c", "0", *command]
        self.process = subprocess.Popen(
            command, env={**os.environ, "PYTHONHASHSEED": "0"}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(self.folder / "errors", "w"),
        )
        address = self.process.stdout.readline()
        if not address:
            self.stop()
        self.port = int(address.rpartition(":")[2])

    def cpu(self):
        return measured.cpu(self.process.pid)

    def stop(self):
        """Stops the server; fails if it failed or printed an error."""
        self.process.communicate(timeout=60)
        errors = [line for line in (self.folder / "errors").read_text().splitlines() if not line.startswith("==")]
        if errors or self.process.returncode != 0:
            raise SystemExit("\n".join([f"{PROGRAM} failed:", *errors]))
        shutil.rmtree(self.folder)


def per_request(way, headers):
    def run(profiler, count):
        server = Server(way, profiler)
        server.get("/", count, headers)
        server.stop()

    return callgrind.per_request(run)


def count():
    """Instructions by headers and server. The runs are parallel: other processes do not change the counts."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = {
            name: {way: pool.submit(per_request, way, headers) for way in WAYS} for name, headers in HEADERS.items()
        }
        return {name: {way: run.result() for way, run in row.items()} for name, row in runs.items()}


def ratio(row):
    return row["server"] / row["plain"]


def show(figures):
    print("Instructions per request (callgrind), of a plain hyper with one hop to a thread and of wsgi-hyper:")
    measured.table([
        ["headers", "plain", "wsgi-hyper", "ratio"],
        *([name, row["plain"], row["server"], f"{ratio(row):.2f}"] for name, row in figures.items()),
    ])


def slips(figures):
    """Messages for ratios that exceed the limit by more than noise."""
    for name, row in figures.items():
        if ratio(row) > LIMIT * TOLERANCE:
            yield f"{name}: {ratio(row):.2f} times the instructions of the plain hyper, the limit is {LIMIT}"


def paired(headers, connections):
    """CPU times of both servers, and their ratio, in pairs of alternating runs."""
    servers = [Server(way) for way in WAYS]

    def run(server):
        before = server.cpu()
        requests, _ = server.wrk("/", SECONDS, headers, connections)
        return (server.cpu() - before) / requests

    pairs = []
    for number in range(PAIRS + 1):
        # The order within a pair alternates.
        turn = -1 if number % 2 else 1
        pairs.append([run(server) for server in servers[::turn]][::turn])
    for server in servers:
        server.stop()
    ratios = [own / base for base, own in pairs[1:]]
    return {
        "cpu_us_plain": round(statistics.median(base for base, _ in pairs[1:]), 2),
        "cpu_us_server": round(statistics.median(own for _, own in pairs[1:]), 2),
        "cpu_ratio": round(statistics.median(ratios), 3),
        "cpu_ratio_least": round(min(ratios), 3),
        "cpu_ratio_most": round(max(ratios), 3),
    }


def measure():
    runs = {}
    for name, headers in HEADERS.items():
        for connections in (1, 32):
            print(f"{PAIRS} pairs of runs, {name} headers, connections: {connections}", flush=True)
            runs[f"{name}, {connections}"] = paired(headers, connections)
    print("\nCPU time per request of a plain hyper with one hop to a thread and of wsgi-hyper, medians of paired runs with wrk:")
    measured.table([
        ["headers, connections", "µs plain", "µs wsgi-hyper", "ratio", "least", "most"],
        *([name, *row.values()] for name, row in runs.items()),
    ])
    return runs


def main(arguments):
    figures = count()
    show(figures)
    if "--instructions" not in arguments:
        measured.write("hop.json", {"instructions": figures, "runs": measure()})
    found = list(slips(figures))
    if found:
        sys.exit("too many instructions:\n  " + "\n  ".join(found))
    print("Within the limit.")


if __name__ == "__main__":
    main(sys.argv[1:])
