#!/usr/bin/env python3
"""Debian's kernels boot by the translator, to BusyBox, and power off with exit status 0.

Usage: linux.py EMULATOR KERNEL CPU RAM [COUNT]     COUNT boots in a row, each to `uname -a`
       linux.py EMULATOR KERNEL CPU RAM shell       a shell at a terminal, typed at
       linux.py EMULATOR KERNEL CPU RAM smp=CPUS[,thread=single|multi][,count=COUNT][,seconds=S]
       with work for all of them; S bounds each wait
KERNEL is a file of scripts/guest-material: vmlinuz, cloud-vmlinuz or cloud-vmlinux.
"""

import os
import sys
import time

from guest import Emulator, material, run

SECONDS = 120


def start(emulator, kernel, cpu, ram, append, terminal=False, accelerator="tcg", cpus=1):
    folder = material("kernel" if kernel == "vmlinuz" else "cloud-kernel", "initramfs")
    return Emulator(emulator, "-M", "pc", "-accel", accelerator, "-smp", str(cpus), "-cpu", cpu, "-m", ram, "-nographic",
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


def several(machine, cpus, thread="multi", count="1", seconds=SECONDS):
    seconds = int(seconds)
    # The same sum as often as there are CPUs, side by side; then processes that come and go.
    work = (f"for i in $(seq {cpus}); do (dd if=/dev/zero bs=64k count=64 2>/dev/null | md5sum; "
            "for j in $(seq 20); do /bin/true; done) & done; wait")
    for number in range(int(count)):
        began = time.monotonic()
        with start(*machine, "quiet", terminal=True, accelerator=f"tcg,thread={thread}", cpus=cpus) as guest:
            guest.expect(r"(~|/root) # ", seconds)
            guest.send("nproc\r")
            guest.expect(rf"\n{cpus}\r?\n", seconds)
            guest.send(work + "; echo done=$((6*7))\r")
            for _ in range(int(cpus)):
                guest.expect(r"b5cfa9d6c8febd618f91ac2843d50a1c", seconds)  # of 4 MiB of zeros
            guest.expect(r"done=42", seconds)
            guest.send("poweroff\r")
            guest.expect_status(0, seconds)
        print(f"{number + 1} of {count}: power-on to power-off: {time.monotonic() - began:.2f} s", flush=True)


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
    elif how.startswith("smp="):
        settings = dict(part.split("=") for part in how.split(","))
        several(machine, settings.pop("smp"), **settings)
    else:
        for _ in range(int(how)):
            boot(machine)


run(main)
