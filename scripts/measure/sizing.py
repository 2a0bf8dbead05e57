"""Measures a Django page behind nginx with as many workers as CPUs, and 1, 2 and 4 threads in each worker.

A page computes in Python and waits, as for a database, in the middle of its work. The closed loop has 8 clients and shows the
most requests per second. The open loop has random arrivals at 70 % of the capacity of one thread a worker, the same for every
number of threads. Each round starts a new nginx for each number of threads, and the order of these alternates; figures are
medians of the rounds. Memory is the PSS of all workers after the load.
"""

import argparse
import os
import pathlib
import statistics
import time

import client
import measured_nginx as measured
import servers

WORKERS = os.cpu_count() or 1
THREADS = (1, 2, 4)
# Milliseconds of computing and of waiting, by page.
PAGES = {"40 ms CPU, 10 ms wait": (40, 10), "10 ms CPU, 40 ms wait": (10, 40)}
CLIENTS, SHARE = 8, 0.7

COMPUTE = """
def compute(loops):
    total = 0
    for number in range(loops):
        total += number * number % 7
    return total
"""
APPLICATION = f"""
import time

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(
    SECRET_KEY="only for this measurement",
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
)
{COMPUTE}
def page(request, loops, wait):
    compute(loops // 2)
    time.sleep(wait / 1000)
    compute(loops // 2)
    return HttpResponse("x" * 1024)

urlpatterns = [path("page/<int:loops>/<int:wait>", page)]
application = get_wsgi_application()
"""


def calibrate():
    """Loops of `compute` per millisecond of CPU time: the median of several runs."""
    scope, loops, rates = {}, 200_000, []
    exec(COMPUTE, scope)
    for _ in range(15):
        before = time.process_time()
        scope["compute"](loops)
        rates.append(loops / (time.process_time() - before) / 1000)
    return statistics.median(rates)


def percentiles(answers):
    seconds = [answer["seconds"] for answer in answers]
    return client.quantile(seconds, 0.5) * 1000, client.quantile(seconds, 0.99) * 1000


def run(port, path, rate, seconds, seed):
    """Figures of one page in one round: requests per second, and times in milliseconds."""
    closed = client.closed_loop(port, path, CLIENTS, seconds)
    end = min(answer["due"] for answer in closed) + seconds
    answered = sum(answer["due"] + answer["seconds"] <= end for answer in closed)
    opened = client.open_loop(port, client.poisson(seed, rate, seconds, lambda numbers: path))
    return [answered / seconds, *percentiles(closed), *percentiles(opened)]


def measure(options, loops):
    """The figures of each round, by page and number of threads, and the memory by number of threads."""
    figures = {page: {threads: [] for threads in THREADS} for page in PAGES}
    memory = {threads: [] for threads in THREADS}
    python = servers.environment("frameworks")
    for number in range(options.rounds):
        for threads in THREADS[:: -1 if number % 2 else 1]:
            http = f"wsgi_python_home {python}; wsgi_threads {threads}; wsgi_preload on;"
            with servers.Nginx(WORKERS, {"app.py": APPLICATION}, http, "location / { wsgi_pass app.py; }") as nginx:
                for page, (cpu, wait) in PAGES.items():
                    path, rate = f"/page/{round(cpu * loops)}/{wait}", SHARE * WORKERS * 1000 / (cpu + wait)
                    row = run(nginx.port, path, rate, options.seconds, number)
                    figures[page][threads].append(row)
                    print(f"    {number + 1:>2} threads {threads}, {page}: {row[0]:.1f} requests per second, open loop p50 "
                          f"{row[3]:.0f} ms, p99 {row[4]:.0f} ms", flush=True)
                memory[threads].append(nginx.memory())
    return figures, memory


def medians(rows):
    return [statistics.median(column) for column in zip(*rows)]


def main():
    parser = argparse.ArgumentParser(prog="bench sizing")
    parser.add_argument("--rounds", type=int, default=5, help="rounds for each number of threads: %(default)s by default")
    parser.add_argument("--seconds", type=int, default=10, help="length of each loop in a round: %(default)s by default")
    parser.add_argument("--module", type=pathlib.Path, help="measure this build of the module")
    options = parser.parse_args()
    if options.module:
        measured.MODULE = options.module
    loops = calibrate()
    print(f"{loops:,.0f} loops of the page take 1 ms of CPU time")
    print(f"{options.rounds} rounds, nginx with {WORKERS} workers", flush=True)
    figures, memory = measure(options, loops)
    found = {page: {threads: medians(rows) for threads, rows in runs.items()} for page, runs in figures.items()}
    kib = {threads: statistics.median(values) for threads, values in memory.items()}
    print(f"\nA Django page, closed loop of {CLIENTS} clients, open loop at {SHARE:.0%} of the capacity of 1 thread a worker:")
    measured.table([
        ["page", "threads", "req/s closed", "p50 ms", "p99 ms", "p50 ms open", "p99 ms open", "MiB of all workers"],
        *([page, threads, f"{row[0]:.1f}", *(f"{value:.0f}" for value in row[1:]), f"{kib[threads] / 1024:.1f}"]
          for page, runs in found.items() for threads, row in runs.items()),
    ])
    keys = ("requests_per_second", "closed_p50_ms", "closed_p99_ms", "open_p50_ms", "open_p99_ms")
    measured.write("sizing.json", {
        "workers": WORKERS, "loops_per_ms": loops, "pss_kib": kib,
        "pages": {page: {threads: dict(zip(keys, row)) for threads, row in runs.items()} for page, runs in found.items()},
    })


if __name__ == "__main__":
    main()
