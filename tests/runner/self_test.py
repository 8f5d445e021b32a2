#!/usr/bin/env python3
"""Shows that run_suite.py counts cases, failures, skips, crashes and hangs as what they are."""

import os
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import run_suite  # noqa: E402

HEAD = "[==========] Running {} tests from 1 test suite.\n"
PASS = "[ RUN      ] A.Good\n[       OK ] A.Good (0 ms)\n"
NOISY = "[ RUN      ] A.Noisy\nno newline here[       OK ] A.Noisy (0 ms)\n"
FAIL = "[ RUN      ] A.Bad\nx.cc:3: Failure\n1 is not 2\n[  FAILED  ] A.Bad (0 ms)\n"
PARAMETER = "[ RUN      ] P/A.Bad/0\nwhy\n[  FAILED  ] P/A.Bad/0, where GetParam() = 1 (0 ms)\n"
SKIP = "[ RUN      ] A.Skip\nx.cc:9: Skipped\nno /dev/kvm\n\n[  SKIPPED ] A.Skip (0 ms)\n"
TAIL = "[  FAILED  ] 1 test, listed below:\n[  FAILED  ] A.Bad\n"


class RunnerTest(unittest.TestCase):
    def run_script(self, output, code, protocol="gtest", body="", timeout=20):
        """The outcome of a program that prints `output`, runs `body` and exits with `code`."""
        script = f"import sys, os, time\nsys.stdout.write({output!r})\nsys.stdout.flush()\n" \
                 f"{body}\nsys.exit({code})"
        return run_suite.run_test({"name": "t", "cmd": [sys.executable, "-c", script], "env": {},
                                   "workdir": None, "timeout": timeout, "protocol": protocol,
                                   "suite": []}, 1)

    def assert_counts(self, outcome, passed, failed, skipped):
        self.assertEqual((outcome.passed, len(outcome.failures), len(outcome.skips)),
                         (passed, failed, skipped), outcome)

    def test_cases_are_counted(self):
        outcome = self.run_script(HEAD.format(4) + PASS + NOISY + FAIL + SKIP + TAIL, 1)
        self.assert_counts(outcome, 2, 1, 1)
        self.assertIn("1 is not 2", outcome.failures[0][1])
        self.assertEqual(outcome.skips[0], ("A.Skip", "no /dev/kvm"))

    def test_parameterised_failure(self):
        self.assert_counts(self.run_script(HEAD.format(1) + PARAMETER, 1), 0, 1, 0)

    def test_no_case_is_a_failure(self):
        self.assert_counts(self.run_script(HEAD.format(0), 0), 0, 1, 0)
        self.assert_counts(self.run_script("", 0), 0, 1, 0)

    def test_missing_cases_are_a_failure(self):
        self.assert_counts(self.run_script(HEAD.format(2) + PASS, 0), 1, 1, 0)

    def test_bad_exit_code_is_a_failure(self):
        self.assert_counts(self.run_script(HEAD.format(1) + PASS, 1), 1, 1, 0)

    def test_crash_belongs_to_the_running_case(self):
        outcome = self.run_script(HEAD.format(1) + "[ RUN      ] A.Crash\n", 0, body="os.abort()")
        self.assert_counts(outcome, 0, 1, 0)
        self.assertEqual(outcome.failures[0][0], "A.Crash")
        self.assertIn("SIGABRT", outcome.failures[0][1])

    def test_hang_is_ended(self):
        outcome = self.run_script(HEAD.format(1) + "[ RUN      ] A.Hang\n", 0,
                                  body="time.sleep(60)", timeout=1)
        self.assert_counts(outcome, 0, 1, 0)
        self.assertIn("no end after 1 s", outcome.failures[0][1])

    def test_script_tests(self):
        self.assert_counts(self.run_script("", 0, "exitcode"), 1, 0, 0)
        self.assert_counts(self.run_script("", 3, "exitcode"), 0, 1, 0)
        outcome = self.run_script("text\nno network here\n", 77, "exitcode")
        self.assert_counts(outcome, 0, 0, 1)
        self.assertEqual(outcome.skips[0][1], "no network here")

    def test_runs_in_the_build_folder(self):
        test = {"name": "t", "cmd": [sys.executable, "-c", "import os; print(os.getcwd())"],
                "env": {}, "workdir": None}
        with tempfile.TemporaryDirectory() as folder:
            _, output = run_suite.run(test, 20, folder)
            self.assertEqual(output.strip(), os.path.realpath(folder))

    def test_selection(self):
        tests = [{"name": "a", "suite": ["rhea:unit"], "priority": 0},
                 {"name": "b", "suite": ["rhea:boot", "rhea:full"], "priority": 1}]
        names = lambda quick, suites: [t["name"] for t in run_suite.selected(tests, quick, suites)]
        self.assertEqual(names(False, []), ["b", "a"])
        self.assertEqual(names(True, []), ["a"])
        self.assertEqual(names(False, ["unit"]), ["a"])

    def test_last_line(self):
        self.assertEqual(run_suite.summary(3, 0, 0), "3 passed, 0 failed")
        self.assertEqual(run_suite.summary(3, 1, 2), "3 passed, 1 failed, 2 skipped")


if __name__ == "__main__":
    unittest.main()
