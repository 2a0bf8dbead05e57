"""Uses modules of the standard library whose state belongs to an interpreter, in a way that differs from script to script.

WHO is the number of the script. The query string names a check, which runs ten times: on /thread on a `threading.Thread`,
elsewhere on the thread of the request. The answer is "right" or the failed expectation.
"""

import asyncio
import collections
import collections.abc
import contextvars
import copyreg
import csv
import datetime
import decimal
import io
import json
import numbers
import os
import pickle
import queue
import sqlite3
import struct
import sys
import tempfile
import threading
import time
import traceback
import xml.etree.ElementTree as ElementTree
import zoneinfo


def expect(condition, text):
    if not condition:
        raise AssertionError(text)


def raises(kind, function, *arguments):
    try:
        function(*arguments)
    except kind:
        return
    except Exception as exception:
        raise AssertionError(f"{type(exception)!r} is no {kind!r}") from exception
    raise AssertionError(f"no {kind!r}")


PRECISION = (4, 40, 17)[WHO]


def digits():
    return len(str(decimal.Decimal(1) / 3)) - len("0.")


def decimal_context():
    decimal.getcontext().prec = PRECISION
    for _ in range(10):
        expect(digits() == PRECISION, f"{digits()} digits")
    expect(decimal.Decimal("9.99") * 1 == decimal.Decimal("9.990").quantize(decimal.Decimal("0.01")), "a product")


def decimal_local_context():
    for precision in (PRECISION + 1, PRECISION + 2):
        with decimal.localcontext() as context:
            context.prec = precision
            time.sleep(0)
            expect(digits() == precision, f"{digits()} digits")


def decimal_exceptions():
    raises(decimal.InvalidOperation, decimal.Decimal, "nonsense")
    raises(ZeroDivisionError, lambda: decimal.Decimal(1) / 0)
    with decimal.localcontext() as context:
        context.traps[decimal.Inexact] = True
        raises(decimal.Inexact, digits)


def decimal_is_a_number():
    expect(isinstance(decimal.Decimal(1), numbers.Number), "a Decimal is no Number")


def asyncio_loop():
    async def inner():
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(5):
            expect(await asyncio.gather(inner(), inner()) == [loop, loop], "another loop")
        expect(asyncio.current_task() in asyncio.all_tasks() and len(asyncio.all_tasks()) == 1, "tasks of others")

    raises(RuntimeError, asyncio.get_running_loop)
    asyncio.run(main())
    raises(RuntimeError, asyncio.get_running_loop)


def asyncio_exceptions():
    async def sleeper():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "cancelled"

    async def main():
        task = asyncio.ensure_future(sleeper())
        await asyncio.sleep(0)
        task.cancel()
        expect(await task == "cancelled", "CancelledError was not caught")
        future = asyncio.get_running_loop().create_future()
        raises(asyncio.InvalidStateError, future.result)
        try:
            await asyncio.wait_for(future, 0.001)
        except asyncio.TimeoutError:
            pass
        expect(isinstance(future, asyncio.Future) and isinstance(task, asyncio.Task), "other classes")

    asyncio.run(main())


# A file with a time zone, which thus exists on every system.
ZONES = tempfile.mkdtemp()
HOURS = (1, 2, 3)[WHO]
with open(os.path.join(ZONES, "Zone"), "wb") as file:
    # Version 1 of the format (RFC 8536): no transitions, one type of local time.
    file.write(b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lbB", HOURS * 3600, 0, 0) + b"OWN\0")
zoneinfo.reset_tzpath([ZONES])


def zone_of_the_script():
    zone = zoneinfo.ZoneInfo("Zone")
    offset = datetime.datetime(2024, 7, 1, tzinfo=zone).utcoffset()
    expect(offset == datetime.timedelta(hours=HOURS), f"{offset}")
    expect(zoneinfo.ZoneInfo("Zone") is zone and type(zone) is zoneinfo.ZoneInfo, "another zone")
    expect(pickle.loads(pickle.dumps(zone)) is zone, "another zone after pickling")
    zoneinfo.ZoneInfo.no_cache("Zone")


def zone_that_is_missing():
    raises(zoneinfo.ZoneInfoNotFoundError, zoneinfo.ZoneInfo, "No/Where")


VARIABLE = contextvars.ContextVar("variable", default=-1)


def context_variables():
    expect(VARIABLE.get() == -1, f"{VARIABLE.get()} before")
    token = VARIABLE.set(WHO)
    time.sleep(0)
    expect(VARIABLE.get() == WHO and contextvars.copy_context()[VARIABLE] == WHO, "another value")
    VARIABLE.reset(token)


def dates():
    date = datetime.datetime.strptime("2024-07-01 12:00:00.5", "%Y-%m-%d %H:%M:%S.%f")
    expect(type(date) is datetime.datetime and date.strftime("%d %m") == "01 07", "a date")
    expect(time.strptime("2024 July", "%Y %B").tm_mon == 7, "a month")
    raises(ValueError, datetime.datetime.strptime, "x", "%Y")


sqlite3.register_adapter(complex, lambda number: f"adapted by {WHO}")
sqlite3.register_converter("THING", lambda text: (WHO, text.decode()))


def sqlite():
    connection = sqlite3.connect(":memory:", detect_types=sqlite3.PARSE_DECLTYPES)
    connection.row_factory = sqlite3.Row
    connection.execute("create table things (thing THING)")
    connection.execute("insert into things values (?)", (1j,))
    found = connection.execute("select thing from things").fetchone()["thing"]
    # Up to Python 3.10 the interpreters of a process share one table of adapters and converters.
    if sys.version_info >= (3, 11):
        expect(found == (WHO, f"adapted by {WHO}"), f"{found}")
    raises(sqlite3.OperationalError, connection.execute, "nonsense")
    connection.close()


copyreg.pickle(complex, lambda number: (str, (f"pickled by {WHO}",)))


def formats():
    expect(json.loads(json.dumps({"a": [1, None, 1.5]})) == {"a": [1, None, 1.5]}, "json")
    raises(json.JSONDecodeError, json.loads, "{")
    expect(pickle.loads(pickle.dumps(1j)) == f"pickled by {WHO}", "pickle")
    raises(pickle.UnpicklingError, pickle.loads, b"x")
    expect(ElementTree.fromstring("<a><b/></a>").find("b").tag == "b", "xml")
    raises(ElementTree.ParseError, ElementTree.fromstring, "<a>")
    raises(struct.error, struct.unpack, "!I", b"")


csv.field_size_limit(1000 + WHO)
csv.register_dialect("own", delimiter=";|,"[WHO])


def csv_settings():
    expect(csv.field_size_limit() == 1000 + WHO, f"{csv.field_size_limit()}")
    expect(len(next(csv.reader(["a;b|c|d,e,f,g"], "own"))) == (2, 3, 4)[WHO], "fields")


def queues():
    items = queue.SimpleQueue()
    items.put(1)
    expect(items.get() == 1, "an item")
    raises(queue.Empty, items.get_nowait)


def abstract_classes():
    for kind, abstract in (
        (collections.deque, collections.abc.MutableSequence),
        (collections.OrderedDict, collections.abc.MutableMapping),
        (memoryview, collections.abc.Sequence),
        (io.BytesIO, io.BufferedIOBase),
        (int, numbers.Integral),
    ):
        expect(issubclass(kind, abstract), f"{kind} is no {abstract}")


CHECKS = {
    check.__name__: check
    for check in (
        abstract_classes,
        asyncio_exceptions,
        asyncio_loop,
        context_variables,
        csv_settings,
        dates,
        decimal_context,
        decimal_exceptions,
        decimal_is_a_number,
        decimal_local_context,
        formats,
        queues,
        sqlite,
        zone_of_the_script,
        zone_that_is_missing,
    )
}


def result(name):
    try:
        for _ in range(10):
            CHECKS[name]()
    except Exception:
        return traceback.format_exc()
    return "right"


def on_a_thread(name):
    results = []
    thread = threading.Thread(target=lambda: results.append(result(name)))
    thread.start()
    thread.join()
    return results[0]


def application(environ, start_response):
    answer = (on_a_thread if environ["PATH_INFO"].endswith("/thread") else result)(environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode()]
