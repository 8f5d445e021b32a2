#!/usr/bin/env python3
"""Turns assembly text into cases of a golden file of guest snippets.

    tests/golden/assemble.py < cases.s >> tests/golden/x86_NAME.golden

The input has cases as "=== name", then "mode: ..." and "at: ..." lines (tests/golden/x86_snippet.cc),
then Intel syntax as GNU as takes it. The output has bytes with the text as their comment, and an
empty expectation: `scripts/golden --update` fills it in.
"""

import re
import subprocess
import sys
import tempfile


def assemble(mode, lines):
    """[(bytes in hexadecimal, text)] of the lines; as finds errors."""
    bits = 64 if "64" in mode else 16 if "16" in mode else 32
    source = f".intel_syntax noprefix\n.code{bits}\n" + "\n".join(lines) + "\n"
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            ["as", "--64" if bits == 64 else "--32", "-aln", "--listing-lhs-width=8",
             "-o", folder + "/a.o", "-"],
            input=source, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"assemble: {result.stderr}\n{source}")
    found = {}
    for line in result.stdout.splitlines():
        match = re.match(r"\s*(\d+) [0-9a-f?]{4} ([0-9A-F ]+?)\s*\t", line)
        if match:
            found[int(match.group(1))] = match.group(2).replace(" ", "").lower()
    return [(found.get(number + 3, ""), text.strip()) for number, text in enumerate(lines)]


def main():
    cases, current = [], None
    for line in sys.stdin.read().splitlines():
        if line.startswith("==="):
            current = (line, [], [])
            cases.append(current)
        elif line.strip() and not line.startswith("#"):
            current[1 if re.match(r"(mode|at):", line) else 2].append(line)
    for name, options, lines in cases:
        mode = next((o.split()[1] for o in options if o.startswith("mode:")), "user64")
        print(f"\n{name}")
        for option in options:
            print(option)
        for code, text in assemble(mode, lines):
            spaced = " ".join(code[i:i + 2] for i in range(0, len(code), 2))
            print(f"{spaced:<32}# {text}" if code else f"# {text}")
        print("---")


if __name__ == "__main__":
    main()
