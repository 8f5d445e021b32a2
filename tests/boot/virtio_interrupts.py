#!/usr/bin/env python3
"""Interrupts of virtio-blk by MSI-X: a flat guest counts them while vectors are masked, messages change, the device is reset and
the disk grows. With KVM's local APICs those of the queue go by descriptor (irqfd), so that no message is sent by us.

Usage: virtio_interrupts.py EMULATOR IMAGE ACCELERATOR [DEVICE PROPERTIES]     ACCELERATOR as for -accel
"""

import os
import re
import sys
import tempfile

from guest import Emulator, Failure, Monitor, need_kvm, run

SECONDS = 100
SECTORS = 64
STATUS = 65


def line(sector):
    return f"sector {sector}\n"


def messages(monitor):
    """How many messages KVM was given one by one, and how many descriptors it has."""
    found = re.search(r"messages: (\d+) by KVM_SIGNAL_MSI, (\d+) descriptors", monitor.command("info kvm"))
    if not found:
        raise Failure("'info kvm' does not tell of messages")
    return int(found.group(1)), int(found.group(2))


def main():
    emulator, image, accelerator, *properties = sys.argv[1:]
    in_kernel = accelerator.startswith("kvm") and "irqchip=off" not in accelerator
    if accelerator.startswith("kvm"):
        need_kvm()
    with tempfile.TemporaryDirectory(prefix="rhea-irqfd-") as folder:
        disk, path = os.path.join(folder, "disk"), os.path.join(folder, "monitor")
        with open(disk, "wb") as file:
            for sector in range(SECTORS):
                file.write(line(sector).encode().ljust(512, b"\0"))
        device = ",".join(["virtio-blk-pci,drive=d,addr=4,queue-size=16,num-queues=1", *properties])
        with Emulator(emulator, "-M", "pc", "-accel", accelerator, "-m", "16", "-bios", image, "-nodefaults", "-display", "none",
                      "-serial", "stdio", "-monitor", f"unix:{path},server=on,wait=off", "-object", "iothread,id=io",
                      "-drive", f"file={disk},format=raw,if=none,id=d", "-device", device,
                      "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04") as guest:
            monitor = Monitor(path)
            want = ("read: " + line(0) + "masked: " + line(1) + "function masked: " + line(2) + "other message: " + line(3) + line(4) +
                    "reset: " + line(6) + "resize\n")
            guest.expect(want, SECONDS)
            before = messages(monitor)[0] if in_kernel else 0
            if in_kernel and before != 2:
                raise Failure(f"{before} messages were sent one by one: not 2, those that waited behind a mask")
            monitor.command("block_resize d 64K")
            guest.expect("many: " + line(7) + "resize\n", SECONDS)
            if in_kernel:
                sent, descriptors = messages(monitor)
                if sent - before != 1:
                    raise Failure(f"{sent - before} messages were sent for 200 requests and a change of the configuration: not 1, that one")
                if descriptors != 1:
                    raise Failure(f"{descriptors} descriptors for messages, not 1, the queue's")
            monitor.command("block_resize d 128K")
            guest.expect_status(STATUS, SECONDS)


run(main)
