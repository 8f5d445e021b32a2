#!/usr/bin/env python3
"""SeaBIOS starts the disk that it is told to: IDE by default, bootindex= of every interface, strict=.

Usage: boot_order.py EMULATOR [pc|microvm] [EMULATOR OPTION...]
Each disk has a boot sector that writes its name to the serial port and ends the emulator.
"""

import os
import sys
import tempfile

from guest import Emulator, Failure, material, need_drives, run

SECONDS = 120
STATUS = 0x10 << 1 | 1  # what isa-debug-exit makes of the value below

# cli; ax = ds = 0; si = text; each byte to port 0x3f8; 0x10 to port 0xf4
CODE = bytes.fromhex("fa31c08ed8be1a7cac84c07406baf803eeebf5b010e6f4f4ebfd")


def boot_sector(name):
    sector = CODE + f"started from {name}\r\n".encode() + b"\0"
    partition = b"\x80\0\x02\0\x83\0\x02\0" + (1).to_bytes(4, "little") + (100).to_bytes(4, "little")
    return sector.ljust(446, b"\0") + partition.ljust(64, b"\0") + b"\x55\xaa"


DEVICES = {
    "ide-a": ["ide-hd,drive={0},bus=ide.0,unit=0"],
    "ide-b": ["ide-hd,drive={0},bus=ide.1,unit=1"],
    "nvme": ["nvme,serial=n1,drive={0}"],
    "virtio-blk": ["virtio-blk-pci,drive={0}"],
    "virtio-scsi": ["virtio-scsi-pci,id=s", "scsi-hd,bus=s.0,drive={0}"],
}
MICROVM_DEVICES = {
    "blk-a": ["virtio-blk-device,drive={0}"],
    "blk-b": ["virtio-blk-device,drive={0}"],
    "virtio-scsi": ["virtio-scsi-device,id=s", "scsi-hd,bus=s.0,drive={0}"],
}
# Machine: its disks, and the firmware that starts them.
MACHINES = {"pc": (DEVICES, "bios-256k.bin"), "microvm": (MICROVM_DEVICES, "bios-microvm.bin")}


class Machine:
    def __init__(self, emulator, name, options, folder):
        self.emulator, self.name, self.options, self.folder = emulator, name, options or ["-accel", "tcg"], folder
        self.devices, bios = MACHINES[name]
        self.bios = os.path.join(material("seabios"), bios)
        for name in self.devices:
            with open(self.image(name), "wb") as file:
                file.write(boot_sector(name))
                file.truncate(2 << 20)

    def image(self, name):
        return os.path.join(self.folder, name + ".img")

    def boot(self, disks, *more):
        """A machine with {name: bootindex or None}."""
        arguments = []
        for name, index in disks.items():
            arguments += ["-drive", f"file={self.image(name)},format=raw,if=none,id={name}"]
            devices = [text.format(name) for text in self.devices[name]]
            devices[-1] += f",bootindex={index}" if index is not None else ""
            for device in devices:
                arguments += ["-device", device]
        return Emulator(self.emulator, "-M", self.name, "-m", "64", "-bios", self.bios, "-nodefaults", "-display", "none",
                        "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4", *self.options, *arguments, *more)

    def expect_start(self, name, disks, *more):
        with self.boot(disks, *more) as guest:
            guest.expect("started from [a-z-]+", SECONDS)
            guest.expect_status(STATUS, SECONDS)
        if f"started from {name}\n" not in guest.console:
            raise Failure(f"{disks} {more}: not {name}, but {guest.console.strip()}")


def main():
    emulator, *options = sys.argv[1:]
    name = options.pop(0) if options and options[0] in MACHINES else "pc"
    devices = MACHINES[name][0]
    need_drives(emulator, *(text.split(",")[0] for texts in devices.values() for text in texts))
    with tempfile.TemporaryDirectory(prefix="rhea-boot-") as folder:
        machine = Machine(emulator, name, options, folder)
        for disk in devices:
            machine.expect_start(disk, {disk: None})
        everything = dict.fromkeys(devices, None)
        for disk in devices:
            machine.expect_start(disk, {**everything, disk: 0})
        if name == "microvm":
            return
        machine.expect_start("nvme", {"ide-a": 7, "nvme": 3, "virtio-blk": 5})
        machine.expect_start("ide-b", {"ide-a": None, "ide-b": 1}, "-boot", "order=dc,menu=off,strict=on")
        # The one that is listed cannot be started, the other is not listed.
        with open(machine.image("ide-b"), "wb") as file:
            file.truncate(2 << 20)
        with machine.boot({"ide-a": None, "ide-b": 0}, "-boot", "strict=on,reboot-timeout=100", "-no-reboot") as guest:
            if guest.finish(SECONDS) == STATUS or "started from" in guest.console:
                raise Failure("strict=on started a disk without bootindex=")


run(main)
