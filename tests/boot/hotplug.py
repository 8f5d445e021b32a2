#!/usr/bin/env python3
"""Disks that come and go while Debian's kernel runs: device_add and device_del by ACPI and by virtio-scsi's events.

Usage: hotplug.py EMULATOR [EMULATOR OPTION...]
"""

import hashlib
import os
import random
import sys
import tempfile

from guest import Emulator, Failure, Monitor, disk_guest, need_drives, run

SECONDS = 400
MIB = 1 << 20

SCRIPT = """
for module in $(cat /modules/order); do insmod /modules/$module 2>/dev/null; done
echo "guest: ready"
while true; do
    for disk in vda nvme0n1 sda; do
        if [ -b /dev/$disk ] && [ ! -e /tmp/$disk ]; then
            touch /tmp/$disk
            echo "guest: $disk $(dd if=/dev/$disk bs=64k 2>/dev/null | md5sum)"
        elif [ ! -b /dev/$disk ] && [ -e /tmp/$disk ]; then
            rm /tmp/$disk
            echo "guest: $disk gone"
        fi
    done
    sleep 0.1
done
"""


class Machine:
    def __init__(self, guest, monitor, folder):
        self.guest, self.monitor, self.folder, self.count = guest, monitor, folder, 0

    def command(self, line, answer=None):
        text = self.monitor.command(line)
        lines = [each.strip("\r") for each in text.split("\n")[1:] if each.strip("\r")]
        if answer is None and lines and lines != ["OK"]:
            raise Failure(f"{line}: {lines}")
        if answer is not None and answer not in text:
            raise Failure(f"{line}: {lines}, not '{answer}'")

    def add_drive(self):
        """Its id and the MD5 of its contents."""
        self.count += 1
        name = f"d{self.count}"
        content = random.Random(self.count).randbytes(self.count * MIB)
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        self.command(f"drive_add 0 if=none,id={name},format=raw,file={path}")
        return name, hashlib.md5(content).hexdigest()

    def add_disk(self, driver, disk, device_id="new"):
        name, digest = self.add_drive()
        self.command(f"device_add {driver},drive={name},id={device_id}")
        self.guest.expect(f"guest: {disk} {digest}", SECONDS)
        self.command("info block", name)
        return name

    def remove(self, device, disk, drive):
        self.command(f"device_del {device}")
        self.guest.expect(f"guest: {disk} gone", SECONDS)
        for _ in range(100):
            if drive + " " not in self.monitor.command("info block") and f'id "{device}"' not in self.monitor.command("info qtree"):
                return
        raise Failure(f"drive {drive} is still there after device_del {device}")


def main():
    emulator, *options = sys.argv[1:]
    need_drives(emulator, "virtio-blk-pci", "virtio-scsi-pci", "scsi-hd", "nvme")
    with tempfile.TemporaryDirectory(prefix="rhea-hotplug-") as folder:
        initrd, path = os.path.join(folder, "initrd"), os.path.join(folder, "monitor")
        kernel = disk_guest(initrd, SCRIPT)
        with Emulator(emulator, "-M", "pc", "-m", "256", "-display", "none", "-no-reboot", "-nodefaults", "-serial", "stdio",
                      *(options or ["-accel", "tcg", "-cpu", "max"]), "-kernel", kernel, "-initrd", initrd, "-append",
                      "console=ttyS0 quiet no_timer_check rhea.run=sh,/test.sh", "-monitor", f"unix:{path},server=on,wait=off") as guest:
            machine = Machine(guest, Monitor(path), folder)
            guest.expect("guest: ready", SECONDS)
            drive = machine.add_disk("virtio-blk-pci", "vda")
            machine.command("device_add virtio-blk-pci,drive=nothing,id=other", "there is no drive 'nothing'")
            machine.command("device_add ide-hd,drive=nothing", "cannot be plugged")
            machine.command("device_del other", "there is no device 'other'")
            machine.remove("new", "vda", drive)
            # The same id and slot again.
            drive = machine.add_disk("virtio-blk-pci,num-queues=2", "vda")
            machine.remove("new", "vda", drive)
            drive = machine.add_disk("nvme,serial=n1", "nvme0n1")
            machine.remove("new", "nvme0n1", drive)
            machine.command("device_add virtio-scsi-pci,id=s")
            drive = machine.add_disk("scsi-hd,bus=s.0,scsi-id=3", "sda")
            machine.remove("new", "sda", drive)
            drive = machine.add_disk("scsi-hd,bus=s.0,scsi-id=4", "sda")
            # The controller goes with what sits on it.
            machine.remove("s", "sda", drive)


run(main)
