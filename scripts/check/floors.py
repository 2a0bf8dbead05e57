#!/usr/bin/env python3
"""floors.py: fails if a file on a lower floor imports from a higher one, and if files import each other in a circle.

FLOORS lists the floors of a folder from the lowest to the highest. A floor is a list of modules; a module includes its
submodules. Tests are left out: they may import everything.
"""

import re
import sys
from pathlib import Path

FLOORS = {
    "wsgi-core/src/python": [["attach"], ["objects"], ["application"], ["exchange"], ["process"]],
    "wsgi-nginx/src": [
        # Wrappers of nginx: bindings, log records, cells of the event loop's thread, panics.
        ["bindings", "descriptors", "eventfd", "guard", "kept", "lines", "log", "log_room", "loop_cell", "mailbox", "ngx", "preconditions", "temporary", "umask"],
        # Parts of a request and of a worker.
        ["accel", "body", "event", "head", "listeners", "reentry", "req", "retire", "shared", "shares"],
        ["conf", "load", "master", "request", "worker"],
        # A request in progress, and its sinks.
        ["burst", "chain", "handover", "inline_sink", "kept_alive", "response", "thread_sink", "transfer"],
        ["handler"],
        # The module's tables for nginx.
        ["directives", "entry"],
    ],
}

# Sets of files that may import each other.
CIRCLES = {
    "wsgi-core/src/python": [
        {"attach/data", "attach/forked", "attach/interpreter", "attach/lock", "attach/thread", "attach/token"},
    ],
    "wsgi-nginx/src": [
        # The states of a request, in several files.
        {"handler", "handler/deliver", "handler/end", "handler/inline", "handler/resume"},
    ],
}


def source(file):
    """The code of a file, without comments and without its tests."""
    text = file.read_text().split("#[cfg(test)]\nmod tests")[0]
    return re.sub(r"//.*", "", text)


def expand(path):
    """The paths of a `use` with braces."""
    head, brace, rest = path.strip().partition("{")
    if not brace:
        return [re.split(r"\s+as\s+", head.strip())[0]]
    items, depth, item = [], 0, ""
    for character in rest[: rest.rindex("}")] + ",":
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            items.append(item)
            item = ""
        else:
            item += character
    return [path for item in items if item.strip() for path in expand(head + item.strip())]


def paths(text):
    """All paths that begin with `super`, `self` or `crate`: those of `use`, and those in other code."""
    for statement in re.findall(r"\buse\s+([^;]+);", text):
        yield from expand(re.sub(r"\s+", " ", statement))
    yield from re.findall(r"\b(?:super|crate)(?:::\w+)+", re.sub(r"\buse\s+[^;]+;", "", text))


class Tree:
    def __init__(self, root):
        self.root = Path(root)
        parts = self.root.parts
        self.prefix = parts[parts.index("src") + 1 :]
        files = [file for file in self.root.rglob("*.rs") if "tests" not in file.relative_to(self.root).parts]
        self.modules = {file.relative_to(self.root).with_suffix("").parts: file for file in files}
        self.modules = {module: file for module, file in self.modules.items() if module not in {("lib",), ("tests",)}}
        self.imports = {module: set(self.targets(module)) - {module} for module in self.modules}

    def targets(self, module):
        for path in paths(source(self.modules[module])):
            found = self.find(self.absolute(module, path.replace(" ", "").split("::")))
            if found:
                yield found

    def absolute(self, module, segments):
        if segments[0] == "crate":
            inside = segments[1 : 1 + len(self.prefix)] == list(self.prefix)
            return tuple(segments[1 + len(self.prefix) :]) if inside else ()
        base = list(module)
        while segments and segments[0] in ("super", "self"):
            if segments[0] == "super":
                if not base:
                    return ()
                base.pop()
            segments = segments[1:]
        return tuple(base + segments)

    def find(self, path):
        return next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self.modules), None)

    def circles(self):
        """Sets of files in which each file imports all others, directly or indirectly."""
        reach = {module: self.reachable(module) for module in self.modules}
        mutual = {frozenset(b for b in reach[a] if a in reach[b]) for a in reach}
        return [circle for circle in mutual if len(circle) > 1]

    def reachable(self, start):
        seen, left = set(), [start]
        while left:
            for module in self.imports[left.pop()]:
                if module not in seen:
                    seen.add(module)
                    left.append(module)
        return seen


def main():
    problems = []
    for root, floors in FLOORS.items():
        tree = Tree(root)
        number = {name: index for index, floor in enumerate(floors) for name in floor}
        name = "/".join
        for module in sorted(tree.modules):
            if module[0] not in number:
                problems.append(f"{tree.modules[module]}: is on no floor of {root}: add it to scripts/check/floors.py")
        upward = [
            (module, target)
            for module, targets in sorted(tree.imports.items())
            for target in sorted(targets)
            if number.get(module[0], 0) < number.get(target[0], 0)
        ]
        for module, target in upward:
            problems.append(f"{tree.modules[module]}: imports {name(target)}, which is on a higher floor")
        allowed = CIRCLES.get(root, [])
        circles = [{name(module) for module in circle} for circle in tree.circles()]
        for circle in circles:
            if not any(circle <= kernel for kernel in allowed):
                problems.append(f"{root}: {', '.join(sorted(circle))} import each other in a circle")
        print(
            f"{root}: {len(tree.modules)} files on {len(floors)} floors, {len(upward)} upward imports, "
            f"circles of {sorted(map(len, circles)) or 'none'}"
        )
    if problems:
        sys.exit("\n".join(problems))


main()
