#!/usr/bin/env python3
"""The flat guests: what they write to the serial port, their exit status.

Usage: flat.py EMULATOR MACHINE ACCELERATOR REAL PROTECTED LONG INTERRUPTS     ACCELERATOR as for -accel
"""

import sys

from guest import Emulator, Failure, need_kvm, run

EXPECTED = {"real": ("Hello from real mode\n", 33),
            "protected": ("Hello from protected mode\n", 65),
            "long": ("Hello from long mode\n", 97),
            "interrupts": ("8259\nI/O APIC\nAPIC timer\n.........\nlevel\n", 43)}
SECONDS = 60


def main():
    emulator, machine, accelerator, *images = sys.argv[1:]
    if accelerator.startswith("kvm"):
        need_kvm()
    for (name, (console, status)), image in zip(EXPECTED.items(), images, strict=True):
        with Emulator(emulator, "-M", machine, "-accel", accelerator, "-m", "16", "-bios", image,
                      "-nodefaults", "-display", "none", "-serial", "stdio",
                      "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04") as guest:
            guest.expect_status(status, SECONDS)
            if guest.console != console:
                raise Failure(f"{name}: the console is {guest.console!r}")
        print(f"{name}: console and status {status}")


run(main)
