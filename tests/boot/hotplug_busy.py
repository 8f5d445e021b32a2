#!/usr/bin/env python3
"""Disks come and go under load: each is read and written by Debian's kernel until it is gone; nothing hangs, nothing stays behind.

Usage: hotplug_busy.py EMULATOR [ROUNDS [EMULATOR OPTION...]]
The rounds take turns: drives and named nodes; virtio-blk, NVMe and SCSI disks; the device goes first or the drive.
"""

import os
import re
import sys
import tempfile
import time

from guest import Emulator, Failure, Monitor, disk_guest, need_drives, run

SECONDS = 200
KIB, MIB = 1 << 10, 1 << 20
SETTLED = 10  # rounds after which nothing may grow any more
HEAP_GROWTH = 4 * MIB

# A worker of each disk that appears says what its first bytes are when it has written 128 KiB behind 64 KiB, and goes on until
# that fails; then it waits until the disk is gone. It has a node of its own: without one in /dev, dd would make a file there.
SCRIPT = """
echo 1 >/proc/sys/kernel/printk
for module in $(cat /modules/order); do insmod /modules/$module 2>/dev/null; done
seq 1 100000 | head -c 131072 >/tmp/pattern
work() {
    first=1 number=$(cat /sys/block/$1/dev) node=/tmp/node-$1
    mknod $node b ${number%:*} ${number#*:}
    while dd if=/tmp/pattern of=$node bs=32k seek=2 oflag=direct conv=notrunc 2>/dev/null && dd if=$node of=/tmp/$1 bs=64k count=8 iflag=direct 2>/dev/null; do
        [ $first ] && echo "guest: $1 busy with $(head -n 1 /tmp/$1)"
        first=
    done
    while [ -e /sys/block/$1 -o -e /dev/$1 ]; do sleep 0.05; done
    rm -f $node /tmp/$1 /tmp/$1.busy
    echo "guest: $1 gone"
}
echo "guest: ready"
while true; do
    for disk in $(ls /sys/block | grep '^[vs]d\\|^nvme'); do
        if [ -b /dev/$disk ] && [ -e /sys/block/$disk/dev ] && [ ! -e /tmp/$disk.busy ]; then
            touch /tmp/$disk.busy
            work $disk &
        fi
    done
    sleep 0.05
done
"""

# How a disk is made: device, its name in the guest, is the drive a named node.
KINDS = [
    ("virtio-blk-pci", "vd[a-z]", False),
    ("scsi-hd,bus=s.0", "sd[a-z]", False),
    ("nvme,serial=n", "nvme\\d+n1", False),
    ("virtio-blk-pci,packed=on,num-queues=2,iothread=io", "vd[a-z]", True),
    ("scsi-hd,bus=s.0", "sd[a-z]", True),
]


class Machine:
    def __init__(self, guest, monitor, folder):
        self.guest, self.monitor, self.folder = guest, monitor, folder

    def command(self, line):
        """A command that prints nothing, or OK."""
        lines = [each.strip("\r") for each in self.monitor.command(line).split("\n")[1:]]
        if any(each not in ("", "OK") for each in lines):
            raise Failure(f"{line}: {lines}")

    def wait_for(self, what, is_so):
        deadline = time.monotonic() + SECONDS
        while not is_so():
            if time.monotonic() > deadline:
                raise Failure(f"{what}: not within {SECONDS} s")
            time.sleep(0.02)

    def round(self, number):
        device, disk, named = KINDS[number % len(KINDS)]
        drive_first = number // len(KINDS) % 2 == 1 and not named
        image, label, drive = os.path.join(self.folder, f"disk{number}"), f"disk {number}", f"d{number}"
        with open(image, "wb") as file:
            file.write(f"{label}\n".encode())
            file.truncate(MIB)
        if named:
            self.command(f"drive_add -n 0 driver=raw,node-name={drive},file.driver=file,file.filename={image}")
        else:
            self.command(f"drive_add 0 if=none,id={drive},format=raw,file={image}")
        self.command(f"device_add {device},drive={drive},id=dev{number}")
        name = self.guest.expect(f"guest: ({disk}) busy with {label}\n", SECONDS).group(1)
        if drive_first:
            self.command(f"drive_del {drive}")
        self.command(f"device_del dev{number}")
        self.guest.expect(f"guest: {name} gone\n", SECONDS)
        self.wait_for(f"round {number}: the device is out", lambda: f'id "dev{number}"' not in self.monitor.command("info qtree"))
        if named:
            self.command(f"drive_del {drive}")
        self.wait_for(f"round {number}: the drive is gone", lambda: f"{drive} " not in self.monitor.command("info block"))
        with open(image, "rb") as file:
            data = file.read()
        want = "".join(f"{n}\n" for n in range(1, 100001)).encode()[:128 * KIB]
        if data[64 * KIB:192 * KIB] != want or data[192 * KIB:] != bytes(MIB - 192 * KIB):
            raise Failure(f"round {number}: the image does not hold what the guest wrote")
        os.remove(image)

    def holdings(self):
        """(descriptors, threads, bytes of the heap) of the emulator. Threads are told only: those of pools come and go."""
        with open(f"/proc/{self.guest.pid}/maps", encoding="ascii", errors="replace") as file:
            ranges = re.findall(r"^(\w+)-(\w+) .*\[heap\]$", file.read(), re.MULTILINE)
        heap = sum(int(end, 16) - int(start, 16) for start, end in ranges)
        return len(os.listdir(f"/proc/{self.guest.pid}/fd")), len(os.listdir(f"/proc/{self.guest.pid}/task")), heap


def main():
    emulator, *rest = sys.argv[1:]
    rounds = int(rest.pop(0)) if rest and rest[0].isdigit() else 50
    need_drives(emulator, "virtio-blk-pci", "virtio-scsi-pci", "scsi-hd", "nvme")
    with tempfile.TemporaryDirectory(prefix="rhea-busy-") as folder:
        initrd, path = os.path.join(folder, "initrd"), os.path.join(folder, "monitor")
        kernel = disk_guest(initrd, SCRIPT)
        with Emulator(emulator, "-M", "pc", "-m", "256", "-display", "none", "-no-reboot", "-nodefaults", "-serial", "stdio",
                      *(rest or ["-accel", "tcg", "-cpu", "max", "-smp", "2"]), "-kernel", kernel, "-initrd", initrd, "-append",
                      "console=ttyS0 quiet no_timer_check rhea.run=sh,/test.sh", "-monitor", f"unix:{path},server=on,wait=off",
                      "-object", "iothread,id=io", "-device", "virtio-scsi-pci,id=s") as guest:
            machine = Machine(guest, Monitor(path), folder)
            guest.expect("guest: ready", SECONDS)
            settled = None
            for number in range(rounds):
                machine.round(number)
                if number + 1 == SETTLED:
                    settled = machine.holdings()
            if settled:
                descriptors, threads, heap = machine.holdings()
                print(f"after {SETTLED} and {rounds} rounds: descriptors, threads, heap {settled}, {(descriptors, threads, heap)}")
                if descriptors > settled[0]:
                    raise Failure(f"{descriptors} descriptors are open, {settled[0]} were")
                if heap > settled[2] + HEAP_GROWTH:
                    raise Failure(f"the heap has grown from {settled[2]} to {heap} bytes")
            guest.process.terminate()
            guest.expect_status(0, SECONDS)


run(main)
