"""What the script tests of the binary share: running it, a terminal for it, small guests."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = "rhea-system-x86_64"
PATIENCE = 60  # seconds; an upper bound, not something that is measured


class Suite:
    """Collects failures; the last line tells their number."""

    def __init__(self, binary):
        self.binary = binary
        self.failures = []

    def check(self, condition, message):
        if not condition:
            self.failures.append(message)
            print("FAILED: " + message)

    def run(self, *arguments, stdin=b"", timeout=PATIENCE):
        """Runs the binary to its end: (status, standard output, standard error)."""
        done = subprocess.run([self.binary, *arguments], input=stdin, capture_output=True,
                              timeout=timeout, check=False)
        return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode(
            "utf-8", "replace")

    def refused(self, arguments, *patterns):
        """The arguments lead to status 1 and one sentence that has every pattern."""
        status, out, err = self.run(*arguments)
        shown = " ".join(arguments)
        self.check(status == 1, f"{shown}: status {status}, not 1 ({err.strip()!r})")
        self.check(out == "", f"{shown}: says {out!r} on standard output")
        lines = err.splitlines()
        self.check(len(lines) == 1 and lines[0].startswith(PROGRAM + ": "),
                   f"{shown}: not one sentence: {err!r}")
        for pattern in patterns:
            self.check(re.search(pattern, err), f"{shown}: no {pattern!r} in {err!r}")

    def finish(self):
        print(f"{len(self.failures)} failures")
        sys.exit(1 if self.failures else 0)


class Conversation:
    """A running process and what it has said so far."""

    def __init__(self, arguments, terminal=False, **options):
        self.text = ""
        if terminal:
            self.master, slave = pty.openpty()
            self.process = subprocess.Popen(arguments, stdin=slave, stdout=slave, stderr=slave,
                                            start_new_session=True, **options)
            os.close(slave)
            self.reader = self.writer = self.master
        else:
            self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                            **options)
            self.reader = self.process.stdout.fileno()
            self.writer = self.process.stdin.fileno()

    def send(self, text):
        os.write(self.writer, text.encode())

    def expect(self, pattern):
        """Waits for the pattern in what was not matched yet; returns the match."""
        deadline = time.monotonic() + PATIENCE
        while True:
            match = re.search(pattern, self.text)
            if match:
                self.text = self.text[match.end():]
                return match
            if not select.select([self.reader], [], [], max(0, deadline - time.monotonic()))[0]:
                self.kill()
                raise AssertionError(f"no {pattern!r} in {self.text!r}")
            try:
                data = os.read(self.reader, 65536)
            except OSError:
                data = b""
            if not data:
                self.kill()
                raise AssertionError(f"ended without {pattern!r}: {self.text!r}")
            self.text += data.decode("utf-8", "replace")

    def wait(self):
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def write_firmware(path, code):
    """A 64 KiB firmware image that runs `code` (16-bit, at f000:0) after reset."""
    image = bytearray(b"\xf4" * 65536)
    image[:len(code)] = code
    image[0xfff0:0xfff5] = b"\xea\x00\x00\x00\xf0"  # ljmp $0xf000, $0
    Path(path).write_bytes(image)
    return str(path)


# Prints what it reads from COM1, for ever.
ECHO = bytes([
    0xba, 0xfd, 0x03,  # 0: mov $0x3fd, %dx
    0xec,              # in %dx, %al
    0xa8, 0x01,        # test $1, %al
    0x74, 0xfb,        # jz -5 (the in)
    0xba, 0xf8, 0x03,  # mov $0x3f8, %dx
    0xec,              # in %dx, %al
    0xee,              # out %al, %dx
    0xeb, 0xf1,        # jmp 0
])
# cli; hlt
HALT = b"\xfa\xf4"
# Writes 0x10 to port 0xf4.
LEAVE = b"\xb0\x10\xba\xf4\x00\xee\xfa\xf4"
# An interrupt without a table to take it from: lidt (%cs:zero); ud2.
TRIPLE_FAULT = b"\xfa\x2e\x0f\x01\x1e\x20\x00\x0f\x0b" + b"\x00" * 0x20
# Resets through the keyboard controller.
KEYBOARD_RESET = b"\xb0\xfe\xe6\x64\xf4"
DEBUG_EXIT = ("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04")
