"""Starts and stops an nginx for measurements, and sends requests. Used by bench.py, hop.py and soak.py."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
NGINX = ROOT / "target/nginx/sbin/nginx"
MODULE = pathlib.Path(os.environ.get("WSGI_BENCH_MODULE", ROOT / "target/nginx/modules/ngx_http_wsgi_module.so"))

# Both responses are equal except for Date: `return` sends a type and a length, the gateway adds the length.
BODY = "hello, world"
APPLICATION = f"""
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"{BODY}"]
"""

BARE = {}
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cookie": "sessionid=2c3f1a0b9d8e7f6a5b4c3d2e1f0a9b8c; csrftoken=abcdefghijklmnopqrstuvwxyz012345",
    "Upgrade-Insecure-Requests": "1",
    "Cache-Control": "max-age=0",
    "DNT": "1",
}


def request(path, headers):
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Client:
    """Sends requests to the server on `port` of this machine."""

    def get(self, path, count, headers=BARE):
        """Sends `count` requests over one connection, one after the other."""
        message = request(path, headers)
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(count):
                client.sendall(message)
                answer = b""
                while not answer.endswith(BODY.encode()):
                    piece = client.recv(65536)
                    if not piece:
                        raise OSError("the connection was closed")
                    answer += piece
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise SystemExit(f"unexpected answer: {answer[:200]!r}")

    def wrk(self, path, seconds, headers=BARE, connections=32):
        """The number of answered requests, and the seconds they took."""
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
        for name, value in headers.items():
            command += ["-H", f"{name}: {value}"]
        if shutil.which("taskset") and (os.cpu_count() or 1) > 1:
            command = ["taskset", "-c", "1", *command]
        text = subprocess.run(
            [*command, f"http://127.0.0.1:{self.port}{path}"], check=True, capture_output=True, text=True
        ).stdout
        if "Non-2xx" in text or "Socket errors" in text:
            raise SystemExit("wrk reported errors:\n" + text)
        return answered(text)


class Nginx(Client):
    """A running nginx with one worker; `single` makes it one process, which a profiler can follow.

    The path of its folder, and so that of its application, is longer by `padding`.
    """

    def __init__(self, threads, single=False, profiler=(), padding=0):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wsgi-bench-" + "x" * padding))
        self.port = free_port()
        (self.folder / "logs").mkdir()
        (self.folder / "app.py").write_text(APPLICATION)
        user = "user root;" if os.getuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(
            f"""
            load_module {MODULE};
            {user} daemon off; worker_processes 1; master_process {"off" if single else "on"};
            worker_cpu_affinity 01; env PYTHONHASHSEED=0;
            pid logs/nginx.pid; error_log logs/error.log warn;
            events {{ worker_connections 1024; }}
            http {{
                access_log off; keepalive_requests 1000000000; wsgi_threads {threads}; wsgi_preload on;
                server {{
                    listen 127.0.0.1:{self.port};
                    location = /return {{ return 200 "{BODY}"; }}
                    location / {{ wsgi_pass app.py; }}
                }}
            }}
            """
        )
        command = [*profiler, str(NGINX), "-p", str(self.folder), "-c", "nginx.conf"]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        self.output = open(self.folder / "logs/output", "wb")
        self.process = subprocess.Popen(command, env=environment, stdout=self.output, stderr=self.output)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.get("/", 1)
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("nginx did not start:\n" + (self.folder / "logs/output").read_text()) from None
                time.sleep(0.05)

    def worker(self):
        """Process id of the worker."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def cpu(self):
        """CPU time of the worker so far."""
        return cpu(self.worker())

    def memory(self, key="Pss"):
        """Memory of the worker in KiB."""
        text = pathlib.Path(f"/proc/{self.worker()}/smaps_rollup").read_text()
        return int(re.search(rf"^{key}:\s+(\d+) kB", text, re.M)[1])

    def stop(self):
        """Stops nginx; fails if its error log has a line."""
        deadline = time.monotonic() + 60
        while self.process.poll() is None:
            # Repeated, because a single process checks for signals between events, and misses a signal that arrives just
            # before it waits for the next event.
            self.process.send_signal(signal.SIGQUIT)
            time.sleep(0.2)
            if time.monotonic() > deadline:
                self.process.kill()
                raise SystemExit("nginx did not end after SIGQUIT")
        self.output.close()
        log = self.folder / "logs/error.log"
        text = log.read_text() if log.exists() else ""
        if text:
            raise SystemExit("unexpected lines in the error log:\n" + text)
        shutil.rmtree(self.folder)


def answered(text):
    """The number of requests, and the seconds they took, in the output of wrk."""
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", text)
    scale = {"ms": 0.001, "s": 1, "m": 60}[found[3]]
    return int(found[1]), float(found[2]) * scale


def cpu(process):
    """CPU time of a process so far, in microseconds, from the kernel's run-time counter of each thread."""
    tasks = pathlib.Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1000


# Lengths of padding in strings that live from the start on, to vary the layout of the memory.
PADDINGS = (50, 100, 150, 200)


def least(count, limit, again):
    """Returns a count of instructions or, if it is above the limit, the least of further counts.

    Two effects can only increase a count. Threads wait for each other more often on a busy machine. Depending on the positions of
    its free chunks, the allocator may need some two hundred instructions more in each request.
    """
    for padding in PADDINGS:
        if count <= limit:
            break
        count = min(count, again(padding))
    return count


def table(rows):
    """Prints rows of text and numbers in columns; the first row is the head."""
    rows = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                        for column, (cell, width) in enumerate(zip(row, widths))))
        if number == 0:
            print("  ".join("-" * width for width in widths))
    print()


def write(name, figures):
    path = ROOT / "target/bench" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"written to {path.relative_to(ROOT)}")
