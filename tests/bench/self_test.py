#!/usr/bin/env python3
"""The benchmark runner's own logic: lines of the programs, medians, means, table, plot, archive, and
emulators that hang or die (small shell scripts stand for them)."""

import os
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

sys.dont_write_bytecode = True
import block_cases  # noqa: E402
import block_report  # noqa: E402
import disk_guest  # noqa: E402
import measure  # noqa: E402
import report  # noqa: E402
from measure import Result  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


def rows():
    return [report.Row("one", "first", {"native": 1.0, "rhea": 2.0, "qemu": 8.0}),
            report.Row("two", "first", {"native": 1.0, "rhea": 8.0, "qemu": 2.0}),
            report.Row("three", "second", {"native": 0.5, "qemu": 5.0},
                       {"rhea": "skipped: no <AVX2> & more"})]


class LinesTest(unittest.TestCase):
    def test_result(self):
        parsed = measure.parse_line("bench sieve checksum=00ff ns=1500000\r\n")
        self.assertEqual(parsed[0], "sieve")
        self.assertEqual(measure.parse_result(*parsed[1:]), Result(0.0015, "00ff"))

    def test_error_and_skip(self):
        self.assertEqual(measure.parse_result(*measure.parse_line("bench x error=it broke")[1:]),
                         Result(error="it broke"))
        self.assertEqual(measure.parse_result(*measure.parse_line("bench x skip=no AVX")[1:]),
                         Result(skip="no AVX"))

    def test_other_lines(self):
        self.assertIsNone(measure.parse_line("[    0.1] bench sieve checksum=1 ns=2"))
        self.assertTrue(measure.parse_result("checksum", "12 ns=x").error)


class NumbersTest(unittest.TestCase):
    def test_median_of_rounds(self):
        row = report.make_row("a", "g", {"native": [Result(s, "1") for s in (3.0, 1.0, 2.0)],
                                         "rhea": [Result(s, "1") for s in (4.0, 8.0)]})
        self.assertEqual(row.seconds, {"native": 2.0, "rhea": 6.0})
        self.assertEqual(row.ratio("rhea", "native"), 3.0)
        self.assertIsNone(row.ratio("qemu", "native"))

    def test_best_of_rounds(self):
        row = report.make_row("a", "g", {"rhea": [Result(s, "1") for s in (3.0, 1.0, 2.0)]}, min)
        self.assertEqual(row.seconds, {"rhea": 1.0})

    def test_checksum_that_differs(self):
        row = report.make_row("a", "g", {"native": [Result(1.0, "1")], "rhea": [Result(1.0, "2")],
                                         "qemu": [Result(1.0, "1")]})
        self.assertEqual(set(row.seconds), {"native", "qemu"})
        self.assertIn("checksum 2", row.problems["rhea"])

    def test_error_of_one_round(self):
        row = report.make_row("a", "g", {"rhea": [Result(1.0, "1"), Result(error="hangs")]})
        self.assertEqual(row.problems, {"rhea": "error: hangs"})
        self.assertEqual(row.seconds, {})

    def test_geometric_mean(self):
        self.assertAlmostEqual(report.geometric_mean([2.0, 8.0, None]), 4.0)
        self.assertIsNone(report.geometric_mean([None]))

    def test_means_take_rows_that_all_engines_have(self):
        ratios, count = report.means(rows())
        self.assertEqual(count, 2)
        for ratio, expected in zip(ratios, (4.0, 4.0, 1.0)):
            self.assertAlmostEqual(ratio, expected)


class BlockTest(unittest.TestCase):
    def test_speed_is_the_median_of_the_rounds_ratios(self):
        row = block_report.Row("check", "tools", 1.5)
        for rhea, qemu in ((1.0, 2.0), (4.0, 4.0), (1.0, 9.0)):
            row.add("rhea", rhea, 8.0)
            row.add("qemu", qemu, 9.5)
        self.assertEqual(row.speed(), 2.0)
        self.assertFalse(row.slow())
        self.assertRegex(block_report.table([row]), r"check +1000\.0 +4000\.0 +2\.00 +1\.5 +8\.0 +9\.5")

    def test_slow_and_failed_cases_are_named(self):
        slow, failed = block_report.Row("a", "tools", 1.5), block_report.Row("b", "guest", 1.0)
        for engine in ("rhea", "qemu"):
            slow.add(engine, 1.0)
            failed.add(engine, 1.0)
        failed.add("qemu", 0.0, error="checksum 1, not 2")
        self.assertTrue(slow.slow())
        self.assertIsNone(failed.speed())
        text = block_report.table([slow, failed])
        self.assertRegex(text, r"a +1000\.0 +1000\.0 +1\.00 +1\.5 +slow")
        self.assertIn("b, QEMU: checksum 1, not 2", text)

    def test_inputs(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "data")
            block_cases.write_data(path, 5)
            self.assertEqual(os.path.getsize(path), 5 << 20)
            block_cases.write_scattered(path, 1, 3)
            with open(path, "rb") as file:
                at = os.lseek(file.fileno(), 0, os.SEEK_DATA)
                self.assertEqual(os.pread(file.fileno(), 16, at), b"%016x" % (at // 65536))

    def test_guests_loads_are_those_of_its_program(self):
        with open(os.path.join(measure.ROOT, "tests", "guests", "disk", "loads.c"), encoding="ascii") as file:
            source = file.read()
        for _, _, loads in block_cases.GUEST_DISKS.values():
            for load in loads:
                self.assertIn('{"' + load + '", ', source)

    def test_the_guests_program_compiles(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertTrue(os.access(disk_guest.build(folder), os.X_OK))


class LaunchTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.launch = measure.build_launch(folder.name)

    def test_usage(self):
        usage = measure.measure(self.launch, ["/bin/sh", "-c", "exit 33"], 33)
        self.assertEqual(usage.error, "")
        self.assertGreater(usage.wall, 0)
        self.assertLess(usage.memory, 8)  # the shell's own, not that of this Python

    def test_errors(self):
        wrong = measure.measure(self.launch, ["/bin/sh", "-c", "echo oh no >&2; exit 3"], 0)
        self.assertEqual(wrong.error, "exit status 3: oh no")
        hung = measure.measure(self.launch, ["/bin/sleep", "1000"], 0, seconds=1)
        self.assertEqual(hung.error, "no end within 1 s")


class OutputTest(unittest.TestCase):
    def test_table(self):
        text = report.table(rows())
        lines = {line.split("  ")[0]: line.split() for line in text.splitlines() if line[:1].strip()}
        self.assertEqual(lines["one"][1:], ["1000.00", "2000.00", "8000.00", "2.00", "8.00", "0.25"])
        self.assertIn("skipped", lines["three"])
        self.assertIn("three, Rhea: skipped: no <AVX2> & more", text)

    def test_resident_besides_ram(self):
        smaps = ("7f0000000000-7f0020000000 rw-p 00000000 00:00 0 \nSize: 524288 kB\nRss:            81920 kB\n"
                 "7f1000000000-7f1010000000 rwxp 00000000 00:00 0 \nRss:            20480 kB\n"
                 "7f2000000000-7f2020000000 rw-p 00000000 08:01 77   /kernel image\nRss: 1024 kB\n"
                 "7f3000000000-7f3000100000 rw-p 00000000 00:00 0 [heap]\nRss: 512 kB\n")
        self.assertEqual(measure.resident(smaps, 512), (101.5, 21.5))
        # RAM in three pieces, and mappings that touch it but are none of it.
        smaps = ("7f0000000000-7f0000200000 rw-p 00000000 00:00 0 \nRss: 1024 kB\n"
                 "7f0000200000-7f0000400000 rw-p 00000000 00:00 0 \nRss: 512 kB\n"
                 "7f0000400000-7f0020000000 rw-p 00000000 00:00 0 \nRss: 2048 kB\n"
                 "7f0020000000-7f0020200000 rw-p 00000000 00:00 0 \nRss: 4096 kB\n"
                 "7f0020200000-7f0020400000 rw-p 00000000 00:00 0 \nRss: 8192 kB\n")
        self.assertEqual(measure.resident(smaps, 512), (15.5, 9.0))

    def test_boot_table(self):
        usage = measure.Usage
        text = report.boot_table([("flat", "rhea", [usage(0.01, 0.01, 5)]),
                                  ("flat", "qemu", [usage(0.04, 0.02, 50)]),
                                  ("big", "rhea", [usage(error="exit status 1")])])
        self.assertRegex(text, r"flat +Rhea/QEMU +0\.25 +0\.50 +0\.10")
        self.assertIn("big, Rhea: error: exit status 1", text)

    def test_plot(self):
        root = ElementTree.fromstring(report.plot(rows(), "a < b & c"))
        text = [node.text or "" for node in root.iter(SVG + "text")]
        for label in ("one", "first: mean", "all: mean", "Rhea", "QEMU", "Rhea: skipped", "a < b & c"):
            self.assertIn(label, text)
        for node in root.iter(SVG + "rect"):
            self.assertGreater(float(node.get("width")), 0)
            self.assertLessEqual(float(node.get("x", 0)) + float(node.get("width")), 900)

    def test_plot_without_native_or_anything(self):
        some = [report.Row("one", "first", {"rhea": 2.0, "qemu": 1.0})]
        self.assertIn("QEMU's", report.plot(some))
        ElementTree.fromstring(report.plot([report.Row("one", "first")]))


class GuestTest(unittest.TestCase):
    def run_script(self, body, names, seconds=5, copies=1):
        with tempfile.TemporaryDirectory() as folder:
            script = os.path.join(folder, "emulator")
            with open(script, "w", encoding="utf-8") as file:
                file.write("#!/bin/sh\nfor word; do last=$word; done\n" + body)
            os.chmod(script, 0o755)
            guest = measure.Guest(script, "kernel", "archive", "max", 1, seconds, copies, copies)
            return dict(guest.run(names)), guest

    def test_good(self):
        got, guest = self.run_script(
            "echo bench a begin at=0; echo bench a checksum=5 ns=7\n"
            "echo bench b begin at=1; echo bench b skip=no; echo bench - end at=1000\n", ["a", "b"])
        self.assertEqual(got["a"], Result(7e-9, "5"))
        self.assertEqual(got["b"].skip, "no")
        self.assertEqual(len(guest.clock_ratios), 1)

    def test_copies_at_once(self):
        got, _ = self.run_script(
            "case $last in *bench.copies=2*) ;; *) exit 9 ;; esac\n"
            "echo bench a begin at=0; echo bench a checksum=5 ns=7; echo bench a checksum=5 ns=9\n"
            "echo bench b begin at=1; echo bench b checksum=5 ns=7; echo bench b checksum=6 ns=9\n"
            "echo bench c begin at=1; echo bench c error=it broke; echo bench c checksum=6 ns=9\n"
            "echo bench - end at=1000\n", ["a", "b", "c"], copies=2)
        self.assertEqual(got["a"], Result(9e-9, "5"))
        self.assertIn("different checksums", got["b"].error)
        self.assertEqual(got["c"].error, "it broke")

    def test_death_within_a_program_leaves_the_rest_to_a_new_boot(self):
        got, _ = self.run_script(
            "case $last in *bench.programs=a,*) echo bench a begin at=0; echo oh no; exit 3 ;; esac\n"
            "echo bench b begin at=0; echo bench b checksum=1 ns=1; echo bench - end at=5\n",
            ["a", "b"])
        self.assertIn("exit status 3", got["a"].error)
        self.assertIn("oh no", got["a"].error)
        self.assertEqual(got["b"].checksum, "1")

    def test_a_guest_that_hangs(self):
        self.addCleanup(setattr, measure, "SLACK_SECONDS", measure.SLACK_SECONDS)
        measure.SLACK_SECONDS = 0
        got, _ = self.run_script("echo bench a begin at=0; exec sleep 1000\n", ["a"], seconds=1)
        self.assertIn("the guest hangs", got["a"].error)

    def test_death_before_any_program(self):
        got, _ = self.run_script("echo no such machine; exit 1\n", ["a", "b"])
        self.assertEqual(set(got), {"a", "b"})
        self.assertIn("no such machine", got["b"].error)

    def test_archive(self):
        archive = measure.initramfs({"init": b"12345"})
        self.assertEqual(archive[:6], b"070701")
        self.assertEqual(archive.count(b"070701"), 6)
        at = archive.index(b"init\0") - 110
        self.assertEqual(int(archive[at + 54:at + 62], 16), 5)  # the size
        data = archive.index(b"12345")
        self.assertEqual((data % 4, data - at), (0, 116))  # header, name, padding


if __name__ == "__main__":
    unittest.main()
