#!/usr/bin/env python3
"""The monitor of a running machine, by the translator and, where it can be opened, KVM."""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import ECHO, Conversation, Suite, write_firmware  # noqa: E402

# Counts in EAX: inc %eax; jmp -4 (66 40 eb fc).
COUNT = b"\x66\x40\xeb\xfc"
PROMPT = r"\(qemu\) "


def ask(talk, line, pattern):
    talk.send(line + "\n")
    match = talk.expect(pattern)
    talk.expect(PROMPT)
    return match


def eax(talk):
    return int(ask(talk, "info registers", r"[ER]AX=([0-9a-f]+)")[1], 16)


def check(suite, accelerator, folder):
    count = write_firmware(folder / "count.bin", COUNT)
    talk = Conversation([suite.binary, "-accel", accelerator, "-bios", count, "-display", "none",
                         "-serial", "null", "-monitor", "stdio", "-name", "counter", "-S"])
    talk.expect(r"Rhea 0\.\d.* monitor - type 'help' for more information\r\n" + PROMPT)
    ask(talk, "info status", r"VM status: paused \(prelaunch\)")
    suite.check(eax(talk) == 0, f"{accelerator}: runs in spite of -S")
    ask(talk, "c", "")
    ask(talk, "info status", "VM status: running")
    while eax(talk) < 1000:
        pass
    ask(talk, "stop", "")
    ask(talk, "info status", r"VM status: paused\r")
    stopped = eax(talk)
    suite.check(eax(talk) == stopped, f"{accelerator}: runs in spite of stop")
    ask(talk, "cont", "")
    while eax(talk) == stopped:
        pass
    for _ in range(20):
        ask(talk, "stop", "")
        ask(talk, "c", "")
    ask(talk, "stop", "")
    before = eax(talk)
    ask(talk, "system_reset", "")
    after = eax(talk)
    suite.check(after == 0 < before, f"{accelerator}: EAX is {after} after a reset of a stopped VM")
    ask(talk, "x /2xw 0xffff0", r"00000000000ffff0: 0x000000ea 0xf4f4f4f0")
    ask(talk, "xp /4xb 0xfffffff0", r"00000000fffffff0: 0xea 0x00 0x00 0x00")
    ask(talk, "info name", "counter\r\n")
    ask(talk, "info mtree", "pc.ram|ram")
    ask(talk, "info chardev", "serial0: filename=null")
    ask(talk, "foo", "unknown command: 'foo'\r\n")
    ask(talk, "info foo", "unknown command: 'info foo'\r\n")
    ask(talk, "help", r"quit\|q -- end Rhea at once")
    if accelerator == "kvm":
        runs = [int(ask(talk, "info kvm", r"KVM_RUN (\d+)")[1])]
        # A stop may come before the vCPU has entered the guest: then once more.
        for _ in range(200):
            ask(talk, "c", "")
            ask(talk, "stop", "")
            runs.append(int(ask(talk, "info kvm", r"KVM_RUN (\d+)")[1]))
            if runs[-1] > runs[0]:
                break
        suite.check(runs[-1] > runs[0], f"KVM_RUN does not count: {runs}")
        links = [os.readlink(entry) for entry in
                 Path(f"/proc/{talk.process.pid}/fd").iterdir() if entry.is_symlink()]
        suite.check("anon_inode:kvm-vcpu:0" in links, f"no vCPU among the descriptors: {links}")
    else:
        ask(talk, "info jit", "blocks translated")
        ask(talk, "info kvm", "kvm support: disabled")
    talk.send("quit\n")
    suite.check(talk.wait() == 0, f"{accelerator}: quit")


def check_chardev_mon(suite, folder):
    """-chardev mux=on with -serial chardev: and -mon: what -nographic does by itself."""
    echo = write_firmware(folder / "echo.bin", ECHO)
    talk = Conversation([suite.binary, "-bios", echo, "-display", "none", "-chardev",
                         "stdio,id=both,mux=on,signal=off", "-serial", "chardev:both", "-mon",
                         "chardev=both,mode=readline", "-echr", "0x02"])
    talk.send("abc")
    talk.expect("abc")
    talk.send("\x02c")
    talk.expect(PROMPT)
    talk.send("q\n")
    suite.check(talk.wait() == 0, "quit of a multiplexed monitor")


def main():
    suite = Suite(sys.argv[1])
    folder = Path(tempfile.mkdtemp(prefix="rhea-monitor-"))
    check(suite, "tcg", folder)
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        check(suite, "kvm", folder)
    else:
        print("kvm: /dev/kvm cannot be opened; not checked")
    check_chardev_mon(suite, folder)
    suite.finish()


if __name__ == "__main__":
    main()
