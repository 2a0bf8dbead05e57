"""Starts and stops servers with several workers: nginx, and Gunicorn beside it. Used by spread.py and sizing.py."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import measured_nginx as measured

PREPARE = measured.ROOT / "wsgi-testkit/harness/frameworks/prepare.py"
# CPU time in which workers count as idle, in microseconds per INTERVAL seconds.
IDLE, INTERVAL = 5000, 0.25


def environment(name):
    """The virtual environment `name` of prepare.py for this Python; it is made if it is absent."""
    made = subprocess.run([sys.executable, PREPARE, measured.ROOT / "target/venv", name], stdout=subprocess.PIPE, text=True)
    if made.returncode != 0:
        raise SystemExit(f"cannot prepare the virtual environment {name}")
    return pathlib.Path(made.stdout.strip())


class Server:
    """A running server in a temporary folder with `files`, contents by path. A `with` statement stops it."""

    def start(self, workers, files):
        """Returns when all workers have started and are idle. Subclasses define `command`."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wsgi-bench-"))
        self.port = measured.free_port()
        for path, text in {"logs/output": "", **files}.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_text(text)
        self.output = open(self.folder / "logs/output", "wb")
        self.process = subprocess.Popen(self.command(), stdout=self.output, stderr=self.output)
        try:
            self.wait(workers)
        except BaseException:
            self.process.terminate()
            self.process.wait(60)
            shutil.rmtree(self.folder)
            raise

    def wait(self, workers):
        deadline, before = time.monotonic() + 60, None
        while True:
            time.sleep(INTERVAL)
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self.name} did not start:\n" + (self.folder / "logs/output").read_text())
            spent = [measured.cpu(worker) for worker in self.workers()]
            if len(spent) == workers and before and sum(spent) - sum(before) < IDLE:
                return
            before = spent if len(spent) == workers else None

    def workers(self):
        """Process ids of the workers."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(child) for child in children.read_text().split()] if children.exists() else []

    def memory(self, key="Pss"):
        """Memory of all workers together, in KiB."""
        texts = [pathlib.Path(f"/proc/{worker}/smaps_rollup").read_text() for worker in self.workers()]
        return sum(int(re.search(rf"^{key}:\s+(\d+) kB", text, re.M)[1]) for text in texts)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


class Nginx(Server, measured.Nginx):
    """An nginx whose configuration has the directives `http` and, in the only server, `server`.

    Without `module` it does not load the measured module.
    """

    name = "nginx"

    def __init__(self, workers, files, http="", server="", module=True):
        self.count, self.http, self.server = workers, http, server
        self.load = f"load_module {measured.MODULE.resolve()};" if module else ""
        self.start(workers, files)

    def command(self):
        user = "user root;" if os.getuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(
            f"""
            {self.load} {user} daemon off; worker_processes {self.count};
            pid logs/nginx.pid; error_log logs/error.log warn;
            events {{ worker_connections 1024; }}
            http {{
                access_log off;
                {self.http}
                server {{ listen 127.0.0.1:{self.port}; {self.server} }}
            }}
            """
        )
        return [measured.NGINX, "-p", self.folder, "-c", "nginx.conf"]


class Gunicorn(Server):
    """Gunicorn with sync workers, which serve one request at a time each, and the script app.py."""

    name = "Gunicorn"

    def __init__(self, workers, files):
        self.count, self.program = workers, environment("gunicorn") / "bin/gunicorn"
        self.start(workers, files)

    def command(self):
        return [
            self.program, "--workers", str(self.count), "--worker-class", "sync", "--bind", f"127.0.0.1:{self.port}",
            "--log-level", "warning", "--chdir", self.folder, "app",
        ]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise SystemExit("Gunicorn did not end after SIGTERM") from None
        self.output.close()
