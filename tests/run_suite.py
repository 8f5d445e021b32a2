#!/usr/bin/env python3
"""Runs the tests of a configured and built folder, and counts their cases.

Usage: run_suite.py [--quick] [--suite NAME]... [--result FILE] BUILD_DIR

The tests are those that meson knows. A GoogleTest program counts one for each case; any other test
counts one, and skips itself with exit code 77 and its last line as the reason. --quick leaves out
the suite 'full'; --suite keeps only the named suites. --result writes "passed failed skipped" to a
file, for a caller that adds up several build folders. Exit code 1 when a case failed or none ran.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

JOBS = 2
SKIP_CODE = 77
SANITIZER_SLOWDOWN = 4
MARK = re.compile(r"\[( RUN      |       OK |  FAILED  |  SKIPPED )\] ([^\s,(]+)(?:\s*$|,| \()")
PLANNED = re.compile(r"^\[==========\] Running (\d+) tests? from", re.MULTILINE)
LOCATION = re.compile(r"^(.*: )?Skipped$")


@dataclass
class Outcome:
    """What one test program did."""
    name: str
    passed: int = 0
    failures: list = field(default_factory=list)  # (case, output)
    skips: list = field(default_factory=list)  # (case, reason)


def run(test, timeout, build_dir=None):
    """Runs one test of meson's list, in the build folder as meson does: arguments that name built
    files are relative to it. Returns (exit code or None on timeout, output)."""
    environment = dict(os.environ, **test.get("env", {}))
    process = subprocess.Popen(test["cmd"], cwd=test.get("workdir") or build_dir, env=environment,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=timeout)
        code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        code = None
    return code, output.decode("utf-8", "replace")


def how_it_ended(code, timeout):
    if code is None:
        return f"no end after {timeout:g} s"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def read_gtest(outcome, code, output, timeout):
    """Fills in the cases that a GoogleTest program's output tells of."""
    running, lines = None, []
    for line in output.splitlines():
        mark = MARK.search(line)
        kind = mark.group(1).strip() if mark else None
        if kind == "RUN":
            running, lines = mark.group(2), []
        elif running is not None and kind and mark.group(2) == running:
            lines.append(line[:mark.start()])
            text = "\n".join(lines).strip()
            if kind == "OK":
                outcome.passed += 1
            elif kind == "FAILED":
                outcome.failures.append((running, text))
            else:
                reason = " ".join(part for part in lines if not LOCATION.match(part)).strip()
                outcome.skips.append((running, reason or "no reason given"))
            running = None
        else:
            lines.append(line)
    if running is not None:  # it died within a case
        text = "\n".join(lines + [how_it_ended(code, timeout)])
        outcome.failures.append((running, text))
        return
    ran = outcome.passed + len(outcome.failures) + len(outcome.skips)
    planned = PLANNED.search(output)
    if ran == 0 or not planned or int(planned.group(1)) != ran:
        count = planned.group(1) if planned else "no"
        outcome.failures.append(
            (outcome.name, f"{output}\n{count} cases planned, {ran} seen; "
                           f"{how_it_ended(code, timeout)}"))
    elif code != 0 and not outcome.failures:
        outcome.failures.append((outcome.name, f"{output}\n{how_it_ended(code, timeout)}"))


def run_test(test, slowdown, build_dir=None):
    name = test["name"]
    timeout = test["timeout"] * slowdown if test["timeout"] > 0 else None
    outcome = Outcome(name)
    code, output = run(test, timeout, build_dir)
    if test["protocol"] == "gtest":
        read_gtest(outcome, code, output, timeout)
    elif code == 0:
        outcome.passed = 1
    elif code == SKIP_CODE:
        lines = [line for line in output.splitlines() if line.strip()]
        outcome.skips.append((name, lines[-1].strip() if lines else "no reason given"))
    else:
        outcome.failures.append((name, f"{output}\n{how_it_ended(code, timeout)}"))
    return outcome


def report(outcome):
    for case, reason in outcome.skips:
        print(f"SKIP {outcome.name}: {case}: {reason}")
    for case, output in outcome.failures:
        print(f"FAIL {outcome.name}: {case}")
        for line in output.strip().splitlines():
            print(f"    {line}")
    print(f"{'FAIL' if outcome.failures else 'ok  '} {outcome.name}: {outcome.passed} passed, "
          f"{len(outcome.failures)} failed, {len(outcome.skips)} skipped", flush=True)


def summary(passed, failed, skipped):
    """The line that a run of tests ends with."""
    return f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")


def introspect(build_dir, what):
    output = subprocess.run(["meson", "introspect", f"--{what}", build_dir],
                            check=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)


def selected(tests, quick, suites):
    chosen = []
    for test in tests:
        own = {suite.split(":", 1)[-1] for suite in test["suite"]}
        if (quick and "full" in own) or (suites and not own & set(suites)):
            continue
        chosen.append(test)
    return sorted(chosen, key=lambda test: -test["priority"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--suite", action="append", default=[])
    parser.add_argument("--result")
    parser.add_argument("build_dir")
    arguments = parser.parse_args()

    options = {option["name"]: option["value"]
               for option in introspect(arguments.build_dir, "buildoptions")}
    slowdown = SANITIZER_SLOWDOWN if options.get("b_sanitize", "none") != "none" else 1
    tests = selected(introspect(arguments.build_dir, "tests"), arguments.quick, arguments.suite)
    outcomes = []

    def run_all(group, jobs):
        with ThreadPoolExecutor(jobs) as pool:
            for outcome in pool.map(lambda test: run_test(test, slowdown, arguments.build_dir),
                                    group):
                report(outcome)
                outcomes.append(outcome)

    run_all([test for test in tests if test["is_parallel"]], JOBS)
    run_all([test for test in tests if not test["is_parallel"]], 1)

    passed = sum(outcome.passed for outcome in outcomes)
    failed = sum(len(outcome.failures) for outcome in outcomes)
    skipped = sum(len(outcome.skips) for outcome in outcomes)
    if arguments.result:
        with open(arguments.result, "w", encoding="utf-8") as file:
            print(passed, failed, skipped, file=file)
    print(summary(passed, failed, skipped))
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
