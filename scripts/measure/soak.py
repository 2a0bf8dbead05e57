"""Sends a million requests in each execution mode; fails if the memory of the worker grows."""

import sys

import measured_nginx as measured

WARM, ALL, STEP = 200_000, 1_000_000, 3
# Allowed growth between the end of the warm-up and the millionth request, in KiB: less than half a byte for each request.
FLAT = 384


def soak(threads):
    nginx = measured.Nginx(threads)
    done, warm = 0, None
    while done < ALL:
        done += nginx.wrk("/", STEP, measured.BROWSER)[0]
        memory = nginx.memory("Rss")
        if warm is None and done >= WARM:
            warm = memory
        print(f"    {done:>9,} requests, {memory:,} KiB", flush=True)
    nginx.stop()
    return warm, memory, done


def main():
    rows = [["mode", "KiB when warm", "KiB at the end", "growth", "requests"]]
    grown = False
    for mode, threads in (("inline", 0), ("threads", 1), ("threads 4", 4)):
        print(mode, flush=True)
        warm, end, done = soak(threads)
        rows.append([mode, warm, end, end - warm, done])
        grown |= end - warm > FLAT
    measured.table(rows)
    measured.write("soak.json", [dict(zip(rows[0], row)) for row in rows[1:]])
    if grown:
        sys.exit(f"memory grew by more than {FLAT} KiB")


main()
