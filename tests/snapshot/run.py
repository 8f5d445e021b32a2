#!/usr/bin/env python3
"""Fetches a guest and runs the snapshot test with it. Exit code 77, with the reason: no guest to be had."""
import os
import pathlib
import subprocess
import sys

top = pathlib.Path(__file__).resolve().parents[2]
material = subprocess.run([top / "scripts/guest-material", "cloud-kernel", "initramfs"], capture_output=True, text=True)
if material.returncode != 0:
    print("no guest material: " + (material.stderr.strip().splitlines() or ["?"])[-1])
    sys.exit(77)
folder = pathlib.Path(material.stdout.strip().splitlines()[-1])
environment = dict(os.environ, RHEA_TEST_KERNEL=str(folder / "cloud-vmlinux"), RHEA_TEST_INITRD=str(folder / "initramfs.cpio.gz"))
sys.exit(subprocess.run([sys.argv[1]], env=environment).returncode)
