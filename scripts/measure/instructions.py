"""Instructions per request of an application behind nginx, and of nginx alone."""

import callgrind
import measured_nginx as measured

HEADERS = {"bare": measured.BARE, "browser": measured.BROWSER}


def per_request(threads, path, headers, padding=0):
    def run(profiler, count):
        nginx = measured.Nginx(threads, single=True, profiler=profiler, padding=padding)
        nginx.get(path, count, headers)
        nginx.stop()

    return callgrind.per_request(run)


MODES = {"inline": 0, "threads": 1}


def beyond(mode, headers, base, padding=0):
    """Instructions of an application beyond those of `return 200`."""
    return per_request(MODES[mode], "/", HEADERS[headers], padding) - base


def count():
    """Instructions of `return 200`, and of an application beyond them, by execution mode and headers."""
    figures = {}
    for name, headers in HEADERS.items():
        base = per_request(0, "/return", headers)
        figures[name] = {"return": base, **{mode: beyond(mode, name, base) for mode in MODES}}
    return figures
