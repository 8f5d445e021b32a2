#!/usr/bin/env python3
"""UEFI firmware (OVMF) finds a FAT disk, its shell starts Linux from there, by the kernel's EFI stub.

Usage: uefi.py EMULATOR EMULATOR-OPTION...     {} in an option: the disk's image, raw
"""

import os
import subprocess
import sys
import tempfile

from guest import Emulator, Failure, material, run

SECONDS = 200
MIB = 1 << 20
SCRIPT = "fs0:\r\nvmlinuz console=ttyS0 panic=-1 no_timer_check initrd=\\initrd rhea.run=echo,rhea,$((20+22))\r\n"


def make_disk(path, folder):
    """A FAT file system without partitions: the kernel, its initrd, the shell's script."""
    mtools = os.path.join(folder, "mtools")
    script = path + ".nsh"
    with open(script, "w", encoding="ascii", newline="") as file:
        file.write(SCRIPT)
    with open(path, "wb") as file:
        file.truncate(48 * MIB)
    for command, *arguments in (("mformat", "-F", "::"), ("mcopy", os.path.join(folder, "cloud-vmlinuz"), "::vmlinuz"),
                                ("mcopy", os.path.join(folder, "initramfs.cpio.gz"), "::initrd"), ("mcopy", script, "::startup.nsh")):
        done = subprocess.run([mtools, "-c", command, "-i", path, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise Failure(f"{command}: {done.stdout.strip()}")


def main():
    emulator, *options = sys.argv[1:]
    folder = material("uefi", "cloud-kernel", "initramfs")
    with tempfile.TemporaryDirectory(prefix="rhea-uefi-") as place:
        disk = os.path.join(place, "disk")
        make_disk(disk, folder)
        with Emulator(emulator, "-M", "pc", "-cpu", "max", "-m", "256", "-nographic", "-no-reboot",
                      "-bios", os.path.join(folder, "OVMF.fd"), *(option.replace("{}", disk) for option in options)) as guest:
            guest.expect("UEFI Interactive Shell", SECONDS)
            guest.expect("Press .*ESC.* in", SECONDS)
            guest.send("\r")
            guest.expect("EFI stub: Loaded initrd", SECONDS)
            guest.expect("rhea 42", SECONDS)
            guest.expect_status(0, SECONDS)


run(main)
