#!/usr/bin/env python3
"""words.py: fails where the comments of the crates fall back into riddles: sentences that say "what it is", "one that", "whoever"
or "tells" where a noun and a verb would do (CONTRIBUTING.md, "Style"). It counts such phrases per 1,000 words of comments.
"""

import re
import subprocess
import sys
from pathlib import Path

# Hits per 1,000 words, of all crates together. It may only fall.
LIMIT = 0.1

RIDDLES = re.compile(
    r"\b(what|whatever) (is|was|has|had|it|nginx|python|the|they|we|a|an|comes|goes|stands|nobody)\b"
    r"|\b(whoever|nobody|somebody)\b|\bone that\b|\bof (its|their|our|his) own\b|\b(tells|told)\b",
    re.IGNORECASE,
)
COMMENT = re.compile(r"(?:^|\s)//[/!]?\s?(.*)")


def comments(file):
    """The comments of a file with the number of the line in which each begins: lines that follow each other are one comment."""
    found = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        match = COMMENT.search(line)
        if match and found and found[-1][1] == number - 1 and line.lstrip().startswith("//"):
            begin, _, text = found.pop()
            found.append((begin, number, f"{text} {match[1]}"))
        elif match:
            found.append((number, number, match[1]))
    return [(begin, text) for begin, _, text in found]


def main():
    files = subprocess.run(["git", "ls-files", "*.rs"], capture_output=True, text=True, check=True).stdout.split()
    words, hits = 0, []
    for file in files:
        for line, text in comments(Path(file)):
            words += len(text.split())
            hits += [f"{file}:{line}: {match[0]}" for match in RIDDLES.finditer(text)]
    if words == 0:
        sys.exit("no comment was found: run this in the project's folder")
    rate = 1000 * len(hits) / words
    print(f"{words:,} words of comments, {len(hits)} phrases to reword: {rate:.2f} per 1,000 words (limit {LIMIT})")
    if rate > LIMIT:
        sys.exit("\n".join(["Name the thing; subject, verb, object:", *hits]))


if __name__ == "__main__":
    main()
