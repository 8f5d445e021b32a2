#!/usr/bin/env python3
"""Translated code of a booting kernel calls C++ helpers seldom, and nothing of it is interpreted.

Usage: helper_calls.py EMULATOR

Debian's cloud kernel boots by PVH to a shell with -accel tcg,count=on; `info jit` then has the guest
instructions that ran. The bounds are a ratchet: lower them when the numbers fall.
"""

import os
import re
import sys
import tempfile

from guest import Emulator, Failure, Monitor, material, run

SECONDS = 240
# Helper calls, and blocks run by the interpreter, a 1,000 guest instructions.
MOST_HELPER_CALLS = 2.0
MOST_INTERPRETED = 0.01


def number(text, pattern):
    found = re.search(pattern, text)
    if not found:
        raise Failure(f"'info jit' has no '{pattern}':\n{text}")
    return int(found.group(1))


def main():
    folder = material("cloud-kernel", "initramfs")
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "monitor")
        with Emulator(sys.argv[1], "-M", "pc", "-accel", "tcg,count=on", "-cpu", "max", "-m", "256",
                      "-display", "none", "-serial", "stdio", "-no-reboot",
                      "-monitor", f"unix:{path},server=on,wait=off",
                      "-kernel", os.path.join(folder, "cloud-vmlinux"),
                      "-initrd", os.path.join(folder, "initramfs.cpio.gz"),
                      "-append", "console=ttyS0 quiet") as guest:
            guest.expect(r"(~|/root|/) # ", SECONDS)
            text = Monitor(path).command("info jit")
    print(text)
    insns = number(text, r"instructions run +(\d+)")
    calls = number(text, r"helper calls +(\d+)")
    interpreted = number(text, r"blocks interpreted +(\d+)")
    if insns < 50_000_000:
        raise Failure(f"only {insns} instructions: that is no boot")
    calls, interpreted = 1000 * calls / insns, 1000 * interpreted / insns
    print(f"{insns} guest instructions; a 1,000 of them: {calls:.3f} helper calls "
          f"(at most {MOST_HELPER_CALLS}), {interpreted:.5f} interpreted blocks "
          f"(at most {MOST_INTERPRETED})")
    if calls > MOST_HELPER_CALLS or interpreted > MOST_INTERPRETED:
        raise Failure("more than allowed")


run(main)
