"""A generator: each block is sent to the client before the next one is produced.

Watch it with `curl -N http://127.0.0.1:8000/?count=5`. `?pause=0.1` changes the seconds between two lines.
"""

import time
from urllib.parse import parse_qs


def application(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    try:
        count = int(query.get("count", ["10"])[0])
        pause = float(query.get("pause", ["0.5"])[0])
        if count < 0 or not 0 <= pause <= 10:
            raise ValueError
    except ValueError:
        start_response("400 Bad Request", [("Content-Type", "text/plain")])
        return [b"count is a whole number, pause a number of seconds up to 10\n"]

    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return lines(count, pause, environ["wsgi.errors"])


def lines(count, pause, errors):
    sent = 0
    try:
        for number in range(1, count + 1):
            if number > 1:
                time.sleep(pause)
            yield f"line {number} of {count}\n".encode()
            sent = number
    finally:
        # Runs at the end, and also if the client disconnects early: the server closes the iterable.
        errors.write(f"stream ended after {sent} of {count} lines\n")


if __name__ == "__main__":
    from wsgiref.simple_server import make_server

    make_server("127.0.0.1", 8000, application).serve_forever()
