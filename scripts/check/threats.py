"""threats.py LOG...: fails unless every attack of docs/threat-model.md has tests, and each of those ran and passed, by
the output of cargo test in LOG.
"""

import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECTIONS = {"REQ": "Requests", "RES": "Responses", "FLT": "Faults", "MEM": "Memory", "SUP": "Supply chain"}


def results(log):
    """Of each test, by the last segment of its name, with how it ended wherever it ran."""
    found = collections.defaultdict(set)
    for name, end in re.findall(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", log, re.M):
        found[name.rsplit("::", 1)[-1]].add(end)
    return found


def rows():
    """Of each row of the tables of attacks: its section, its id, its cells and the tests."""
    section = None
    for line in (ROOT / "docs/threat-model.md").read_text().partition("\n## Attacks\n")[2].splitlines():
        if line.startswith("### "):
            section = line[4:]
        elif line.startswith("|") and not re.match(r"\|( id |-)", line):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            yield section, cells[0], cells, re.findall(r"`(\w+)`", cells[-1])


def main():
    ends = results("\n".join(pathlib.Path(log).read_text(errors="replace") for log in sys.argv[1:]))
    problems, ids, tests = [], collections.Counter(), set()
    for section, id, cells, named in rows():
        ids[id] += 1
        tests.update(named)
        if SECTIONS.get(id.partition("-")[0]) != section or not re.fullmatch(r"[A-Z]{3}-[1-9]\d*", id):
            problems.append(f"{id} is no id of the section \"{section}\"")
        if len(cells) != 4 or not all(cells):
            problems.append(f"{id} has other cells than id, attack, expected answer and tests")
        if not named:
            problems.append(f"{id} names no test")
        for test in named:
            if "FAILED" in ends[test]:
                problems.append(f"{id}: {test} has failed")
            elif "ok" not in ends[test]:
                problems.append(f"{id}: {test} did not run")
    problems += [f"{id} stands there {count} times" for id, count in ids.items() if count > 1]
    problems += [f"\"{section}\" has no row" for prefix, section in SECTIONS.items()
                 if not any(id.startswith(prefix) for id in ids)]
    if problems:
        sys.exit("error: docs/threat-model.md and the tests differ:\n  " + "\n  ".join(problems))
    print(f"{len(ids)} attacks with {len(tests)} tests, each of which passed")


main()
