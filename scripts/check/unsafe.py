#!/usr/bin/env python3
"""unsafe.py [--list]: counts the code inside unsafe blocks, and checks the notes that say why blocks and functions are sound.

Fails if a crate or module has a larger part of such code than its limit, and on a long block, an unsafe function without
`# Safety`, a block without a `// SAFETY:` note, and a note that names no fact. --list prints every file. Tests are left out.
"""

import re
import sys
from pathlib import Path

# Limits of the part of the code inside unsafe blocks, in per cent of the lines.
LIMITS = {"wsgi-nginx/src": 12, "wsgi-core/src/python": 15}
FILES = {"wsgi-nginx/src/handler": 20}
LONGEST_BLOCK = 20
# Notes that refer to another note, or only to the caller's promise.
EMPTY_NOTES = re.compile(r"as above|^the caller's promise\.?$|^see above", re.IGNORECASE)


def blank_out(text, filler):
    """The code without comments, and with `filler` in place of strings and characters; in the same lines."""
    pattern = r'//[^\n]*|r#"(?s:.*?)"#|b?c?"(?s:\\.|[^"\\])*"|b?\'(?:\\.[^\']*|[^\'\\])\''

    def blank(match):
        return re.sub(r"[^\n]", " " if match.group().startswith("//") else filler, match.group())

    return re.sub(pattern, blank, text)


def block_end(code, start):
    """The position behind the brace that closes the one at `start`."""
    depth = 0
    for position in range(start, len(code)):
        depth += {"{": 1, "}": -1}.get(code[position], 0)
        if depth == 0:
            return position + 1
    raise SystemExit("a brace is not closed")


class Source:
    def __init__(self, path):
        self.path = path
        text = path.read_text().split("#[cfg(test)]\nmod tests")[0]
        self.lines = text.split("\n")
        self.code = blank_out(text, " ")
        self.problems = []
        is_code = [bool(line.strip()) for line in blank_out(text, "x").split("\n")]
        inside = set()
        for match in re.finditer(r"\bunsafe\s*\{", self.code):
            end = block_end(self.code, match.end() - 1)
            first, last = self.line(match.start()), self.line(end - 1)
            covered = {number for number in range(first, last + 1) if is_code[number]}
            inside |= covered
            if len(covered) > LONGEST_BLOCK:
                self.problem(first, f"a block of {len(covered)} lines")
            self.check_note(first)
        for match in re.finditer(r"\bunsafe\s+(?:extern\s+\"?\s*\"?\s*)?fn\s+(\w+)", self.code):
            number = self.line(match.start())
            is_callback = "extern" in self.lines[number]
            if not is_callback and "# Safety" not in self.above(number):
                self.problem(number, f"{match.group(1)} has no section \"# Safety\"")
        self.total, self.inside = sum(is_code), len(inside)

    def line(self, position):
        return self.code.count("\n", 0, position)

    def above(self, number):
        """The comments and attributes in front of a line."""
        first = number
        while first > 0 and re.match(r"\s*(//|#\[)", self.lines[first - 1]):
            first -= 1
        return "\n".join(self.lines[first:number])

    def check_note(self, number):
        # The note is above the statement that contains the block.
        first = number
        while first > max(0, number - 8) and "SAFETY:" not in self.above(first):
            first -= 1
        note = self.above(first).partition("SAFETY:")[2]
        if not note:
            return self.problem(number, "no SAFETY note")
        text = " ".join(re.sub(r"^\s*//\s?", "", line) for line in note.split("\n")).strip()
        if EMPTY_NOTES.search(text):
            self.problem(number, f"the note names no fact: {text}")

    def problem(self, number, text):
        self.problems.append(f"{self.path}:{number + 1}: {text}")


def part(sources):
    total = sum(source.total for source in sources)
    return 100 * sum(source.inside for source in sources) / max(total, 1)


def main():
    problems = []
    everything = {}
    for root, limit in LIMITS.items():
        sources = [Source(path) for path in sorted(Path(root).rglob("*.rs")) if "tests" not in path.parts]
        sources = [source for source in sources if source.path.stem != "tests"]
        everything.update({str(source.path): source for source in sources})
        share = part(sources)
        print(f"{root}: {share:.1f} % of the code is inside unsafe blocks (limit {limit} %)")
        if share > limit:
            problems.append(f"{root}: {share:.1f} % of the code is inside unsafe blocks, more than {limit} %")
        problems += [problem for source in sources for problem in source.problems]
    for prefix, limit in FILES.items():
        sources = [source for path, source in everything.items() if path.startswith(prefix + ".rs") or path.startswith(prefix + "/")]
        share = part(sources)
        print(f"{prefix}: {share:.1f} % (limit {limit} %)")
        if share > limit:
            problems.append(f"{prefix}: {share:.1f} % of the code is inside unsafe blocks, more than {limit} %")
    if "--list" in sys.argv:
        for path, source in sorted(everything.items(), key=lambda item: -item[1].inside):
            print(f"{source.inside:5} of {source.total:4} {path}")
    if problems:
        sys.exit("\n".join(problems))


main()
