#!/usr/bin/env python3
"""A qcow2 image of 10 TiB costs little memory: to look at it, to convert it, and to start a machine with it.

Usage: big_image.py EMULATOR RHEA_IMG FLAT_IMAGE

Memory is what the host says was resident at most. The same machine with a disk of 1 GiB is what it is compared with. That opening
reads no more than header and L1 table is in tests/unit/block/qcow2.
"""

import os
import random
import sys
import tempfile

from img_harness import Tools

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench"))
import measure  # noqa: E402

TIB = 1 << 40
CLUSTER = 65536
PLACES = 64          # where the disk has data, each in an L2 table of its own, mostly
TOOL_MIB = 16        # of which some 5 are the program
CONVERT_MIB = 64
MACHINE_MIB = 2      # more than with a small disk: the L1 table takes 160 KiB


def main():
    emulator, firmware = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[3])
    with Tools(sys.argv[2]) as tools, tempfile.TemporaryDirectory() as folder:
        launch = measure.build_launch(folder)

        def memory(status, *words):
            usage = measure.measure(launch, list(words), status)
            tools.check(not usage.error, f"{' '.join(words)}: {usage.error}")
            return usage.memory

        def machine(image):
            return memory(33, emulator, "-M", "pc", "-accel", "tcg", "-m", "16", "-bios", firmware, "-nodefaults", "-display", "none",
                          "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
                          "-drive", f"file={tools.path(image)},format=qcow2,if=virtio")

        with open(tools.path("big.raw"), "wb") as file:
            file.truncate(10 * TIB)
            for place in random.Random(5).sample(range(10 * TIB // CLUSTER), PLACES):
                os.pwrite(file.fileno(), b"%016x" % place * 256, place * CLUSTER)
        used = memory(0, tools.rhea_img, "convert", "-f", "raw", "-O", "qcow2", tools.path("big.raw"), tools.path("big.qcow2"))
        tools.check(used < CONVERT_MIB, f"convert of 10 TiB took {used:.1f} MiB")
        tools.rhea_ok("create", "-q", "-f", "qcow2", "empty.qcow2", "10T")
        tools.rhea_ok("create", "-q", "-f", "qcow2", "small.qcow2", "1G")
        for image in ("empty.qcow2", "big.qcow2"):
            for command in ("info", "check", "map"):
                used = memory(0, tools.rhea_img, command, tools.path(image))
                tools.check(used < TOOL_MIB, f"{command} of {image} took {used:.1f} MiB")
        base = machine("small.qcow2")
        for image in ("empty.qcow2", "big.qcow2"):
            used = machine(image)
            tools.check(used < base + MACHINE_MIB, f"a machine with {image} took {used:.1f} MiB, with a small disk {base:.1f} MiB")
        tools.rhea_ok("compare", "-f", "raw", "-F", "qcow2", "big.raw", "big.qcow2")
    tools.finish()


if __name__ == "__main__":
    main()
