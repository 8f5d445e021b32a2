#!/usr/bin/env python3
"""SeaBIOS as the firmware: its banner, the machine's ACPI tables, serial ports, the end of the boot
order, on the debug console at port 0x402.

Usage: seabios.py EMULATOR ACCELERATOR IMAGE...     IMAGE: a name in the folder of guest material, or
in /usr/share/seabios, where a missing one is passed over
"""

import os
import sys

from guest import Emulator, Failure, material, need_kvm, run

SECONDS = 120
WITH_ACPI = "bios-256k.bin"  # the smaller image is built without the loader of ACPI tables


def boot(emulator, accelerator, path):
    cpus = 2
    with Emulator(emulator, "-M", "pc", "-accel", accelerator, "-m", "128", "-smp", str(cpus), "-bios", path,
                  "-nodefaults", "-display", "none", "-chardev", "stdio,id=d",
                  "-device", "isa-debugcon,iobase=0x402,chardev=d",
                  "-chardev", "null,id=s0", "-device", "isa-serial,chardev=s0",
                  "-chardev", "null,id=s1", "-device", "isa-serial,chardev=s1") as guest:
        version = guest.expect(r"SeaBIOS \(version [^)]*\)", SECONDS).group(0)
        if os.path.basename(path) == WITH_ACPI:
            guest.expect(r"qemu/e820: addr 0x0+ len 0x0*8000000 \[RAM\]", SECONDS)
            guest.expect(r"PCI: init bdf=00:01\.3 id=8086:7113", SECONDS)
            # From etc/table-loader: the FADT by way of the XSDT, then the DSDT.
            guest.expect(r"table\(50434146\)=0x[0-9a-f]+ \(via xsdt\)", SECONDS)
            guest.expect(r"ACPI: parse DSDT at 0x[0-9a-f]+ \(len [1-9]\d+\)", SECONDS)
        guest.expect(r"Found 2 serial ports", SECONDS)
        guest.expect(r"Booting from Hard Disk", SECONDS)
        guest.expect(r"No bootable device", SECONDS)
        if f"Found {cpus} cpu(s) max supported {cpus} cpu" not in guest.console:  # those that answered INIT and SIPI
            raise Failure(f"SeaBIOS did not find {cpus} CPUs")
        for word in ("WARNING", "internal error", "checksum"):
            if word in guest.console:
                raise Failure(f"SeaBIOS says '{word}'")
    print(f"{os.path.basename(path)}: {version}")


def main():
    emulator, accelerator, *names = sys.argv[1:]
    if accelerator.startswith("kvm"):
        need_kvm()
    folder = material("seabios")
    for name in names:
        places = [os.path.join(place, name) for place in (folder, "/usr/share/seabios")]
        path = next(filter(os.path.exists, places), None)
        if path:
            boot(emulator, accelerator, path)


run(main)
