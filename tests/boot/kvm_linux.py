#!/usr/bin/env python3
"""Debian's cloud kernel under KVM, through PVH, to the memory map that it was given.

Usage: kvm_linux.py EMULATOR

Ends there: where KVM runs below another hypervisor, or in software, a whole boot takes minutes.
"""

import os
import sys

from guest import Emulator, material, need_kvm, run

SECONDS = 120


def main():
    need_kvm()
    kernel = os.path.join(material("cloud-kernel"), "cloud-vmlinux")
    with Emulator(sys.argv[1], "-M", "pc", "-accel", "kvm", "-cpu", "qemu64,-cx16", "-m", "256",
                  "-nographic", "-no-reboot", "-kernel", kernel,
                  "-append", "console=ttyS0 earlyprintk=serial") as guest:
        guest.expect(r"Linux version \d", SECONDS)
        guest.expect(r"BIOS-provided physical RAM map", SECONDS)
        guest.expect(r"BIOS-e820: \[mem 0x0000000000000000-[^\n]* usable", SECONDS)
        guest.expect(r"BIOS-e820: \[mem 0x0000000000100000-[^\n]* usable", SECONDS)


run(main)
