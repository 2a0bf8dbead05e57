"""Measures how evenly requests are spread over four workers with one thread each, beside four sync workers of Gunicorn.

    burst   4 and 8 clients connect at the same time and ask for a view of 0.5 s: the slowest answer
    mixed   random arrivals at 70 % of the capacity, views of 50 ms and some of 1 s: times of the short views
    static  times of a static file of the same nginx, with that load beside it and without
    proxy   the load of `mixed` through another nginx, which keeps connections to the server behind it

Both servers run the same script, and get the same arrivals in alternating rounds. Each client is a new connection. A row with a
goal that is not reached fails the program. `spread.py burst mixed` measures only these rows.
"""

import argparse
import pathlib
import statistics
import sys
import time

import client
import measured_nginx as measured
import servers

WORKERS = 4
APPLICATION = """
import os
import time

def application(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""
FILES = {"app.py": APPLICATION, "files/static/file": "x" * 1024}
HTTP = "wsgi_threads 1; wsgi_preload on;"
LOCATIONS = "location / { wsgi_pass app.py; } location /static/ { root files; }"

# Views of the mixed load, and the share of long ones.
SHORT, LONG, SHARE = 0.05, 1, 1 / 20
CAPACITY = WORKERS / (SHORT * (1 - SHARE) + LONG * SHARE)
RATE = 0.7 * CAPACITY

# Seconds of the slowest answer in 19 of 20 rounds, by number of clients; the view takes 0.5 s.
BURST = {4: 0.55, 8: 1.1}
# 99th percentiles, relative to those of Gunicorn, and to those without load.
MIXED, STATIC = 1.15, 1.5
STATIC_SECONDS, STATIC_CLIENTS = 2, 4

CONNECTIONS = """
log_format connection $connection_requests;
log_format upstream $upstream_http_connection;
"""


def nginx(**more):
    return servers.Nginx(WORKERS, FILES, **{"http": HTTP, "server": LOCATIONS, **more})


def gunicorn():
    return servers.Gunicorn(WORKERS, FILES)


def in_turn(items, number):
    """The items, in reverse order in odd rounds."""
    return list(items)[:: -1 if number % 2 else 1]


def milliseconds(seconds):
    return f"{seconds * 1000:.1f}"


def burst(options):
    rounds, figures = options.rounds or 20, []
    with nginx() as own, gunicorn() as other:
        for clients in BURST:
            print(f"burst {clients}: {rounds} rounds", flush=True)
            runs = {own: [], other: []}
            for number in range(rounds):
                for server in in_turn(runs, number):
                    answers = client.open_loop(server.port, [(0, "/sleep?0.5")] * clients)
                    slowest, bodies = max(answer["seconds"] for answer in answers), {answer["body"] for answer in answers}
                    runs[server].append((slowest, len(bodies)))
                    print(f"    {number + 1:>2} {server.name:8} {slowest:.3f} s, workers: {len(bodies)}", flush=True)
            for server, results in runs.items():
                slowest, workers = zip(*results)
                figures.append({
                    "clients": clients, "server": server.name, "median": statistics.median(slowest),
                    "19 of 20": client.quantile(slowest, 0.95), "most": max(slowest), "workers": statistics.median(workers),
                })
    print("\nSeconds until the slowest answer of a burst, and number of workers that answered:")
    measured.table([
        ["burst", "server", "median", "19 of 20", "most", "workers"],
        *([f"burst {row['clients']}", row["server"], *(f"{row[key]:.3f}" for key in ("median", "19 of 20", "most")),
           f"{row['workers']:.0f}"] for row in figures),
    ])
    return figures, [
        f"burst {row['clients']}: the slowest answer of nginx took {row['19 of 20']:.3f} s in 19 of 20 rounds, "
        f"the goal is {BURST[row['clients']]} s"
        for row in figures if row["server"] == "nginx" and row["19 of 20"] > BURST[row["clients"]]
    ]


def mixed_arrivals(seed, seconds):
    return client.poisson(
        seed, RATE, seconds, lambda numbers: f"/sleep?{LONG if numbers.random() < SHARE else SHORT}"
    )


def of_short_views(answers):
    """Percentiles of the times of short views, and the delay of the requests by the client."""
    short = [answer["seconds"] for answer in answers if answer["path"] == f"/sleep?{SHORT}"]
    late = [answer["late"] for answer in answers]
    return {
        "short views": len(short), "p50": client.quantile(short, 0.5), "p99": client.quantile(short, 0.99),
        "most": max(short), "late p99": client.quantile(late, 0.99),
    }


def mixed_rounds(runs, options, opened=lambda server: 0):
    """Sends the same rounds of arrivals to each server; returns percentiles over all rounds, and connections by `opened`."""
    rounds, seconds = options.rounds or 4, options.seconds or 30
    print(f"{rounds} rounds of {seconds} s, {RATE:.1f} requests per second", flush=True)
    answers, before = {server: [] for server in runs}, {server: opened(server) for server in runs}
    for number in range(rounds):
        arrivals = mixed_arrivals(number, seconds)
        for server in in_turn(runs, number):
            found = client.open_loop(server.port, arrivals)
            answers[server] += found
            row = of_short_views(found)
            print(f"    {number + 1:>2} {runs[server]:14} p50 {milliseconds(row['p50'])} ms, p99 {milliseconds(row['p99'])} ms",
                  flush=True)
    return [
        {"server": name, "requests": len(answers[server]), **of_short_views(answers[server]),
         "connections": opened(server) - before[server]}
        for server, name in runs.items()
    ]


def show_short_views(title, figures, *more):
    print(f"\n{title}, ms:")
    keys = ("p50", "p99", "most", "late p99")
    measured.table([
        ["server", "short views", "p50", "p99", "most", "client late, p99", *more],
        *([row["server"], row["short views"], *(milliseconds(row[key]) for key in keys), *(row[key] for key in more)]
          for row in figures),
    ])


def mixed(options):
    print("mixed: ", end="")
    with nginx() as own, gunicorn() as other:
        figures = mixed_rounds({own: own.name, other: other.name}, options)
    show_short_views("Times of views of 50 ms among views of 1 s at 70 % of the capacity", figures)
    ratio = figures[0]["p99"] / figures[1]["p99"]
    print(f"p99 of nginx / p99 of Gunicorn: {ratio:.2f}\n")
    missed = [f"mixed: the p99 of nginx is {ratio:.2f} times that of Gunicorn, the goal is {MIXED}"]
    return figures, missed if ratio > MIXED else []


def static(options):
    pairs, seconds, ratios = options.rounds or 20, min(options.seconds or STATIC_SECONDS, STATIC_SECONDS), []
    print(f"static: {pairs} pairs of runs", flush=True)
    figures = {"without": [], "with": []}
    with nginx() as server:
        for number in range(pairs):
            pair = {}
            for load in in_turn(figures, number):
                if load == "with":
                    # The views begin a second earlier and end after the last request for the file.
                    beside = client.begin(server.port, arrivals=mixed_arrivals(number, seconds + 2))
                    time.sleep(1)
                answers = client.closed_loop(server.port, "/static/file", STATIC_CLIENTS, seconds)
                if load == "with":
                    client.finish(beside)
                pair[load] = client.quantile([answer["seconds"] for answer in answers], 0.99)
                figures[load].append({"requests": len(answers), "p99": pair[load]})
            ratios.append(pair["with"] / pair["without"])
            print(f"    {number + 1:>2} p99 without load {milliseconds(pair['without'])} ms, with load "
                  f"{milliseconds(pair['with'])} ms, ratio {ratios[-1]:.2f}", flush=True)
    ratio = statistics.median(ratios)
    print("\nTimes of a static file of 1 kB, ms, medians of the runs:")
    measured.table([
        ["load", "requests", "p99"],
        *([load, round(statistics.median(run["requests"] for run in runs)),
           milliseconds(statistics.median(run["p99"] for run in runs))] for load, runs in figures.items()),
    ])
    print(f"p99 with / without load, of pairs: median {ratio:.2f}, least {min(ratios):.2f}, most {max(ratios):.2f}\n")
    missed = [f"static: the p99 with load is {ratio:.2f} times that without, the goal is {STATIC}"]
    return {**figures, "ratios": ratios}, missed if ratio > STATIC else []


def front(behind):
    """An nginx with one worker and without the module, which passes all requests to the server `behind`."""
    return servers.Nginx(
        1, {}, module=False,
        http=f"{CONNECTIONS} upstream behind {{ server 127.0.0.1:{behind.port}; keepalive 16; }}",
        server="""
            access_log logs/requests.log upstream;
            location / { proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; }
        """,
    )


def lines(server, line):
    return (server.folder / "logs/requests.log").read_text().split("\n").count(line)


def proxy(options):
    logged = {"http": CONNECTIONS + HTTP, "server": "access_log logs/requests.log connection;" + LOCATIONS}
    with nginx(**logged) as own, gunicorn() as other, front(own) as to_nginx, front(other) as to_gunicorn:

        def opened(server):
            # Sync workers close each connection and announce it; the first request of one of nginx has the number 1.
            return lines(own, "1") if server is to_nginx else lines(server, "close")

        print("proxy: ", end="")
        figures = mixed_rounds({to_nginx: "nginx", to_gunicorn: "Gunicorn"}, options, opened)
    show_short_views(
        "The same through a proxy that keeps connections, and connections that it opened", figures, "requests", "connections"
    )
    return figures, []


ROWS = {"burst": burst, "mixed": mixed, "static": static, "proxy": proxy}


def main():
    parser = argparse.ArgumentParser(prog="bench spread")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all by default")
    parser.add_argument("--rounds", type=int, help="rounds of each row: 20 bursts and pairs, 4 mixed and proxy by default")
    parser.add_argument("--seconds", type=int, help="length of a mixed round: 30 by default")
    parser.add_argument("--module", type=pathlib.Path, help="measure this build of the module")
    options = parser.parse_args()
    unknown = set(options.rows) - set(ROWS)
    if unknown:
        parser.error(f"unknown row: {', '.join(sorted(unknown))}")
    if options.module:
        measured.MODULE = options.module
    figures, missed = {}, []
    for name in options.rows or ROWS:
        figures[name], found = ROWS[name](options)
        missed += found
    measured.write("spread.json", {"workers": WORKERS, "requests per second": RATE, **figures})
    if missed:
        sys.exit("goals that were not reached:\n  " + "\n  ".join(missed))
    print("All goals were reached.")


if __name__ == "__main__":
    main()
