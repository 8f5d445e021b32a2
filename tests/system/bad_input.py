#!/usr/bin/env python3
"""What the user got wrong: one sentence that names it, status 1, never a crash."""

import os
import socket
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import HALT, Suite, write_firmware  # noqa: E402


def main():
    suite = Suite(sys.argv[1])
    folder = Path(tempfile.mkdtemp(prefix="rhea-bad-"))
    firmware = write_firmware(folder / "halt.bin", HALT)
    empty = folder / "empty"
    empty.write_bytes(b"")
    text = folder / "text"
    text.write_text("no kernel\n" * 1000)
    truncated = folder / "truncated"
    header = bytearray(2048)
    header[0x1f1] = 4
    header[0x1fe:0x206] = b"\x55\xaa\xeb\x66HdrS"
    header[0x206:0x208] = b"\x0f\x02"
    truncated.write_bytes(header)
    elf = folder / "elf"
    elf.write_bytes(b"\x7fELF\x02\x01\x01" + b"\xff" * 60)

    refused = suite.refused
    # Names
    refused(["-M", "pd"], "'pd'", "did you mean 'pc'")
    refused(["-M", "q35x"], "'q35x'", "-machine help")
    refused(["-nographc"], "-nographc", "did you mean -nographic")
    refused(["--kernle", "x"], "did you mean -kernel")
    refused(["-cpu", "qemu46", "-bios", firmware], "qemu46", "qemu64")
    refused(["-cpu", "qemu64,+ssse", "-bios", firmware], "ssse")
    refused(["-device", "isa-debug-exi"], "did you mean 'isa-debug-exit'")
    refused(["-bios", firmware, "-device", "isa-debug-exit,iobas=1"], "iobas", "iobase")
    refused(["-bios", firmware, "-device", "isa-debug-exit,iobase=x"], "iobase", "'x'")
    refused(["-accel", "tgc"], "did you mean 'tcg'")
    refused(["-accel", "tcg,chek=interp", "-bios", firmware], "did you mean 'check'")
    refused(["-machine", "pc,foo=on", "-bios", firmware], "'foo'")
    refused(["-d", "guest_error"], "did you mean 'guest_errors'")
    # Sizes and numbers
    refused(["-m", "0"], "-m 0", "1M")
    refused(["-m", "1E"], "-m 1E", "too large")
    refused(["-m", "-5"], "-m -5")
    refused(["-m", "x"], "'x' is no size")
    refused(["-smp", "4"], "-smp 4", "-smp 1")
    refused(["-smp", "0"], "-smp 0")
    refused(["-m"], "-m: requires an argument")
    # Files
    refused(["-kernel", str(folder / "none")], "none", "No such file")
    refused(["-kernel", str(folder)], str(folder))
    refused(["-kernel", str(empty)], str(empty))
    refused(["-kernel", str(text)], str(text))
    refused(["-kernel", str(truncated)], str(truncated))
    refused(["-kernel", str(elf)], str(elf))
    refused(["-bios", "no-such-firmware"], "no-such-firmware")
    refused(["-bios", str(text)], str(text), "64 KiB")
    refused(["-append", "x"], "-append", "-kernel")
    refused(["-bios", firmware, "-D", str(folder / "a/b")], "a/b", "No such file")
    refused(["-bios", firmware, "-serial", f"file:{folder}/a/b"], "a/b", "No such file")
    refused(["-bios", firmware, "-pidfile", str(folder / "a/b")], "a/b", "No such file")
    # Character devices
    refused(["-serial", "stdout", "-bios", firmware], "'stdout'", "did you mean 'stdio'")
    refused(["-serial", "telnet:localhost:1", "-bios", firmware], "telnet:localhost:1")
    refused(["-serial", "stdio", "-monitor", "stdio", "-bios", firmware], "mon:stdio")
    refused(["-serial", "chardev:x", "-bios", firmware], "'x'", "-chardev")
    refused(["-chardev", "sockt,id=x", "-bios", firmware], "did you mean 'socket'")
    refused(["-chardev", "null", "-bios", firmware], "id=")
    refused(["-monitor", "tcp:127.0.0.1", "-bios", firmware], "port")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused(["-bios", firmware, "-serial", f"tcp:127.0.0.1:{port},server=on,wait=off"],
                str(port), "Address already in use")
    # What this version does not have
    for option in ("-hda", "-drive", "-vnc", "-netdev", "-qmp", "-gdb", "-boot", "-usb"):
        refused([option, "x"], option, "not in this version|debugger port")
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
