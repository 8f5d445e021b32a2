#!/usr/bin/env python3
"""Checks the source tree against the rules of docs/architecture.md.

Usage: check_layering.py SOURCE_ROOT

- An include goes from a module only to itself or to modules that its row below allows, and to
  another module only through that module's public headers (include/rhea/<module>/).
- No circle of includes.
- No source file over MAX_LINES (.def tables apart).
- Only include/rhea/util/result.h names tl::expected.

Prints one line a violation and exits 1 when there is any.
"""

import re
import sys
from pathlib import Path

MAX_LINES = 700
EXPECTED_HOME = "include/rhea/util/result.h"

# Which other modules a module may include; the order is that of docs/architecture.md.
ANY = None
MODULES = {
    "util": set(),
    "core": {"util"},
    "tcg": {"util", "core"},
    "target": {"util", "core", "tcg"},
    "accel": {"util", "core", "tcg", "target"},
    "block": {"util", "core"},
    "net": {"util", "core"},
    "chardev": {"util", "core"},
    "ui": {"util", "core"},
    "hw": {"util", "core", "block", "net", "chardev", "ui"},
    "migration": {"util", "core", "block"},
    "monitor": {"util", "core", "block", "migration"},
    "system": ANY,
    "tools": {"util", "block"},
    "tests": ANY,
}
# Modules that may also include what another module keeps to itself.
SEES_PRIVATE_HEADERS = {"tests"}

CPP_SUFFIXES = {".h", ".cc", ".def"}
COUNTED_SUFFIXES = {".h", ".cc", ".c", ".S", ".py", ".sh"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def module_of(path):
    """The module of a path relative to the root; None for include/rhea/pch.h and the like."""
    parts = path.parts
    if parts[:2] == ("include", "rhea"):
        return parts[2] if len(parts) > 3 else None
    return parts[0]


def source_files(root):
    """Every source file of the modules, relative to the root, sorted."""
    tops = [root / module for module in MODULES] + [root / "include", root / "scripts"]
    found = []
    for top in tops:
        for path in top.rglob("*"):
            if path.is_file() and path.suffix in CPP_SUFFIXES | COUNTED_SUFFIXES:
                found.append(path.relative_to(root))
    return sorted(found)


def resolve(root, includer, name):
    """The file that an include means, relative to the root; None when it is not of this tree."""
    for base in (root / includer.parent, root / "include", root):
        path = base / name
        if path.is_file():
            return path.resolve().relative_to(root)
    return None


def check_include(includer, included):
    """The sentence about a forbidden include, or None."""
    source, target = module_of(includer), module_of(included)
    if source == target or target is None:
        return None
    if target not in MODULES:
        return f"{includer}: includes {included} of the unknown module '{target}'"
    if source not in MODULES:
        return None  # reported once for the file itself
    allowed = MODULES[source]
    if allowed is not ANY and target not in allowed:
        may = ", ".join(sorted(allowed)) or "nothing else"
        return f"{includer}: includes {included}, but {source} may include only: {may}"
    if included.parts[0] != "include" and source not in SEES_PRIVATE_HEADERS:
        return f"{includer}: includes {included}, which {target} keeps to itself"
    return None


def circles(graph):
    """Each circle met in a depth-first walk of {file: [included files]}, as a list of files."""
    state, found = {}, []
    for start in graph:
        if start in state:
            continue
        state[start] = "open"
        trail = [(start, iter(graph[start]))]
        while trail:
            following = next(trail[-1][1], None)
            if following is None:
                state[trail.pop()[0]] = "done"
            elif following not in state:
                state[following] = "open"
                trail.append((following, iter(graph.get(following, []))))
            elif state[following] == "open":
                path = [file for file, _ in trail]
                found.append(path[path.index(following):] + [following])
    return found


def violations(root):
    """Every violation in the tree, as sentences; and how many files were looked at."""
    root = root.resolve()
    problems, graph = [], {}
    files = source_files(root)
    for path in files:
        text = (root / path).read_text(encoding="utf-8")
        lines = text.count("\n")
        if path.suffix in COUNTED_SUFFIXES and lines > MAX_LINES:
            problems.append(f"{path}: {lines} lines; the limit is {MAX_LINES}")
        if path.suffix not in CPP_SUFFIXES:
            continue
        module = module_of(path)
        if module is not None and module not in MODULES:
            problems.append(f"{path}: module '{module}' has no row in tests/layering")
        code = COMMENT.sub("", text)
        if re.search(r"\btl\s*::|<tl/", code) and path.as_posix() != EXPECTED_HOME:
            problems.append(f"{path}: names tl::expected; use util::Result ({EXPECTED_HOME})")
        graph[path] = []
        for bracket, name in INCLUDE.findall(text):
            included = resolve(root, path, name)
            if included is None:
                if name.startswith("rhea/"):
                    problems.append(f"{path}: includes {name}, which does not exist")
                continue
            if bracket == "<":
                continue  # a system header whose name a file of ours happens to share
            graph[path].append(included)
            problem = check_include(path, included)
            if problem:
                problems.append(problem)
    for circle in circles(graph):
        problems.append("include circle: " + " -> ".join(map(str, circle)))
    return problems, len(files)


def main(arguments):
    if len(arguments) != 2:
        sys.exit("usage: check_layering.py SOURCE_ROOT")
    problems, count = violations(Path(arguments[1]))
    for problem in problems:
        print(problem)
    if count == 0:
        print("no source file found: is this the source folder?")
    print(f"{count} files, {len(problems)} violations")
    return 1 if problems or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
