#!/usr/bin/env python3
"""-enable-kvm where KVM cannot be used: one sentence that says why, exit status 1; with a second
accelerator the guest runs.

Usage: kvm_missing.py EMULATOR REAL_MODE_IMAGE

Without permission: /dev/kvm as nobody sees it. Skipped when this is not root, or nobody may use KVM.
"""

import os
import subprocess
import sys

from guest import Failure, Skip, run

NOBODY = 65534
SECONDS = 60


def as_nobody(arguments):
    return subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False,
                          user=NOBODY, group=NOBODY, extra_groups=[])


def main():
    # Opened here: nobody may not be able to reach the build folder.
    emulator, image = (os.open(path, os.O_RDONLY) for path in sys.argv[1:])
    if os.geteuid() != 0:
        raise Skip("only root can become somebody without permission")
    if not os.path.exists("/dev/kvm"):
        raise Skip("there is no /dev/kvm")
    if as_nobody(["test", "-w", "/dev/kvm"]).returncode == 0:
        raise Skip("everybody may use /dev/kvm")
    for number in (emulator, image):
        os.set_inheritable(number, True)
    base = [f"/proc/self/fd/{emulator}", "-M", "pc", "-m", "16", "-bios", f"/proc/self/fd/{image}",
            "-nodefaults", "-display", "none", "-serial", "stdio",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]

    def start(*arguments):
        return subprocess.run([*base, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False,
                              user=NOBODY, group=NOBODY, extra_groups=[],
                              pass_fds=(emulator, image))

    done = start("-enable-kvm")
    if done.returncode != 1 or done.stdout:
        raise Failure(f"status {done.returncode}, output {done.stdout!r} {done.stderr!r}")
    words = ["-accel kvm", "could not access /dev/kvm: Permission denied", "group", "-accel tcg"]
    if done.stderr.count("\n") != 1 or any(word not in done.stderr for word in words):
        raise Failure(f"not one sentence with {words}: {done.stderr!r}")
    done = start("-accel", "kvm", "-accel", "tcg")
    if done.returncode != 33 or done.stdout != "Hello from real mode\n":
        raise Failure(f"fallback: status {done.returncode}, output {done.stdout!r} {done.stderr!r}")
    if "falling back to tcg" not in done.stderr:
        raise Failure(f"fallback without a word: {done.stderr!r}")
    print("one sentence, status 1; falls back to tcg")


run(main)
