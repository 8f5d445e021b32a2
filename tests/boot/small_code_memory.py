#!/usr/bin/env python3
"""A kernel boots with much less code memory than its code takes, by dropping old code a part at a time.

Usage: small_code_memory.py EMULATOR

Debian's cloud kernel takes some 30 MiB; it gets 5. It must come to a shell, without ever dropping all code, and what is
hot must not be translated again and again: translating stays a fraction of the work.
"""

import os
import re
import sys
import tempfile

from guest import Emulator, Failure, Monitor, material, run

SECONDS = 240
MIB = 5
MOST_BLOCKS = 3  # times those of a boot with enough memory


def boot(emulator, accelerator, folder, path):
    with Emulator(emulator, "-M", "pc", "-accel", accelerator, "-cpu", "max", "-m", "256",
                  "-display", "none", "-serial", "stdio", "-no-reboot",
                  "-monitor", f"unix:{path},server=on,wait=off",
                  "-kernel", os.path.join(folder, "cloud-vmlinux"),
                  "-initrd", os.path.join(folder, "initramfs.cpio.gz"),
                  "-append", "console=ttyS0 quiet") as guest:
        guest.expect(r"(~|/root|/) # ", SECONDS)
        text = Monitor(path).command("info jit")
    found = re.search(r"blocks translated +(\d+).*(\d+) KiB live, (\d+) slabs dropped, (\d+) flushes", text, re.S)
    if not found:
        raise Failure(f"'info jit' says nothing of the code memory:\n{text}")
    return int(found[1]), int(found[3]), int(found[4])


def main():
    folder = material("cloud-kernel", "initramfs")
    with tempfile.TemporaryDirectory() as scratch:
        usual = boot(sys.argv[1], "tcg", folder, os.path.join(scratch, "one"))
        small = boot(sys.argv[1], f"tcg,tb-size={MIB}", folder, os.path.join(scratch, "other"))
    print(f"blocks, slabs dropped, flushes: {usual} as usual, {small} in {MIB} MiB")
    if usual[1:] != (0, 0):
        raise Failure("code was dropped where there is room for all")
    if small[1] < 5 or small[2] != 0:
        raise Failure("old code should have been dropped a slab at a time, and never all")
    if small[0] > MOST_BLOCKS * usual[0]:
        raise Failure(f"more than {MOST_BLOCKS} times the blocks: hot code does not stay")


run(main)
