"""docs.py LOG...: fails unless the pages in docs/ that list tests agree with the output of `cargo test` in LOG.

docs.py --names: fails if such a page, or a list of tests in scripts/check/sanitize, names a test that the sources do not have.
It needs no log, so it finds a renamed test before the tests run.

PAGES lists those pages: docs/conformance.md maps the items of PEP 3333 to tests, docs/scenarios.md the behaviour of the
directives, docs/threat-model.md attacks. Each row has an id. A test counts if it has passed and failed in no run.
"""

import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Tests:
    """Results of tests by name, with and without the path of modules."""

    def __init__(self, log):
        self.ends = collections.defaultdict(set)
        for name, end in re.findall(r"^test (\S+)(?: - should panic)? \.\.\. (ok$|FAILED|ignored)", log, re.M):
            for known_as in {name, name.rsplit("::", 1)[-1]}:
                self.ends[known_as].add(end)

    def problem(self, name):
        """Why this test does not count, or None."""
        ends = self.ends.get(name, ())
        if "FAILED" in ends:
            return f"{name} has failed"
        return None if "ok" in ends else f"{name} did not run"

    def passed(self):
        return {name for name in self.ends if self.problem(name) is None}


class Table:
    def __init__(self, section, head):
        self.section, self.head, self.rows = section, head, []


def tables(text):
    """The tables of a page, each with the heading above it."""
    section, found, table = None, [], None
    for line in text.splitlines():
        if line.startswith("#"):
            section = line.lstrip("#").strip()
        if not line.startswith("|"):
            table = None
            continue
        cells = [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
        if table is None:
            table = Table(section, cells)
            found.append(table)
        elif not all(re.fullmatch(":?-+:?", cell) for cell in cells):
            table.rows.append(cells)
    return found


class Page:
    """A page. Its tables with the columns `head` have a row for each id, or for several ids."""

    def __init__(self, path, head, ids):
        self.path, self.head, self.problems, self.rows = path, head, [], []
        self.text = (ROOT / path).read_text()
        self.tables = tables(self.text)
        for table in self.tables:
            for cells in table.rows:
                self.take(table, cells, re.fullmatch(ids, cells[0]))
        if not self.rows:
            self.problems.append(f"no table has the columns {', '.join(head)}")

    def take(self, table, cells, is_id):
        if table.head != self.head:
            if is_id:
                self.problems.append(f"{cells[0]} is in a table with other columns than {', '.join(self.head)}")
        elif not is_id:
            self.problems.append(f"{cells[0]} is not an id of this page")
        elif len(cells) != len(self.head) or not all(cells):
            self.problems.append(f"{cells[0]} has other cells than {', '.join(self.head)}")
        else:
            self.rows.append((table.section, cells))

    def unique_ids(self):
        """The ids of all rows; an id with several rows is a problem."""
        ids = collections.Counter(cells[0] for _, cells in self.rows)
        self.problems += [f"{id} has {count} rows" for id, count in ids.items() if count > 1]
        return list(ids)

    def named_tests(self, tests):
        """The tests in the last cells; a row without a test, or with a test that does not count, is a problem."""
        names = set()
        for _, cells in self.rows:
            found = re.findall(r"`(\w+)`", cells[-1])
            if not found:
                self.problems.append(f"{cells[0]} names no test")
            self.problems += [f"{cells[0]}: {problem}" for name in found if (problem := tests.problem(name))]
            names.update(found)
        return names


# The hosts in docs/conformance.md, with the modules of the tests that run the suite on them.
HOSTS = {
    "in process": "in_process",
    "in process, inline": "in_process_inline",
    "in process, transferred": "in_process_transfer",
    "nginx, inline": "conformance::inline",
    "nginx, 1 thread": "conformance::threads_1",
    "nginx, 4 threads": "conformance::threads_4",
    "wsgi-hyper": "hyper",
    "examples/embed": "embed_example",
}


def clauses():
    """The clauses in the suite's macros: those for all hosts, and those for hosts with a wire."""
    source = (ROOT / "wsgi-testkit/src/conformance/suite.rs").read_text()
    found = {}
    for macro in ("conformance_suite", "wire_conformance_suite"):
        body = re.search(rf"^    {macro}, \w+:\n(.*?)^}}$", source, re.S | re.M)[1]
        found[macro] = set(re.findall(r"^        (\w+)$", body, re.M))
    return found["conformance_suite"], found["wire_conformance_suite"]


def hosts(page):
    """The hosts in the page's table; the value is whether the host has a wire."""
    rows = [row for table in page.tables if table.head == ["host", "where it runs", "wire"] for row in table.rows]
    found = {host: wire for names, _, wire in rows for host in names.split("; ")}
    page.problems += [f"{host} is not in HOSTS of scripts/check/docs.py" for host in found if host not in HOSTS]
    page.problems += [f"{host} is not in the table of hosts" for host in HOSTS if host not in found]
    page.problems += [f"the cell \"wire\" of {host} must be yes or no" for host, wire in found.items() if wire not in ("yes", "no")]
    return {host: found.get(host) != "no" for host in HOSTS}


def conformance(page, tests):
    """Checks that every item has a row, and that every clause is in a row and has passed on each of its hosts."""
    common, wire = clauses()
    mapped = page.named_tests(tests)
    said = re.search(r"\bD\.1 to D\.(\d+)\b", page.text)
    items = {int(number) for _, cells in page.rows for number in re.findall(r"D\.(\d+)", cells[0])}
    last = int(said[1]) if said else max(items, default=0)
    if not said:
        page.problems.append("the page does not state the range of items: \"D.1 to D.\" and a number")
    page.problems += [f"D.{number} is not in the map" for number in range(1, last + 1) if number not in items]
    page.problems += [f"D.{number} is not one of D.1 to D.{last}" for number in sorted(items) if number > last]
    page.problems += [f"{clause} is not in the map" for clause in sorted((common | wire) - mapped)]
    for _, cells in page.rows:
        for name, mark, place in re.findall(r"`(\w+)`( \*wire\*)?( \()?", cells[-1]):
            if bool(mark) != (name in wire):
                page.problems.append(f"{cells[0]}: {name} {'lacks' if name in wire else 'has'} the mark *wire*")
            if bool(place) != (name not in common | wire):
                page.problems.append(f"{cells[0]}: {name} {'has' if place else 'lacks'} a file in parentheses")
    listed = hosts(page)
    for host, has_wire in listed.items():
        wanted = sorted(common | wire if has_wire else common)
        found = [f"{host}: {problem}" for clause in wanted if (problem := tests.problem(f"{HOSTS[host]}::{clause}"))]
        page.problems += found if len(found) < len(wanted) else [f"the suite did not run on {host}"]
    return (f"{len(common)} clauses on {len(listed)} hosts and {len(wire)} more on the {sum(listed.values())} with a wire, "
            f"{last} items of the checklist: all mapped, all passed")


def scenarios(page, tests):
    """Checks that every scenario has a test with its id in the name, and that no test has an unknown id of the same families."""
    ids = {id.lower().replace("-", "_"): id for id in page.unique_ids()}
    families = "|".join({id.partition("_")[0] for id in ids})
    tested = {id for name in tests.passed() for id in re.findall(rf"(?:^|_)((?:{families})_\d+)", name.rpartition("::")[2])}
    page.problems += [f"{ids[id]} has no test that passed" for id in ids if id not in tested]
    page.problems += [f"tests carry the id {id}, which is not listed" for id in sorted(tested - set(ids))]
    return f"{len(ids)} scenarios, each with a test that passed"


# The sections of attacks, by the first part of their ids.
SECTIONS = {"REQ": "Requests", "RES": "Responses", "FLT": "Faults", "MEM": "Memory", "SUP": "Supply chain"}


def threats(page, tests):
    """Checks that every attack is in its section and names tests."""
    ids, names = page.unique_ids(), page.named_tests(tests)
    page.problems += [f"{cells[0]} is not an id of the section \"{section}\"" for section, cells in page.rows
                      if SECTIONS.get(cells[0].partition("-")[0]) != section]
    page.problems += [f"\"{section}\" has no row" for prefix, section in SECTIONS.items()
                      if not any(id.startswith(f"{prefix}-") for id in ids)]
    return f"{len(ids)} attacks with {len(names)} tests, each of which passed"


# For each page: the columns of its tables, the pattern of an id, and the function with its rules.
PAGES = {
    "docs/conformance.md": (["item", "rule", "tests"], r"[A-Z]\.\d+(, [A-Z]\.\d+)*", conformance),
    "docs/scenarios.md": (["id", "scenario"], r"[A-Z]+-[1-9]\d*", scenarios),
    "docs/threat-model.md": (["id", "attack", "expected answer", "tests"], r"[A-Z]{3}-[1-9]\d*", threats),
}


# Its lists contain parts of names, as the filters of `cargo test`.
SANITIZE = "scripts/check/sanitize"


def names():
    """Exits with an error for a test that is neither a function in the sources nor a clause of the suite's macros."""
    sources = [path.read_text() for path in ROOT.glob("*/**/*.rs") if path.relative_to(ROOT).parts[0] != "target"]
    known = set(re.findall(r"\bfn (\w+)", "\n".join(sources))).union(*clauses())
    failed = False
    for path, (head, ids, _) in PAGES.items():
        if "tests" not in head:
            continue
        page = Page(path, head, ids)
        unknown = [f"{cells[0]}: {name}" for _, cells in page.rows for name in re.findall(r"`(\w+)`", cells[-1]) if name not in known]
        if unknown:
            failed = True
            print(f"error: {path} names tests that do not exist:", *unknown, sep="\n  ", file=sys.stderr)
    script = (ROOT / SANITIZE).read_text()
    filters = [word for names in re.findall(r"^\w+_tests=\((.*?)\)", script, re.M | re.S) for word in names.split()]
    unknown = [word for word in filters if not any(word in name for name in known)]
    if unknown or not filters:
        failed = True
        print(f"error: {SANITIZE} names tests that do not exist:", *unknown, sep="\n  ", file=sys.stderr)
    sys.exit(failed)


def main():
    if sys.argv[1:] == ["--names"]:
        names()
    tests = Tests("\n".join(pathlib.Path(log).read_text(errors="replace") for log in sys.argv[1:]))
    failed = False
    for path, (head, ids, rules) in PAGES.items():
        page = Page(path, head, ids)
        summary = rules(page, tests)
        if page.problems:
            failed = True
            print(f"error: {path} and the tests differ:", *page.problems, sep="\n  ", file=sys.stderr)
        else:
            print(f"{path}: {summary}")
    sys.exit(failed)


main()
