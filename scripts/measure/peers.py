"""Measures the CPU time of a request of our hosts and of other WSGI servers, for several kinds of requests.

Every server runs the same scripts with the same Python, as one process with one thread for applications, on one CPU; wrk runs
on another one. In each round each server gets each request for some seconds. The table has the medians of the rounds; a ratio
is the median of the ratios of the rounds, so that other load on the machine affects both sides. A server that cannot answer a
request correctly has no figure there.

`peers.py hello file` measures only these requests.
"""

import argparse
import datetime
import hashlib
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import measured_nginx as measured
import peer_servers as peers

HELLO = b"hello, world"
SCRIPTS = {
    "plain.py": '''
import os

BLOCK, PIECE, MORE, MOST = b"x" * 1024, b"y" * 100, b"z" * 102400, b"z" * 10485760
FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "file")

def application(environ, start_response):
    path = environ["PATH_INFO"]
    headers = [("Content-Type", "text/plain")]
    if path == "/post":
        body = environ["wsgi.input"].read()
        start_response("200 OK", headers)
        return [b"%d" % len(body)]
    if path == "/file":
        file = open(FILE, "rb")
        start_response("200 OK", headers + [("Content-Length", "10485760")])
        if "wsgi.file_wrapper" in environ:
            return environ["wsgi.file_wrapper"](file, 65536)
        return iter(lambda: file.read(65536), b"")
    write = start_response("200 OK", headers)
    if path == "/write":
        for _ in range(100):
            write(PIECE)
        return []
    if path == "/generator":
        return (BLOCK for _ in range(1000))
    if path == "/body/100k":
        return [MORE]
    if path == "/body/10m":
        return [MOST]
    return [b"hello, world"]
''',
    "flask_page.py": '''
from flask import Flask

application = Flask(__name__)

@application.get("/")
def hello():
    return "hello, world", {"Content-Type": "text/plain"}
''',
    "django_page.py": '''
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(
    SECRET_KEY="only for this measurement",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)
urlpatterns = [path("", lambda request: HttpResponse("hello, world", content_type="text/plain"))]
application = get_wsgi_application()
''',
}
FILE = bytes(range(256)) * 40960
HEADERS = {f"X-Header-{number}": f"value of the header with the number {number}" for number in range(19)}


class Workload:
    """Requests of one kind. `body` is the length of a request body, `expected` the response."""

    def __init__(self, path, expected, connections, script="plain.py", body=0, headers=(), ours=()):
        self.path, self.expected, self.connections, self.script = path, expected, connections, script
        self.body, self.headers = body, dict(headers)
        # Names of the servers that are measured; all by default.
        self.only = ours

    def suits(self, name, server):
        """Whether a running server is measured: it answers as expected."""
        if self.only and name not in self.only or self.path == "/write" and not server.writes:
            return False
        url, data = f"http://127.0.0.1:{server.port}{self.path}", b"x" * self.body or None
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, self.headers), timeout=60) as response:
                return response.read() == self.expected
        except OSError:
            return False

    def wrk(self, port, seconds):
        """The number of answered requests; 0 if some were not answered."""
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            if self.body:
                script.write(f'wrk.method = "POST"\nwrk.body = string.rep("x", {self.body})\n')
            for name, value in self.headers.items():
                script.write(f'wrk.headers["{name}"] = "{value}"\n')
            script.flush()
            command = ["wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s", "-s", script.name]
            done = subprocess.run(
                [*peers.pinned(1), *command, f"http://127.0.0.1:{port}{self.path}"], capture_output=True, text=True
            )
        failed = done.returncode or "Non-2xx" in done.stdout or "Socket errors" in done.stdout
        return 0 if failed else measured.answered(done.stdout)[0]


NGINX = ("inline",)
WORKLOADS = {
    "return 200": Workload("/return", HELLO, 32, ours=NGINX),
    "hello": Workload("/", HELLO, 32),
    "20 headers": Workload("/", HELLO, 32, headers=HEADERS),
    "POST 64 KiB": Workload("/post", b"65536", 4, body=65536),
    "POST 8 MiB": Workload("/post", b"8388608", 2, body=8388608),
    "body 100 KiB": Workload("/body/100k", b"z" * 102400, 8),
    "body 10 MiB": Workload("/body/10m", b"z" * 10485760, 2),
    "generator": Workload("/generator", b"x" * 1024000, 4),
    "static 10 MiB": Workload("/static/file", FILE, 2, ours=NGINX),
    "file 10 MiB": Workload("/file", FILE, 2),
    "write()": Workload("/write", b"y" * 10000, 4),
    "Flask": Workload("/", HELLO, 8, script="flask_page.py"),
    "Django": Workload("/", HELLO, 8, script="django_page.py"),
}
# The most that a figure should be, as a ratio to another figure of the same rounds.
GOALS = [
    ("POST 64 KiB", "inline", 1.0, "POST 64 KiB", "granian"),
    ("POST 64 KiB", "threads", 1.0, "POST 64 KiB", "granian"),
    ("POST 64 KiB", "wsgi-hyper", 1.1, "POST 64 KiB", "granian"),
    ("POST 8 MiB", "inline", 1.0, "POST 8 MiB", "granian"),
    ("POST 8 MiB", "threads", 1.0, "POST 8 MiB", "granian"),
    ("POST 8 MiB", "wsgi-hyper", 1.1, "POST 8 MiB", "granian"),
    ("generator", "threads", 0.6, "generator", "nginx+uWSGI"),
    ("generator", "inline", 1.0, "generator", "bjoern"),
    ("file 10 MiB", "inline", 1.1, "static 10 MiB", "inline"),
    ("file 10 MiB", "threads", 1.1, "static 10 MiB", "inline"),
    ("file 10 MiB", "wsgi-hyper", 1.0, "file 10 MiB", "granian"),
    ("write()", "threads", 1.0, "write()", "nginx+uWSGI"),
    ("hello", "inline", 1.2, "return 200", "inline"),
    ("hello", "threads", 1.75, "return 200", "inline"),
    ("hello", "wsgi-hyper", 0.95, "hello", "granian"),
    ("20 headers", "inline", 0.9, "20 headers", "fastwsgi"),
    ("20 headers", "threads", 0.85, "20 headers", "granian"),
    ("20 headers", "wsgi-hyper", 1.1, "20 headers", "granian"),
    ("Flask", "inline", 1.15, "Flask", "bjoern"),
    ("Django", "inline", 1.15, "Django", "bjoern"),
]


def measure(names, servers, rounds, seconds):
    """CPU time of a request in microseconds: a list with one figure for each round, by request and server."""
    figures = {name: {server: [] for server in servers} for name in names}
    for script in SCRIPTS:
        chosen = [name for name in names if WORKLOADS[name].script == script]
        if not chosen:
            continue
        with tempfile.TemporaryDirectory(prefix="wsgi-bench-") as folder:
            for path, text in SCRIPTS.items():
                (Path(folder) / path).write_text(text)
            (Path(folder) / "file").write_bytes(FILE)
            running = peers.start(servers, Path(folder), script)
            try:
                run(figures, chosen, running, rounds, seconds)
            finally:
                peers.stop(running)
    return figures


def run(figures, names, running, rounds, seconds):
    answered = {name: [server for server in running if WORKLOADS[name].suits(server, running[server])] for name in names}
    for number in range(rounds):
        for name in names:
            for server in answered[name][:: -1 if number % 2 else 1]:
                before = running[server].cpu()
                count = WORKLOADS[name].wrk(running[server].port, seconds)
                spent = running[server].cpu() - before
                figures[name][server].append(spent / count if count else None)
            row = {server: figures[name][server][-1] for server in answered[name]}
            print(f"    {number + 1:>2} {name}: " + ", ".join(f"{server} {shown(value)}" for server, value in row.items()), flush=True)


def median(values):
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def shown(value):
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def ratio(figures, name, server, other_name, other):
    pairs = zip(figures.get(name, {}).get(server, ()), figures.get(other_name, {}).get(other, ()))
    return median([one / two for one, two in pairs if one and two])


def main():
    parser = argparse.ArgumentParser(prog="bench peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests", nargs="*", metavar="REQUEST", help=f"of {', '.join(WORKLOADS)}; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="%(default)s by default")
    parser.add_argument("--seconds", type=int, default=2, help="length of one measurement: %(default)s by default")
    parser.add_argument("--servers", help="their names, separated by commas; all by default")
    options = parser.parse_args()
    unknown = [name for name in options.requests if name not in WORKLOADS]
    if unknown or not shutil.which("wrk"):
        parser.error(f"no such request: {', '.join(unknown)}" if unknown else "wrk is not installed")
    names = [name for name in WORKLOADS if not options.requests or name in options.requests]
    servers, versions = peers.available(options.servers and options.servers.split(","))
    figures = measure(names, servers, options.rounds, options.seconds)
    print(f"\nCPU time of a request in microseconds, medians of {options.rounds} rounds:")
    measured.table([
        ["request", *servers],
        *([name, *(shown(median(figures[name][server])) for server in servers)] for name in names),
    ])
    goals = []
    for name, server, most, other_name, other in GOALS:
        found = ratio(figures, name, server, other_name, other)
        if found is not None:
            beside = other if other_name == name else other_name
            goals.append([name, server, beside, f"{found:.2f}", f"{most:.2f}", "yes" if found <= most else "no"])
    if goals:
        print("Ratios, medians of the rounds:")
        measured.table([["request", "server", "beside", "ratio", "goal", "reached"], *goals])
    measured.write("peers.json", {
        "date": datetime.date.today().isoformat(), "versions": versions, "machine": platform.machine(), "cpus": os.cpu_count(),
        "kernel": platform.release(), "cpu_us": figures, "goals": goals,
    })


if __name__ == "__main__":
    main()
