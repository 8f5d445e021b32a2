#!/usr/bin/env python3
"""Debian's kernels boot by the translator, to BusyBox, and power off with exit status 0.

Usage: linux.py EMULATOR KERNEL CPU RAM [COUNT]     COUNT boots in a row, each to `uname -a`
       linux.py EMULATOR KERNEL CPU RAM shell       a shell at a terminal, typed at
KERNEL is a file of scripts/guest-material: vmlinuz, cloud-vmlinuz or cloud-vmlinux.
"""

import os
import sys
import time

from guest import Emulator, material, run

SECONDS = 120


def start(emulator, kernel, cpu, ram, append, terminal=False):
    folder = material("kernel" if kernel == "vmlinuz" else "cloud-kernel", "initramfs")
    return Emulator(emulator, "-M", "pc", "-accel", "tcg", "-cpu", cpu, "-m", ram, "-nographic",
                    "-no-reboot", "-kernel", os.path.join(folder, kernel),
                    "-initrd", os.path.join(folder, "initramfs.cpio.gz"),
                    "-append", "console=ttyS0 " + append, terminal=terminal)


def boot(machine):
    began = time.monotonic()
    with start(*machine, "rhea.run=uname,-a") as guest:
        guest.expect(r"Linux version \d", SECONDS)
        guest.expect(r"Linux \(none\) [0-9][^\n]* x86_64 GNU/Linux", SECONDS)
        guest.expect_status(0, SECONDS)
    print(f"power-on to power-off: {time.monotonic() - began:.2f} s", flush=True)


def shell(machine):
    with start(*machine, "quiet", terminal=True) as guest:
        guest.expect(r"(~|/root) # ", SECONDS)
        guest.send("echo $((6*7))\r")
        guest.expect(r"\n42\n", SECONDS)
        guest.expect(r"(~|/root) # ", SECONDS)
        guest.send("poweroff\r")
        guest.expect_status(0, SECONDS)


def main():
    machine, how = sys.argv[1:5], sys.argv[5] if len(sys.argv) > 5 else "1"
    if how == "shell":
        shell(machine)
    else:
        for _ in range(int(how)):
            boot(machine)


run(main)
