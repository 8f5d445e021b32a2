#!/usr/bin/env python3
"""The flat guest in real, protected and long mode: its line on the serial port, its exit status.

Usage: flat.py EMULATOR ACCELERATOR REAL PROTECTED LONG     ACCELERATOR as for -accel
"""

import sys

from guest import Emulator, Failure, need_kvm, run

STATUS = {"real": 33, "protected": 65, "long": 97}
SECONDS = 60


def main():
    emulator, accelerator, *images = sys.argv[1:]
    if accelerator == "kvm":
        need_kvm()
    for (mode, status), image in zip(STATUS.items(), images, strict=True):
        with Emulator(emulator, "-M", "pc", "-accel", accelerator, "-m", "16", "-bios", image,
                      "-nodefaults", "-display", "none", "-serial", "stdio",
                      "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04") as guest:
            guest.expect_status(status, SECONDS)
            if guest.console != f"Hello from {mode} mode\n":
                raise Failure(f"{mode} mode: the console is {guest.console!r}")
        print(f"{mode} mode: line and status {status}")


run(main)
