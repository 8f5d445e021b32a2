#!/usr/bin/env python3
"""What the command line refuses, beyond tests/boot/bad_input.py: devices, accelerators, absent things."""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import HALT, Suite, write_firmware  # noqa: E402


def main():
    suite = Suite(sys.argv[1])
    folder = Path(tempfile.mkdtemp(prefix="rhea-bad-"))
    firmware = write_firmware(folder / "halt.bin", HALT)
    refused = suite.refused
    # Names and settings
    refused(["-M", "q35x"], "'q35x'", "-machine help")
    refused(["-nographc"], "-nographc", "did you mean -nographic")
    refused(["-accel", "tcg,chek=interp", "-bios", firmware], "did you mean 'check'")
    refused(["-machine", "pc,foo=on", "-bios", firmware], "'foo'")
    refused(["-machine", "pc,usb=on", "-bios", firmware], "usb=on")
    refused(["-m", "-5"], "-m -5")
    refused(["-smp", "0"], "-smp 0")
    refused(["-bios", firmware, "-D", str(folder / "a/b")], "a/b", "No such file")
    refused(["-bios", firmware, "-pidfile", str(folder / "a/b")], "a/b", "No such file")
    # Character devices
    refused(["-serial", "stdout", "-bios", firmware], "'stdout'", "did you mean 'stdio'")
    refused(["-serial", "telnet:localhost:1", "-bios", firmware], "telnet:localhost:1")
    refused(["-serial", "stdio", "-monitor", "stdio", "-bios", firmware], "mon:stdio")
    refused(["-serial", "chardev:x", "-bios", firmware], "'x'", "-chardev")
    refused(["-chardev", "sockt,id=x", "-bios", firmware], "did you mean 'socket'")
    refused(["-chardev", "null", "-bios", firmware], "id=")
    refused(["-monitor", "tcp:127.0.0.1", "-bios", firmware], "port")
    # What this version does not have
    for option in ("-fda", "-pflash", "-vnc", "-netdev", "-qmp", "-gdb", "-usb"):
        refused([option, "x"], option, "not in this version|debugger port")
    refused(["-boot", "order=cn"], "order=cn", "networks are not in this version")
    refused(["-boot", "cx"], "'x' is no boot device")
    refused(["-boot", "order=cc"], "twice")
    refused(["-boot", "splash-time=70000"], "splash-time")
    refused(["-boot", "strct=on"], "did you mean 'strict'")
    refused(["-vga", "std"], "-vga std", "none")
    refused(["disk.qcow2"], "disk.qcow2")
    # KVM that cannot be opened
    refused(["-accel", f"kvm,device={folder}/kvm", "-bios", firmware], "kvm", "No such file")
    locked = folder / "locked"
    locked.write_bytes(b"")
    refused(["-accel", f"kvm,device={locked}", "-bios", firmware], "locked")
    status, _, err = suite.run("-accel", f"kvm,device={folder}/kvm", "-accel", "tcg", "-M", "none",
                               "-monitor", "stdio", stdin=b"quit\n")
    suite.check(status == 0 and "falling back to tcg" in err and len(err.splitlines()) == 1,
                f"falling back: {status} {err!r}")
    if os.getuid() != 0:
        os.chmod(locked, 0)
        refused(["-accel", f"kvm,device={locked}", "-bios", firmware], "Permission denied")
    suite.finish()


if __name__ == "__main__":
    main()
