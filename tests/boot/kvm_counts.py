#!/usr/bin/env python3
"""Guest code runs in the kernel's KVM: the process holds a vCPU's descriptor, and KVM_RUN's count
rises while the guest runs, and only then.

Usage: kvm_counts.py EMULATOR LOOP_IMAGE
"""

import os
import re
import sys
import tempfile
import time

from guest import Emulator, Failure, Monitor, need_kvm, run

SECONDS = 60


def runs(monitor):
    found = re.search(r"vCPU 0: KVM_RUN (\d+)", monitor.command("info kvm"))
    if not found:
        raise Failure("'info kvm' shows no count of KVM_RUN")
    return int(found.group(1))


def descriptors(pid):
    folder = f"/proc/{pid}/fd"
    names = set()
    for number in os.listdir(folder):
        try:
            names.add(os.readlink(os.path.join(folder, number)))
        except FileNotFoundError:  # closed since
            pass
    return names


def main():
    emulator, image = sys.argv[1:]
    need_kvm()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "monitor")
        with Emulator(emulator, "-M", "pc", "-accel", "kvm", "-m", "16", "-bios", image,
                      "-nodefaults", "-display", "none", "-serial", "stdio",
                      "-monitor", f"unix:{path},server=on,wait=off", "-S") as guest:
            monitor = Monitor(path)
            if "anon_inode:kvm-vcpu:0" not in descriptors(guest.pid):
                raise Failure("no anon_inode:kvm-vcpu:0 among the descriptors")
            before = runs(monitor)
            if before != 0:
                raise Failure(f"{before} KVM_RUN before 'cont'")
            monitor.command("cont")
            guest.expect("ready", SECONDS)
            deadline, first = time.monotonic() + SECONDS, runs(monitor)
            while (second := runs(monitor)) <= first:
                if time.monotonic() > deadline:
                    raise Failure(f"KVM_RUN does not rise above {first} within {SECONDS} s")
                time.sleep(0.01)
            if not re.search(r"\n +io +[1-9]", monitor.command("info kvm")):
                raise Failure("'info kvm' counts no exits for port accesses")
            monitor.command("stop")
            first, second = runs(monitor), runs(monitor)
            if first != second:
                raise Failure(f"KVM_RUN rises in a stopped machine: {first}, {second}")
            print(f"{second} KVM_RUN")


run(main)
