"""Sends requests to a server on this machine, each on a new connection, and measures the time until the server closes it.

`begin` starts this file as a separate process, so that the program that measures delays no request, and `finish` returns its
answers. `open_loop` sends requests at given times, however many are unanswered, and counts from the time at which a request was
due. In `closed_loop` each of several clients waits for its answer before it sends the next request.
"""

import asyncio
import json
import math
import random
import socket
import subprocess
import sys
import time

# Seconds before a client gives up: much more than any queue of these measurements.
TIMEOUT = 240


def open_loop(port, arrivals):
    """Sends a request for each pair of seconds and path; returns the answers in that order."""
    return finish(begin(port, arrivals=arrivals))


def closed_loop(port, path, clients, seconds):
    return finish(begin(port, path=path, clients=clients, seconds=seconds))


def begin(port, **job):
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write(json.dumps({"port": port, **job}))
    process.stdin.close()
    process.stdin = None
    return process


def finish(process):
    """Returns the answers as dicts.

    `path` and `body` are strings. In seconds, `due` is the time by the client's clock at which the request was due, `seconds` the
    time from then until the answer, and `late` the delay by the client itself.
    """
    output, _ = process.communicate()
    if process.returncode != 0:
        raise SystemExit("a client failed")
    return json.loads(output)


def poisson(seed, rate, seconds, path):
    """Random arrivals at `rate` per second, the same for the same seed; `path` chooses the path with the random numbers."""
    numbers, at, arrivals = random.Random(seed), 0, []
    while (at := at + numbers.expovariate(rate)) < seconds:
        arrivals.append((at, path(numbers)))
    return arrivals


def quantile(values, share):
    """The least value that at least this share of the values does not exceed: the 19th of 20 for 0.95."""
    return sorted(values)[math.ceil(round(share * len(values), 6)) - 1]


async def ask(port, path, due):
    loop, begun = asyncio.get_running_loop(), time.perf_counter()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := await loop.sock_recv(client, 65536):
            answer += piece
    ended = time.perf_counter()
    head, end, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200") or not end:
        raise OSError(f"unexpected answer: {answer[:200]!r}")
    return {"path": path, "body": body.decode(), "due": due, "seconds": ended - due, "late": begun - due}


async def send_on_time(port, arrivals):
    start = time.perf_counter() + 0.05

    async def send(at, path):
        await asyncio.sleep(start + at - time.perf_counter())
        return await ask(port, path, start + at)

    return await asyncio.gather(*(send(at, path) for at, path in arrivals))


async def repeat(port, path, clients, seconds):
    deadline, answers = time.perf_counter() + seconds, []

    async def client():
        while (now := time.perf_counter()) < deadline:
            answers.append({**await ask(port, path, now), "body": ""})

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers


def main():
    job = json.load(sys.stdin)
    work = send_on_time if "arrivals" in job else repeat
    try:
        answers = asyncio.run(asyncio.wait_for(work(**job), TIMEOUT))
    except (OSError, asyncio.TimeoutError) as error:
        sys.exit(f"error: {error or 'no answer'}")
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
