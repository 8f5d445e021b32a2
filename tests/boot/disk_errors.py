#!/usr/bin/env python3
"""What becomes of a host's errors: rerror= and werror= of a disk whose server fails requests until it is cured.

Usage: disk_errors.py EMULATOR INTERFACE [EMULATOR OPTION...]
Four disks, one a policy. stop: the machine stops in front of the error, cont tries again, and once the host is cured the guest
never learns of it. report: the guest gets an I/O error and goes on. ignore: the guest is told of success. Without a policy:
a full host stops the machine, other errors are reported.
"""

import errno
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time

from fault_server import FLUSH, READ, WRITE, Disk, Server
from guest import Emulator, Failure, Monitor, Skip, disk_guest, need_drives, run

SECONDS = 300
MIB = 1 << 20
BAD, BAD_END = 4 * MIB, 5 * MIB  # what the guest's kernel does not read by itself
FULL, FULL_END = 5 * MIB, 6 * MIB

POLICIES = {"stop": ",rerror=stop,werror=stop", "report": ",rerror=report,werror=report", "ignore": ",rerror=ignore,werror=ignore",
            "default": ""}
# The device for a disk; before it what all stand on.
INTERFACES = {
    "ide": ([], "ide-hd"),
    "nvme": ([], "nvme,serial=s{policy}"),
    "virtio-blk": ([], "virtio-blk-pci"),
    "virtio-iothread": (["-object", "iothread,id=io"], "virtio-blk-pci,packed=on,iothread=io"),
    "virtio-scsi": (["-device", "virtio-scsi-pci,id=s"], "scsi-hd,bus=s.0"),
}

# Disks are told from each other by their sizes.
SCRIPT = """
for module in $(cat /modules/order); do insmod /modules/$module 2>/dev/null; done
find_disk() { for d in /sys/block/*; do [ "$(cat $d/size)" = $1 ] && echo /dev/${d##*/}; done; }
for i in $(seq 1 100); do [ -n "$(find_disk SIZE-stop)" -a -n "$(find_disk SIZE-default)" ] && break; sleep 0.1; done
stop=$(find_disk SIZE-stop) report=$(find_disk SIZE-report) ignore=$(find_disk SIZE-ignore) default=$(find_disk SIZE-default)
seq 1 1000000 | head -c 1048576 >/tmp/pattern
read_at() { dd if=$1 bs=64k skip=$(($2 * 16)) count=16 iflag=direct 2>/tmp/errors; }
write_at() { dd if=/tmp/pattern of=$1 bs=64k seek=$(($2 * 16)) oflag=direct conv=notrunc 2>/tmp/errors; }
say() { echo "guest: $1 $2$(grep -qi 'i/o error\\|input/output error\\|no data available' /tmp/errors && echo ' EIO')."; }
echo "guest: disks $stop $report $ignore $default"
echo "guest: reads"
read_at $stop 4 >/tmp/read; say read "$? $(md5sum </tmp/read)"
echo "guest: writes"
write_at $stop 4; say write $?
echo "guest: flushes"
dd if=/tmp/pattern of=$stop bs=64k count=1 conv=notrunc,fsync 2>/tmp/errors; say flush $?
read_at $report 4 >/dev/null; say report-read $?
write_at $report 4; say report-write $?
read_at $report 2 >/tmp/read; say report-on "$? $(md5sum </tmp/read)"
read_at $ignore 4 >/dev/null; say ignore-read $?
write_at $ignore 4; say ignore-write $?
read_at $default 4 >/dev/null; say default-read $?
write_at $default 4; say default-write $?
echo "guest: fills"
write_at $default 5; say full-write $?
"""


def pattern():
    """What the guest writes."""
    return "".join(f"{n}\n" for n in range(1, 1000001)).encode()[:MIB]


class Host:
    """The guest, its monitor, its disks' server."""

    def __init__(self, guest, monitor, disks):
        self.guest, self.monitor, self.disks = guest, monitor, disks
        self.stops = 0  # that were to come

    def expect_stopped(self, what):
        deadline = time.monotonic() + SECONDS
        while "paused (io-error)" not in self.monitor.command("info status"):
            if time.monotonic() > deadline:
                raise Failure(f"{what}: the machine does not stop: " + self.monitor.command("info block"))
            time.sleep(0.05)
        if "I/O status:" not in self.monitor.command("info block"):
            raise Failure(f"{what}: info block tells no error")

    def stops_until_cured(self, disk, begin, end, fault, *then):
        """The machine stops between the guest's words `begin` and `end`, again after cont, and goes on once the host is cured.
        `fault`: the command that fails and the error; `then`: the command that fails next, and its range."""
        tries = 0
        self.guest.expect(f"guest: {begin}\n", SECONDS)
        for what in (begin, begin + ", after cont"):
            self.expect_stopped(what)
            if self.disks[disk].hits(*fault) <= tries:
                raise Failure(f"{what}: nothing was tried that the server refused")
            tries = self.disks[disk].hits(*fault)
            if what != begin:
                self.disks[disk].cure()
            if what != begin and then:
                self.disks[disk].fail(*then)
            self.monitor.command("cont")
            self.stops += 1
        self.guest.expect(f"guest: {end}\\.\n", SECONDS)

    def goes_on(self, disk, *words):
        """The guest says these things, and the machine did not stop for them."""
        for text in words:
            self.guest.expect(f"guest: {text}\\.\n", SECONDS)
        for command, name in ((READ, "read"), (WRITE, "write")):
            if not self.disks[disk].hits(command, errno.EIO):
                raise Failure(f"disk {disk}: the server has failed no {name}")


def exercise(host, contents):
    disks, digest = host.disks, hashlib.md5(contents["stop"][BAD:BAD_END]).hexdigest()
    host.guest.expect("guest: disks /dev/\\w+ /dev/\\w+ /dev/\\w+ /dev/\\w+\n", SECONDS)
    host.stops_until_cured("stop", "reads", f"read 0 {digest}  -", (READ, errno.EIO), WRITE, BAD, BAD_END)
    host.stops_until_cured("stop", "writes", "write 0", (WRITE, errno.EIO), FLUSH)
    host.stops_until_cured("stop", "flushes", "flush 0", (FLUSH, errno.EIO))
    digest = hashlib.md5(contents["report"][2 * MIB:3 * MIB]).hexdigest()
    host.goes_on("report", "report-read [1-9]\\d* EIO", "report-write [1-9]\\d* EIO", f"report-on 0 {digest}  -")
    host.goes_on("ignore", "ignore-read 0", "ignore-write 0")
    host.goes_on("default", "default-read [1-9]\\d* EIO", "default-write [1-9]\\d* EIO")
    host.stops_until_cured("default", "fills", "full-write 0", (WRITE, errno.ENOSPC))
    host.guest.expect_status(0, SECONDS)
    if (stops := host.guest.console.count("the machine is stopped")) != host.stops:
        raise Failure(f"the machine stopped {stops} times, not {host.stops}")
    for policy, first, end, data in (("stop", BAD, BAD_END, pattern()), ("stop", 0, 65536, pattern()[:65536]),
                                     ("report", BAD, BAD_END, contents["report"][BAD:BAD_END]),
                                     ("ignore", BAD, BAD_END, contents["ignore"][BAD:BAD_END]),
                                     ("default", FULL, FULL_END, pattern())):
        if disks[policy].data[first:end] != data:
            raise Failure(f"disk {policy} does not hold at {first} what it has to")


def need_nbd(emulator):
    """Skip where the emulator has no NBD client."""
    done = subprocess.run([emulator, "-M", "none", "-display", "none", "-blockdev", "driver=nbd,node-name=n,server.type=unix,server.path=/nonexistent"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    if "libnbd" in done.stderr:
        raise Skip(done.stderr.strip())


def main():
    emulator, interface, *options = sys.argv[1:]
    before, device = INTERFACES[interface]
    need_drives(emulator, device.split(",")[0])
    need_nbd(emulator)
    rng, contents, script = random.Random(3), {}, SCRIPT
    for number, policy in enumerate(POLICIES):
        contents[policy] = rng.randbytes((8 + number) * MIB)
        script = script.replace(f"SIZE-{policy}", str(len(contents[policy]) // 512))
    disks = {policy: Disk(data) for policy, data in contents.items()}
    for policy, disk in disks.items():
        disk.fail(READ, BAD, BAD_END, errno.EIO)
        if policy != "stop":  # its other faults come in turn
            disk.fail(WRITE, BAD, BAD_END, errno.EIO)
    disks["default"].fail(WRITE, FULL, FULL_END, errno.ENOSPC)
    with tempfile.TemporaryDirectory(prefix="rhea-errors-") as folder:
        initrd, server, path = (os.path.join(folder, name) for name in ("initrd", "nbd", "monitor"))
        Server(server, disks)
        kernel = disk_guest(initrd, script)
        arguments = list(before)
        for policy, words in POLICIES.items():
            arguments += ["-blockdev", f"driver=nbd,node-name={policy},server.type=unix,server.path={server},export={policy}",
                          "-device", f"{device.format(policy=policy)},drive={policy}{words}"]
        with Emulator(emulator, "-M", "pc", "-m", "256", "-display", "none", "-no-reboot", "-nodefaults", "-serial", "stdio",
                      *(options or ["-accel", "tcg", "-cpu", "max"]), "-kernel", kernel, "-initrd", initrd, "-append",
                      "console=ttyS0 quiet no_timer_check rhea.run=sh,/test.sh", "-monitor", f"unix:{path},server=on,wait=off",
                      *arguments) as guest:
            exercise(Host(guest, Monitor(path), disks), contents)


run(main)
