"""conformance.py LOG: fails unless docs/conformance.md and the conformance suite agree, by the output of cargo test in
LOG: every item is mapped, every clause is in the map, and every test named there has passed on every host it is said to
run on.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ITEMS = 110
# A host's name in the map, and the module that its tests stand in.
HOSTS = {
    "in process": "in_process",
    "in process, inline": "in_process_inline",
    "nginx, inline": "conformance::inline",
    "nginx, 1 thread": "conformance::threads_1",
    "nginx, 4 threads": "conformance::threads_4",
    "wsgi-hyper": "hyper",
    "examples/embed": "embed_example",
}
WITHOUT_WIRE = {"in process", "in process, inline"}


def passed(log):
    """Names of the tests that passed, with their modules."""
    return set(re.findall(r"^test (\S+)(?: - should panic)? \.\.\. ok$", log, re.M))


def clauses():
    """The suite's clauses by its macros: those of all hosts, and those of the wire."""
    source = (ROOT / "wsgi-testkit/src/conformance/suite.rs").read_text()
    found = {}
    for macro in ("conformance_suite", "wire_conformance_suite"):
        body = re.search(rf"^    {macro}, \w+:\n(.*?)^}}$", source, re.S | re.M)[1]
        found[macro] = set(re.findall(r"^        (\w+)$", body, re.M))
    return found["conformance_suite"], found["wire_conformance_suite"]


def rows():
    """Of each row of the map: its items, the rule and the tests."""
    for line in (ROOT / "docs/conformance.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if len(cells) == 3 and re.match(r"[A-Z]\.\d+", cells[0]):
            yield cells[0], cells[1], re.findall(r"`(\w+)`", cells[2])


def main():
    log = passed(pathlib.Path(sys.argv[1]).read_text(errors="replace"))
    common, wire = clauses()
    names = {test.rsplit("::", 1)[-1] for test in log}
    problems, mapped, items = [], set(), set()
    for item, _, tests in rows():
        items.update(int(number) for number in re.findall(r"D\.(\d+)", item))
        if not tests:
            problems.append(f"{item} names no test")
        for test in tests:
            mapped.add(test)
            # One that is not of the suite has its file beside it.
            if test not in common | wire and test not in names:
                problems.append(f"{item}: {test} is not in the suite, and no other test of that name has passed")
    problems += [f"D.{number} is not in the map" for number in range(1, ITEMS + 1) if number not in items]
    problems += [f"{clause} is not in the map" for clause in sorted((common | wire) - mapped)]
    for host, module in HOSTS.items():
        wanted = common if host in WITHOUT_WIRE else common | wire
        missing = sorted(clause for clause in wanted if f"{module}::{clause}" not in log)
        if len(missing) == len(wanted):
            problems.append(f"the suite did not run on {host}")
        else:
            problems += [f"{clause} has not passed on {host}" for clause in missing]
    if problems:
        sys.exit("error: docs/conformance.md, the suite and the tests differ:\n  " + "\n  ".join(problems))
    print(f"{len(common)} clauses on {len(HOSTS)} hosts and {len(wire)} more on the {len(HOSTS) - len(WITHOUT_WIRE)} "
          f"with a wire, {ITEMS} items of the checklist: all mapped, all passed")


main()
