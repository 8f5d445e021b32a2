"""What the boot tests share: an emulator process with its console, guest material, ways to end.

A test raises Failure (exit code 1, with the console's tail) or Skip (77, the reason last). Every wait
has a bound. The emulator is a child of this process and is ended by its own process id.
"""

import io
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIP_CODE = 77
TAIL_LINES = 40
DEBUGGER_SECONDS = 120


class Failure(Exception):
    """The test failed; the text says how."""


class Skip(Exception):
    """The test cannot run here; the text says why."""


class Emulator:
    """A running emulator. Its console is standard input and output: a pipe, or a terminal with
    terminal=True. `prepare` is called in the child, in front of the program. Used with `with`, which ends it."""

    def __init__(self, program, *arguments, terminal=False, prepare=None):
        self.command = [program, *arguments]
        self.console = ""
        self._searched = 0
        if terminal:
            self._input, child = pty.openpty()
            self._output = self._input
            self.process = subprocess.Popen(self.command, stdin=child, stdout=child, stderr=child,
                                            start_new_session=True)
            os.close(child)
        else:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                            preexec_fn=prepare)
            self._input = self.process.stdin.fileno()
            self._output = self.process.stdout.fileno()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self.process.poll() is None:
            if kind is Failure:
                self._show_threads()
            self.process.kill()
        self.process.wait()
        if kind is Failure:
            self._drain()
            print("command:", " ".join(self.command))
            print("console, its last lines:")
            for line in self.console.splitlines()[-TAIL_LINES:]:
                print("   |", line)

    @property
    def pid(self):
        return self.process.pid

    def send(self, text):
        """Types text at the console."""
        os.write(self._input, text.encode())

    def expect(self, pattern, seconds):
        """Waits until the console shows the regular expression behind what earlier calls found."""
        compiled, deadline = re.compile(pattern), time.monotonic() + seconds
        while True:
            found = compiled.search(self.console, self._searched)
            if found:
                self._searched = found.end()
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure(f"no '{pattern}' on the console within {seconds} s")
            if not self._read(left):
                raise Failure(f"the console ended without '{pattern}'; status {self._status()}")

    def finish(self, seconds):
        """Waits for the end; returns the exit status."""
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            if time.monotonic() >= deadline:
                raise Failure(f"no end within {seconds} s")
        return self._status()

    def expect_status(self, status, seconds):
        got = self.finish(seconds)
        if got != status:
            raise Failure(f"exit status {got} instead of {status}")

    def _status(self):
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            raise Failure("the console is closed, but the process goes on") from None

    def _read(self, seconds):
        """Reads what is there, waiting that long. False at the end of the console."""
        ready, _, _ = select.select([self._output], [], [], max(seconds, 0))
        if not ready:
            return True
        try:
            data = os.read(self._output, 65536)
        except OSError:  # a terminal's other side is closed
            return False
        self.console += data.decode("utf-8", "replace").replace("\r", "")
        return bool(data)

    def _show_threads(self):
        """What the threads of a process that hangs do: state and CPU time of each, and where gdb finds them."""
        tasks = f"/proc/{self.pid}/task"
        for task in sorted(os.listdir(tasks), key=int):
            with open(f"{tasks}/{task}/stat", encoding="ascii", errors="replace") as file:
                name, fields = re.match(r"\d+ \((.*)\) (.*)", file.read()).groups()
            fields = fields.split()
            print(f"thread {task} {name}: state {fields[0]}, {fields[11]} user and {fields[12]} system ticks")
        if not shutil.which("gdb"):
            return
        try:
            done = subprocess.run(["gdb", "-batch", "-nx", "-p", str(self.pid), "-ex", "thread apply all backtrace 25"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, timeout=DEBUGGER_SECONDS, check=False)
            print(done.stdout)
        except subprocess.TimeoutExpired:
            print(f"gdb has no answer within {DEBUGGER_SECONDS} s")

    def _drain(self):
        while select.select([self._output], [], [], 0)[0] and self._read(0):
            pass


class Monitor:
    """The monitor at a Unix socket that the emulator listens at."""

    PROMPT = "(qemu) "

    def __init__(self, path, seconds=30):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._socket.connect(path)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Failure(f"cannot connect to the monitor: {error}") from None
                time.sleep(0.02)
        self._read()

    def command(self, line):
        """Runs a command; returns what it printed."""
        self._socket.sendall(line.encode() + b"\n")
        return self._read()

    def _read(self):
        text = ""
        while not text.endswith(self.PROMPT):
            try:
                data = self._socket.recv(65536)
            except OSError as error:
                raise Failure(f"the monitor does not answer ({error}): {text!r}") from None
            if not data:
                raise Failure(f"the monitor closed its connection after {text!r}")
            text += data.decode("utf-8", "replace")
        return text[:-len(self.PROMPT)]


def material(*names):
    """The folder with this guest material (names of scripts/guest-material), or Skip."""
    done = subprocess.run([os.path.join(ROOT, "scripts", "guest-material"), *names],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise Skip("no guest material: " + " ".join(lines[-2:]))
    return done.stdout.strip().splitlines()[-1]


def archive(files):
    """A cpio archive (newc) of {name: text}."""
    out = io.BytesIO()
    for number, (name, data) in enumerate([*files.items(), ("TRAILER!!!", b"")]):
        fields = [number, 0o100755 if name != "TRAILER!!!" else 0, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        out.write(b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0")
        out.write(b"\0" * (-out.tell() % 4) + data)
        out.write(b"\0" * (-out.tell() % 4))
    return out.getvalue()


def disk_guest(initrd, script, *extra, cloud=False):
    """Writes an initrd for Debian's generic kernel, or (a PVH ELF file) its cloud kernel, with the drivers of disks, whose
    rhea.run=sh,/test.sh runs the script; returns the kernel."""
    folder = material("initramfs", "cloud-modules" if cloud else "disk-kernel", *extra)
    with open(initrd, "wb") as out:
        for part in ("initramfs", "cloud-modules" if cloud else "disk-modules", *extra):
            with open(os.path.join(folder, part + ".cpio.gz"), "rb") as file:
                shutil.copyfileobj(file, out)
            out.write(b"\0" * (-out.tell() % 4))
        out.write(archive({"test.sh": script.encode()}))
    return os.path.join(folder, "cloud-vmlinux" if cloud else "disk-vmlinuz")


def need_kvm():
    """Skip where /dev/kvm cannot be opened."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise Skip(f"/dev/kvm cannot be opened: {error.strerror}") from None


def need_drives(emulator, *devices):
    """Skip where the emulator does not know -drive or one of these device types."""
    checks = [["-drive", "if=none,id=x", "-version"]] + [["-device", f"{device},help"] for device in devices]
    for arguments in checks:
        done = subprocess.run([emulator, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, check=False)
        if done.returncode != 0:
            raise Skip(done.stderr.strip())


def run(test):
    """Runs a test function and ends the process as the runner of tests expects it."""
    try:
        test()
    except Skip as skip:
        print(skip)
        sys.exit(SKIP_CODE)
    except Failure as failure:
        print("FAILED:", failure)
        sys.exit(1)
