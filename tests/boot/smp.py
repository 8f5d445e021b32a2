#!/usr/bin/env python3
"""Several CPUs: the flat guest that tests start-up, locked operations, the memory model, changed code and TLB shootdown.

Usage: smp.py EMULATOR IMAGE ACCELERATOR CPUS [COUNT]     ACCELERATOR as for -accel; COUNT runs in a row
"""

import sys

from guest import Emulator, Failure, run

SECONDS = 150
TESTS = ["locked operations", "halts and IPIs"]
WITH_TWO = ["store buffering, MFENCE", "store buffering, LOCK", "store buffering, XCHG", "message passing", "load buffering"]
WITH_FOUR = ["independent reads"]
AT_THE_END = ["modified code", "shootdown"]


def once(emulator, image, accelerator, cpus):
    with Emulator(emulator, "-M", "pc", "-accel", accelerator, "-m", "16", "-smp", str(cpus), "-bios", image,
                  "-nodefaults", "-display", "none", "-serial", "stdio",
                  "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04") as guest:
        guest.expect_status(33, SECONDS)
        names = TESTS + (WITH_TWO if cpus > 1 else []) + (WITH_FOUR if cpus > 3 else []) + AT_THE_END
        expected = "started\n" + "".join(f"{name}: passed\n" for name in names)
        if guest.console != expected:
            raise Failure(f"the console is {guest.console!r}")


def main():
    emulator, image, accelerator, cpus, *count = sys.argv[1:]
    for _ in range(int(count[0]) if count else 1):
        once(emulator, image, accelerator, int(cpus))
    print(f"{cpus} CPUs: all tests of the guest passed")


run(main)
