#!/usr/bin/env python3
"""The flat guest of exceptions: each event's vector, error code, address, EFLAGS, CS and CR2 or DR6, as exceptions.txt has them from
the manual.

Usage: exceptions.py EMULATOR IMAGE ACCELERATOR
"""

import difflib
import os
import sys

from guest import Emulator, Failure, run

SECONDS = 60


def main():
    emulator, image, accelerator = sys.argv[1:]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "exceptions.txt"), encoding="ascii") as file:
        expected = file.read()
    with Emulator(emulator, "-M", "pc", "-accel", accelerator, "-m", "16", "-bios", image, "-nodefaults", "-display", "none",
                  "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04") as guest:
        status = guest.finish(SECONDS)
        if guest.console != expected or status != 33:
            difference = difflib.unified_diff(expected.splitlines(), guest.console.splitlines(), "expected", "console", lineterm="")
            raise Failure(f"exit status {status}\n" + "\n".join(difference))
    print(f"{len(expected.splitlines())} lines as expected")


run(main)
