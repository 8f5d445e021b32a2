#!/usr/bin/env python3
"""Compiles the benchmark's programs and runs each on this host with little work: its checksum must
be that of checksums.txt. docs/benchmarks.md describes each.

Usage: check_programs.py FOLDER             FOLDER keeps the executable
       check_programs.py FOLDER --print     print the checksums instead
"""

import os
import sys

sys.dont_write_bytecode = True
import measure  # noqa: E402

SCALE = 0.01
SECONDS = 60


def main():
    program = measure.build(sys.argv[1])
    known = measure.list_programs(program)
    if sys.argv[2:] == ["--print"]:
        for name, _, _ in known:
            print(name, measure.run_native(program, name, SCALE, SECONDS).checksum)
        return 0
    with open(os.path.join(measure.HERE, "checksums.txt"), encoding="ascii") as file:
        expected = dict(line.split() for line in file)
    with open(os.path.join(measure.ROOT, "docs", "benchmarks.md"), encoding="utf-8") as file:
        described = file.read()
    problems = []
    if list(expected) != [name for name, _, _ in known]:
        problems.append("checksums.txt does not list the programs of programs.def, in its order")
    for name, group, text in known:
        if f"| {name} | {group} | {text} |\n" not in described:
            problems.append(f"docs/benchmarks.md lacks the row '| {name} | {group} | {text} |'")
        result = measure.run_native(program, name, SCALE, SECONDS)
        if result.error:
            problems.append(f"{name}: {result.error}")
        elif not result.skip and result.checksum != expected.get(name):
            problems.append(f"{name}: checksum {result.checksum}, not {expected.get(name)}")
        elif result.skip:
            print(f"{name}: {result.skip}")
    print("\n".join(problems) or f"{len(known)} programs have their checksums")
    return 1 if problems else 0


sys.exit(main())
