#!/usr/bin/env python3
"""Shows that check_layering.py finds each kind of violation, and nothing in a good tree."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import check_layering  # noqa: E402

GOOD = {
    "include/rhea/util/result.h": "#include <tl/expected.hpp>\n",
    "include/rhea/core/clock.h": '#include "rhea/util/result.h"\n',
    "core/heap.h": "// not tl::expected\n",
    "core/clock.cc": '#include "rhea/core/clock.h"\n#include "heap.h"\n#include <vector>\n',
    "hw/char/uart.cc": '#include "rhea/core/clock.h"\n',
    "tests/unit/core/heap_test.cc": '#include "core/heap.h"\n',
    "tcg/ops.def": "ROW\n" * 2000,
}


class LayeringTest(unittest.TestCase):
    def check(self, files):
        """The exit code and the violations for GOOD plus `files`."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**GOOD, **files}.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return check_layering.violations(Path(folder))[0]

    def assert_one(self, files, *words):
        problems = self.check(files)
        self.assertEqual(len(problems), 1, problems)
        for word in words:
            self.assertIn(word, problems[0])

    def test_good_tree(self):
        self.assertEqual(self.check({}), [])

    def test_include_upwards(self):
        self.assert_one({"include/rhea/hw/bus.h": "",
                         "core/bad.cc": '#include "rhea/hw/bus.h"\n'}, "core/bad.cc", "hw/bus.h")

    def test_include_sideways(self):
        self.assert_one({"include/rhea/net/peer.h": "",
                         "block/bad.cc": '#include "rhea/net/peer.h"\n'}, "block/bad.cc")

    def test_include_upwards_by_relative_path(self):
        self.assert_one({"hw/bus.h": "", "core/bad.cc": '#include "../hw/bus.h"\n'}, "core/bad.cc")

    def test_public_header_obeys_its_module(self):
        self.assert_one({"include/rhea/util/bad.h": '#include "rhea/core/clock.h"\n'},
                        "include/rhea/util/bad.h")

    def test_private_header_of_another_module(self):
        self.assert_one({"hw/bad.cc": '#include "core/heap.h"\n'}, "keeps to itself")

    def test_missing_header(self):
        self.assert_one({"core/bad.cc": '#include "rhea/core/none.h"\n'}, "does not exist")

    def test_unknown_module(self):
        self.assert_one({"include/rhea/extra/new.h": ""}, "'extra'")

    def test_circle(self):
        self.assert_one({"core/a.h": '#include "b.h"\n', "core/b.h": '#include "c.h"\n',
                         "core/c.h": '#include "a.h"\n'}, "circle", "core/b.h")

    def test_long_file(self):
        self.assert_one({"core/long.cc": "\n" * 701}, "701 lines")
        self.assertEqual(self.check({"core/long.cc": "\n" * 700}), [])

    def test_expected_elsewhere(self):
        self.assert_one({"core/bad.cc": "tl::expected<int, int> x;\n"}, "tl::expected")
        self.assert_one({"core/bad.cc": "#include <tl/expected.hpp>\n"}, "tl::expected")

    def test_exit_codes(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(check_layering.main(["", folder]), 1, "an empty tree must fail")
            Path(folder, "util").mkdir()
            Path(folder, "util/a.cc").write_text("")
            self.assertEqual(check_layering.main(["", folder]), 0)
            Path(folder, "util/a.cc").write_text('#include "rhea/none.h"\n')
            self.assertEqual(check_layering.main(["", folder]), 1)


if __name__ == "__main__":
    unittest.main()
