#!/usr/bin/env python3
"""werror=stop: a write that the host refuses stops the machine, and cont tries it again until the host takes it.

Usage: disk_stop.py EMULATOR INTERFACE [EMULATOR OPTION...]
What the host refuses: bytes behind the limit of the size of files, which the test lifts.
"""

import os
import resource
import signal
import sys
import tempfile
import time

from guest import Emulator, Failure, Monitor, disk_guest, need_drives, run

SECONDS = 400
MIB = 1 << 20
LIMIT = 3 * MIB

INTERFACES = {
    "ide": (["ide-hd,drive=d"], "sda"),
    "nvme": (["nvme,serial=n1,drive=d"], "nvme0n1"),
    "virtio-blk": (["virtio-blk-pci,drive=d"], "vda"),
    "virtio-scsi": (["virtio-scsi-pci,id=s", "scsi-hd,bus=s.0,drive=d"], "sda"),
}

SCRIPT = """
for module in $(cat /modules/order); do insmod /modules/$module 2>/dev/null; done
for i in $(seq 1 100); do [ -b /dev/DISK ] && break; sleep 0.1; done
seq 1 1000000 | head -c 6291456 >/tmp/pattern
echo "guest: writes"
dd if=/tmp/pattern of=/dev/DISK bs=64k oflag=direct 2>/dev/null && echo "guest: wrote"
sync
"""


def limit_files():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))


def expect_stopped(monitor):
    deadline = time.monotonic() + SECONDS
    while "paused (io-error)" not in monitor.command("info status"):
        if time.monotonic() > deadline:
            raise Failure("the machine does not stop: " + monitor.command("info block"))
        time.sleep(0.1)


def main():
    emulator, interface, *options = sys.argv[1:]
    devices, disk = INTERFACES[interface]
    need_drives(emulator, *(device.split(",")[0] for device in devices))
    with tempfile.TemporaryDirectory(prefix="rhea-stop-") as folder:
        image, initrd, path = (os.path.join(folder, name) for name in ("disk", "initrd", "monitor"))
        kernel = disk_guest(initrd, SCRIPT.replace("DISK", disk))
        with open(image, "wb") as file:
            file.truncate(8 * MIB)
        arguments = [word for device in devices for word in ("-device", device)]
        with Emulator(emulator, "-M", "pc", "-m", "256", "-display", "none", "-no-reboot", "-nodefaults", "-serial", "stdio",
                      *(options or ["-accel", "tcg", "-cpu", "max"]), "-kernel", kernel, "-initrd", initrd, "-append",
                      "console=ttyS0 quiet no_timer_check rhea.run=sh,/test.sh", "-monitor", f"unix:{path},server=on,wait=off",
                      "-drive", f"file={image},format=raw,if=none,id=d,werror=stop", *arguments, prepare=limit_files) as guest:
            monitor = Monitor(path)
            guest.expect("guest: writes", SECONDS)
            expect_stopped(monitor)
            if "I/O status:" not in monitor.command("info block"):
                raise Failure("info block tells no error")
            monitor.command("cont")
            expect_stopped(monitor)
            if "guest: wrote" in guest.console:
                raise Failure("the guest was told that it wrote what the host refused")
            resource.prlimit(guest.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            monitor.command("cont")
            guest.expect("guest: wrote", SECONDS)
            guest.expect_status(0, SECONDS)
        want = "".join(f"{n}\n" for n in range(1, 1000001)).encode()[:6 * MIB]
        with open(image, "rb") as file:
            if file.read(6 * MIB) != want:
                raise Failure("the image does not hold what the guest wrote")


run(main)
