#!/usr/bin/env python3
"""Machine microvm from the outside: its properties, what it refuses, and what a kernel finds in memory."""

import re
import struct
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import HALT, Conversation, Suite, write_firmware  # noqa: E402

PROMPT = r"\(qemu\) "
COMMAND_LINE, MP_TABLE, EBDA = 0x20000, 0xF0000, 0x9FC00


def write_pvh_kernel(path):
    """An ELF file whose PVH entry point halts."""
    entry = 0x100000
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", entry)
    code_at, note_at = 0x200, 0x100
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, entry, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    headers = struct.pack("<IIQQQQQQ", 1, 5, code_at, entry, entry, 2, 2, 4096)
    headers += struct.pack("<IIQQQQQQ", 4, 4, note_at, 0, 0, len(note), len(note), 4)
    image = bytearray(code_at + 2)
    image[:64], image[64:64 + len(headers)], image[note_at:note_at + len(note)] = header, headers, note
    image[code_at:] = b"\xf4\xf4"
    path.write_bytes(image)
    return str(path)


class Machine:
    """A machine that is stopped after its first reset, and its memory."""

    def __init__(self, suite, *arguments):
        self.talk = Conversation([suite.binary, "-S", "-display", "none", "-serial", "null", "-monitor", "stdio", *arguments])
        self.talk.expect(PROMPT)

    def ask(self, line):
        self.talk.send(line + "\n")
        self.talk.expect(re.escape(line) + r"[^\n]*\n")
        return self.talk.expect(r"(?s)(.*?)" + PROMPT)[1]

    def memory(self, address, length):
        found = re.findall(r"0x([0-9a-f]{2})\b", re.sub(r"(?m)^[0-9a-f]+:", "", self.ask(f"xp /{length}xb {address:#x}")))
        return bytes(int(byte, 16) for byte in found)

    def word(self, address):
        return int(re.search(r": 0x([0-9a-f]{8})", self.ask(f"xp /1xw {address:#x}"))[1], 16)

    def end(self):
        self.talk.send("quit\n")
        return self.talk.wait()


def check_help(suite):
    for arguments, words in ((["-M", "help"], ["microvm  "]), (["-M", "microvm,help"], ["microvm-machine options:", "acpi=<OnOffAuto>", "rtc="]),
                             (["-device", "help"], ['name "virtio-blk-device", bus virtio-bus', "virtio-scsi-device"]),
                             (["-device", "virtio-blk-device,help"], ["num-queues=", "packed=", "drive="])):
        status, out, err = suite.run(*arguments)
        suite.check(status == 0 and not err and all(word in out for word in words), f"{arguments}: {status} {out!r} {err!r}")
    _, out, _ = suite.run("-device", "virtio-blk-device,help")
    suite.check("force-legacy" not in out and "vectors" not in out, f"a transport's properties: {out!r}")


def check_refusals(suite, folder, kernel):
    refused, disk = suite.refused, folder / "disk.img"
    disk.write_bytes(bytes(65536))
    halt = write_firmware(folder / "halt.bin", HALT)
    machine = ["-M", "microvm", "-kernel", kernel]
    drive = ["-drive", f"file={disk},format=raw,if=none,id=d"]
    refused(["-M", "microvm,rtc=maybe", "-kernel", kernel], "rtc", "'maybe'")
    refused(["-M", "microvm,isa-serial=auto", "-kernel", kernel], "isa-serial takes on or off")
    refused(["-M", "microvm,pcie=on", "-kernel", kernel], "pcie=on is not in this version")
    refused(["-M", "microvm,x-option-roms=on", "-kernel", kernel], "x-option-roms=on")
    refused(["-M", "microvm,rtcc=on", "-kernel", kernel], "'rtcc'", "microvm,help")
    refused(["-M", "pc,rtc=off", "-bios", halt], "'rtc'")
    refused(["-M", "microvm,acpi=off,ioapic2=on", "-kernel", kernel], "ioapic2=on needs acpi=on")
    refused(["-M", "microvm,acpi=off"], "-kernel", "-bios")
    refused([*machine, "-hda", str(disk)], "if=ide", "virtio-blk-device,drive=ide0-hd0")
    refused([*machine, "-drive", f"file={disk},format=raw,if=virtio"], "if=virtio", "virtio-blk-device")
    refused([*machine, "-serial", "null", "-serial", "null", "-serial", "vc"], "one serial port")
    refused([*machine, *drive, "-device", "virtio-blk-pci,drive=d"], "no PCI bus")
    refused(["-M", "pc", "-bios", halt, *drive, "-device", "virtio-blk-device,drive=d"], "no virtio-bus bus")
    refused([*machine, *drive, "-device", "virtio-blk-device,drive=d,bus=virtio-mmio-bus.24"], "virtio-mmio-bus.24", "virtio-mmio-bus.23")
    refused([*machine, "-global", "virtio-mmio.force-legcy=off"], "did you mean 'force-legacy'")
    refused([*machine, "-global", "virtio-mimo.force-legacy=off"], "virtio-mimo", "no such device")
    refused(["-M", "pc", "-bios", halt, "-global", "virtio-mmio.force-legacy=off"], "machine 'pc' has no such device")
    refused(["-M", "pc", "-bios", halt, "-global", "virtio-blk.packed=on"], "another name of 'virtio-blk-pci'")


def check_memory(suite, folder, kernel):
    """What firmware would have left, and the transports."""
    disk = folder / "disk.img"
    drives = ["-drive", f"file={disk},format=raw,readonly=on,id=d", "-device", "virtio-blk-device,drive=d,id=disk"]
    with_acpi = Machine(suite, "-M", "microvm", "-kernel", kernel, "-append", "quiet", *drives)
    suite.check(with_acpi.memory(COMMAND_LINE, 6) == b"quiet\0", "nothing is added to the command line where there is ACPI")
    suite.check(with_acpi.memory(EBDA + 0x10, 8) == b"RSD PTR ", "no RSDP")
    suite.check(with_acpi.word(0xFEB02E08) == 2, "-device does not fill the last transport first")
    suite.check(with_acpi.word(0xFEB02E04) == 1 and with_acpi.word(0xFEB00004) == 1, "a legacy transport")
    suite.check(with_acpi.word(0xFEB00000) == 0x74726976 and with_acpi.word(0xFEB00008) == 0, "an empty transport")
    suite.check(with_acpi.end() == 0, "quit")

    without = Machine(suite, "-M", "microvm,acpi=off", "-global", "virtio-mmio.force-legacy=off", "-kernel", kernel, "-append", "quiet",
                      *drives, "-device", "virtio-scsi-device,bus=virtio-mmio-bus.2")
    wanted = b"quiet virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=512@0xfeb00400:7\0"
    line = without.memory(COMMAND_LINE, len(wanted))
    suite.check(line == wanted, f"the command line without ACPI is {line!r}")
    suite.check(without.memory(MP_TABLE, 4) == b"_MP_", "no MP table")
    suite.check(without.memory(EBDA + 0x10, 8) == bytes(8), "an RSDP with acpi=off")
    suite.check(without.word(0xFEB00E04) == 2 and without.word(0xFEB00408) == 8, "version 2, and the controller where bus= says")
    without.end()

    silent = Machine(suite, "-M", "microvm,acpi=off,auto-kernel-cmdline=off", "-kernel", kernel, "-append", "quiet", *drives)
    suite.check(silent.memory(COMMAND_LINE, 6) == b"quiet\0", "auto-kernel-cmdline=off adds something")
    suite.check("virtio-bus devices cannot be plugged" in silent.ask("device_add virtio-scsi-device"), "device_add of a controller")
    silent.end()


def check_units(suite, folder, kernel):
    """SCSI units come and go."""
    machine = Machine(suite, "-M", "microvm", "-kernel", kernel, "-device", "virtio-scsi-device,id=s")
    suite.check("OK" in machine.ask(f"drive_add 0 file={folder}/disk.img,if=none,id=d,format=raw"), "drive_add")
    suite.check(machine.ask("device_add scsi-hd,bus=s.0,drive=d,id=unit").strip() == "", "device_add")
    suite.check('id "unit"' in machine.ask("info qtree"), "the unit is not there")
    suite.check("cannot be unplugged" in machine.ask("device_del s"), "device_del of a controller")
    machine.ask("device_del unit")
    suite.check('id "unit"' not in machine.ask("info qtree"), "the unit is still there")
    suite.check(machine.end() == 0, "quit after units came and went")


def main():
    suite = Suite(sys.argv[1])
    folder = Path(tempfile.mkdtemp(prefix="rhea-microvm-"))
    kernel = write_pvh_kernel(folder / "kernel")
    check_help(suite)
    check_refusals(suite, folder, kernel)
    check_memory(suite, folder, kernel)
    check_units(suite, folder, kernel)
    suite.finish()


main()
