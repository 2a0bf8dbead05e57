#!/usr/bin/env python3
"""words.py: fails if comments and pages contain more riddles than LIMIT allows: `what it is`, `one that`, `whoever` or `tells` in
place of a noun and a verb (CONTRIBUTING.md, "Style"). It reads the comments of all sources, scripts and Cargo.toml files, the
docstrings of Python files, and the pages in Markdown. It does not read code or text in backticks.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

# Hits per 1,000 words, of all files together. It may only fall.
LIMIT = 0.1

FILES = [
    "*.rs", "*.py", "*.sh", "*.conf", "*.supp", "*Cargo.toml", "deny.toml", "Makefile", "scripts", ".ci", "examples/wsgi_vars",
    "README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "examples/README.md", "fuzz/README.md",
]
# A phrase may continue in the next line.
RIDDLES = re.compile(
    r"\b(what|whatever)[ \n](is|was|has|had|it|nginx|python|the|they|we|a|an|comes|goes|stands|nobody)\b"
    r"|\b(whoever|nobody|somebody)\b|\bone[ \n]that\b|\bof[ \n](its|their|our|his)[ \n]own\b|\b(tells|told)\b",
    re.IGNORECASE,
)
QUOTED = re.compile(r"`[^`\n]*\n?[^`\n]*`")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# The texts of a line by the kind of file. Four spaces begin a line of code in Markdown.
RUST = re.compile(r"(?:^|\s)//[/!]?\s?(.*)")
SCRIPT = re.compile(r"(?:^|\s)#\s+(.*)")
MARKDOWN = re.compile(r"^(?! {4})(.*)")


def docstring_lines(source):
    """The numbers of the lines of all docstrings, from 0."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            yield from range(node.body[0].lineno - 1, node.body[0].end_lineno)


def texts(path):
    """The lines of a file without the code: a line of code is empty."""
    source = path.read_text()
    if path.suffix == ".md":
        source = FENCED.sub(lambda block: "\n" * block[0].count("\n"), source)
    pattern = {".rs": RUST, ".md": MARKDOWN}.get(path.suffix, SCRIPT)
    docstrings = set(docstring_lines(source)) if path.suffix == ".py" else ()
    for number, line in enumerate(source.split("\n")):
        match = pattern.search(line)
        yield line.strip() if number in docstrings else match[1].strip() if match else ""


def main():
    files = subprocess.run(["git", "ls-files", *FILES], capture_output=True, text=True, check=True).stdout.split()
    words, hits = 0, []
    for file in files:
        text = QUOTED.sub(lambda quoted: "`\n" if "\n" in quoted[0] else "`", "\n".join(texts(Path(file))))
        words += len(text.split())
        for match in RIDDLES.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            hits.append(f"{file}:{line}: {' '.join(match[0].split())}")
    if words == 0:
        sys.exit("no comment was found: run this in the project's folder")
    rate = 1000 * len(hits) / words
    print(f"{words:,} words of comments and pages, {len(hits)} phrases to reword: {rate:.2f} per 1,000 words (limit {LIMIT})")
    if rate > LIMIT:
        sys.exit("\n".join(["Name the thing; subject, verb, object:", *hits]))


if __name__ == "__main__":
    main()
