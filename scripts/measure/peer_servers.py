"""Starts and stops the servers that peers.py compares, each as one process with one thread for applications."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import measured_nginx as measured
import servers

HYPER = measured.ROOT / "target/bench/release/wsgi-hyper"


def pinned(cpu):
    """The words that run a command on one CPU, if there are several."""
    return ["taskset", "-c", str(cpu)] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else []


class Peer:
    """A server that serves `application` of a script in `folder`. `package` is its name in the package index."""

    package = None
    # Whether start_response returns the write callable. fastwsgi ends at a call of its result.
    writes = True

    def __init__(self, folder, script):
        self.folder, self.script, self.port = folder, script, measured.free_port()
        self.python = servers.environment(self.package or "frameworks") / "bin/python"
        self.processes = []
        self.launch()

    def spawn(self, *command, **environment):
        output = open(self.folder / "output", "ab")
        self.processes.append(subprocess.Popen(
            [*pinned(0), *map(str, command)], cwd=self.folder, stdout=output, stderr=output, env={**os.environ, **environment}
        ))

    def wait(self, name):
        """Returns when the server accepts connections."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and all(process.poll() is None for process in self.processes):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"{name} did not start:\n" + (self.folder / "output").read_text())

    def cpu(self):
        return sum(measured.cpu(number) for process in self.processes for number in family(process.pid))

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def family(number):
    """Process ids of a process and of all below it."""
    children = pathlib.Path(f"/proc/{number}/task/{number}/children").read_text().split()
    return [number, *(member for child in children for member in family(int(child)))]


class Nginx(Peer):
    directives = ""

    def launch(self):
        self.start(
            f"load_module {measured.MODULE.resolve()};",
            f"{self.directives} wsgi_preload on; wsgi_python_home {self.python.parents[1]};",
            f"wsgi_pass {self.folder / self.script};",
        )

    def start(self, load, http, location):
        prefix = self.folder / f"nginx-{self.port}"
        (prefix / "logs").mkdir(parents=True)
        user = "user root;" if os.getuid() == 0 else ""
        (prefix / "nginx.conf").write_text(
            f"""
            {load} {user} daemon off; worker_processes 1; pid logs/nginx.pid; error_log logs/error.log warn;
            events {{ worker_connections 1024; }}
            http {{
                access_log off; keepalive_requests 1000000000; sendfile on; client_max_body_size 16m;
                {http}
                server {{
                    listen 127.0.0.1:{self.port};
                    location = /return {{ default_type text/plain; return 200 "hello, world"; }}
                    location /static/ {{ alias {self.folder}/; }}
                    location / {{ {location} }}
                }}
            }}
            """
        )
        self.spawn(measured.NGINX, "-p", prefix, "-c", "nginx.conf")


class Inline(Nginx):
    directives = "wsgi_threads 0;"


class Threads(Nginx):
    directives = "wsgi_threads 1;"


class Hyper(Peer):
    def launch(self):
        home = f"wsgi_python_home={self.python.parents[1]}"
        self.spawn(HYPER, "--bind", f"127.0.0.1:{self.port}", "--set", home, self.script)


class BehindNginx(Nginx):
    package = "uwsgi"

    def launch(self):
        listen = self.folder / f"uwsgi-{self.port}.sock"
        self.spawn(
            self.python.with_name("uwsgi"), "--master", "--die-on-term", "--processes", "1", "--disable-logging", "--socket", listen,
            "--virtualenv", self.python.parents[1], "--wsgi-file", self.script,
        )
        wait_for_file(listen)
        parameters = measured.ROOT / "target/nginx/conf/uwsgi_params"
        self.start("", f"upstream uwsgi {{ server unix:{listen}; }}", f"include {parameters}; uwsgi_pass uwsgi;")


class Granian(Peer):
    package = "granian"
    writes = False

    def launch(self):
        self.spawn(
            self.python.with_name("granian"), "--interface", "wsgi", "--host", "127.0.0.1", "--port", self.port, "--workers", "1",
            "--no-ws", "--log-level", "warning", f"{self.script.removesuffix('.py')}:application",
        )


class Program(Peer):
    """A server that a Python program starts."""

    def launch(self):
        self.spawn(self.python, "-c", self.program.format(module=self.script.removesuffix(".py"), port=self.port))


class Bjoern(Program):
    package = "bjoern"
    writes = False
    program = "import bjoern, {module}; bjoern.run({module}.application, '127.0.0.1', {port})"


class Fastwsgi(Program):
    package = "fastwsgi"
    writes = False
    program = (
        "import fastwsgi, {module}; fastwsgi.server.max_content_length = 1 << 30; "
        "fastwsgi.run(wsgi_app={module}.application, host='127.0.0.1', port={port}, loglevel=2)"
    )


SERVERS = {
    "inline": Inline, "threads": Threads, "wsgi-hyper": Hyper, "nginx+uWSGI": BehindNginx, "granian": Granian,
    "bjoern": Bjoern, "fastwsgi": Fastwsgi,
}


def wait_for_file(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        if time.monotonic() > deadline:
            raise SystemExit(f"{path.name} does not appear")
        time.sleep(0.05)


def available(wanted=None):
    """The servers that can be measured here, and versions by name. Says why one is left out."""
    found, versions = [], {"Python": sys.version.split()[0]}
    version = subprocess.run([measured.NGINX, "-v"], capture_output=True, text=True).stderr
    versions["nginx"] = re.search(r"nginx/(\S+)", version)[1]
    for name, kind in SERVERS.items():
        if wanted and name not in wanted:
            continue
        if kind.package:
            try:
                python = servers.environment(kind.package) / "bin/python"
            except SystemExit as error:
                print(f"without {name}: {error}", flush=True)
                continue
            listed = subprocess.run([python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True).stdout
            versions.update(line.split("==") for line in listed.splitlines() if line.lower().startswith(
                (kind.package.lower() + "==", "flask==", "django==")))
        found.append(name)
    return found, versions


def start(names, folder, script):
    """Running servers by name."""
    running = {}
    try:
        for name in names:
            running[name] = SERVERS[name](folder, script)
            running[name].wait(name)
    except BaseException:
        stop(running)
        raise
    return running


def stop(running):
    for server in running.values():
        server.stop()
