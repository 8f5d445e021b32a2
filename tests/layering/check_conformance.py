#!/usr/bin/env python3
"""Checks docs/conformance.md against the tests: each test that it names exists, and each test of the
suites that it names is on the page.

Usage: check_conformance.py SOURCE_ROOT

Prints one line a fault and exits 1 when there is any.
"""

import fnmatch
import re
import sys
from pathlib import Path

TEST = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)", re.MULTILINE)
NAMED = re.compile(r"`(\w+)\.([\w*]+)`")
# Below this the page or the pattern is not what it was: a check of nothing must not pass.
LEAST_NAMES = 60


def faults_of(page, sources):
    tests = {found for source in sources for found in TEST.findall(source)}
    names = NAMED.findall(page)
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    faults = []
    for suite, pattern in names:
        if not any(s == suite and fnmatch.fnmatchcase(t, pattern) for s, t in tests):
            faults.append(f"no test is called {suite}.{pattern}")
    for row in rows:
        if not set(row) <= set("| -") and not NAMED.search(row):
            faults.append(f"no test in the row: {row}")
    suites = {suite for suite, _ in names}
    for suite, test in sorted(tests):
        if suite in suites and not any(s == suite and fnmatch.fnmatchcase(test, p) for s, p in names):
            faults.append(f"{suite}.{test} is not on the page")
    if len(names) < LEAST_NAMES:
        faults.append(f"only {len(names)} tests are named")
    return faults


def main():
    root = Path(sys.argv[1])
    sources = [path.read_text() for path in sorted((root / "tests" / "unit").rglob("*_test.cc"))]
    faults = faults_of((root / "docs" / "conformance.md").read_text(), sources)
    for fault in faults:
        print(f"docs/conformance.md: {fault}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
