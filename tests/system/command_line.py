#!/usr/bin/env python3
"""The binary's command line, from the outside: help, statuses, files, signals, daemons."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import (DEBUG_EXIT, ECHO, HALT, KEYBOARD_RESET, LEAVE, PATIENCE,  # noqa: E402
                     TRIPLE_FAULT, Conversation, Suite, write_firmware)


def check_help(suite):
    status, out, err = suite.run("-version")
    suite.check(status == 0 and out.startswith("Rhea emulator version ") and not err, "-version")
    status, out, _ = suite.run("-help")
    for option in ("-machine ", "-accel ", "-m ", "-kernel ", "-serial ", "-nographic"):
        suite.check(status == 0 and "\n" + option in out, f"-help does not list {option}")
    for arguments, expected in ((("-M", "help"), "pc  "), (("-cpu", "help"), "qemu64"),
                                (("-device", "help"), 'name "isa-debug-exit", bus ISA'),
                                (("-device", "isa-debug-exit,help"), "iobase=<uint"),
                                (("-accel", "help"), "tcg"), (("-d", "help"), "guest_errors"),
                                (("-chardev", "help"), "socket")):
        status, out, err = suite.run(*arguments)
        suite.check(status == 0 and expected in out and not err, f"{arguments}: {out!r} {err!r}")


def check_statuses(suite, folder):
    leave = write_firmware(folder / "leave.bin", LEAVE)
    for accelerator in ("tcg", "tcg,interp=on"):
        status, _, err = suite.run("-accel", accelerator, "-bios", leave, "-display", "none",
                                   *DEBUG_EXIT)
        suite.check(status == 0x21, f"isa-debug-exit by {accelerator}: {status} {err!r}")
    for name, code in (("triple", TRIPLE_FAULT), ("keyboard", KEYBOARD_RESET)):
        firmware = write_firmware(folder / f"{name}.bin", code)
        status, _, err = suite.run("-bios", firmware, "-display", "none", "-no-reboot")
        suite.check(status == 0, f"{name} with -no-reboot: {status} {err!r}")
        talk = Conversation([suite.binary, "-bios", firmware, "-display", "none", "-no-reboot",
                             "-no-shutdown", "-serial", "none", "-monitor", "stdio"])
        talk.expect(r"\(qemu\) ")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            talk.send("info status\n")
            if talk.expect(r"VM status: (.*)\r\n")[1] == "paused (shutdown)":
                break
        else:
            suite.check(False, f"{name} with -no-shutdown does not stop")
        talk.send("quit\n")
        suite.check(talk.wait() == 0, f"{name}: quit")


def check_signals(suite, folder):
    halt = write_firmware(folder / "halt.bin", HALT)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Under nohup, for one, a signal is ignored from the start, and rightly stays so.
        talk = Conversation([suite.binary, "-bios", halt, "-display", "none", "-serial", "none",
                             "-monitor", "stdio"],
                            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
        talk.expect(r"\(qemu\) ")
        talk.process.send_signal(number)
        talk.expect(f"terminating on signal {int(number)} from pid {os.getpid()}")
        suite.check(talk.wait() == 0, f"signal {number}: status {talk.process.returncode}")


def check_terminal(suite, folder):
    """-nographic: raw while it runs, as before afterwards; Ctrl-A commands; Ctrl-C to the guest."""
    echo = write_firmware(folder / "echo.bin", ECHO)
    for how in ("key", "signal"):
        talk = Conversation([suite.binary, "-bios", echo, "-nographic"], terminal=True)
        deadline = time.monotonic() + PATIENCE
        while termios.tcgetattr(talk.master)[3] & termios.ICANON and time.monotonic() < deadline:
            time.sleep(0.005)
        talk.send("ready?")
        talk.expect(r"ready\?")
        talk.send("\x03")
        talk.expect("\x03")
        talk.send("\x01h")
        talk.expect(r"C-a x    leave the emulator")
        talk.send("\x01c")
        talk.expect(r"Rhea .* monitor - type 'help' for more information\r+\n\(qemu\) ")
        talk.send("info status\r")
        talk.expect(r"VM status: running")
        talk.send("\x01cback")
        talk.expect("back")
        if how == "key":
            talk.send("\x01x")
            talk.expect("Terminated")
        else:
            talk.process.terminate()
        suite.check(talk.wait() == 0, f"{how}: status {talk.process.returncode}")
        after = termios.tcgetattr(talk.master)
        cooked = termios.ICANON | termios.ECHO | termios.ISIG
        suite.check(after[3] & cooked == cooked, f"the terminal is left raw after {how}")
        os.close(talk.master)


def check_outputs(suite, folder):
    echo = write_firmware(folder / "echo.bin", ECHO)
    status, out, err = suite.run("-M", "none", "-monitor", "stdio", "-serial", "none", "-d",
                                 "guest_errors", "-D", str(folder / "log"), stdin=b"quit\n")
    suite.check(status == 0 and (folder / "log").exists(), f"-D: {status} {out!r} {err!r}")
    # A serial port on a unix socket, and a monitor on another.
    serial, control = folder / "serial", folder / "control"
    process = subprocess.Popen([suite.binary, "-bios", echo, "-display", "none", "-serial",
                                f"unix:{serial},server=on,wait=off", "-monitor",
                                f"unix:{control},server=on,wait=off"])
    deadline = time.monotonic() + PATIENCE
    while not control.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(PATIENCE)
        line.connect(str(serial))
        line.sendall(b"ping")
        heard = b""
        while len(heard) < 4:
            heard += line.recv(100)
        suite.check(heard == b"ping", f"serial on a socket: {heard!r}")
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(PATIENCE)
        line.connect(str(control))
        line.sendall(b"quit\n")
        while line.recv(1000):
            pass
    suite.check(process.wait(PATIENCE) == 0, "quit on a socket")
    suite.check(not serial.exists() and not control.exists(), "sockets are left behind")


def check_process_name(suite, folder):
    halt = write_firmware(folder / "named.bin", HALT)
    talk = Conversation([suite.binary, "-bios", halt, "-display", "none", "-serial", "none", "-monitor", "stdio",
                         "-name", "guest=web,process=web-vm,debug-threads=on"])
    talk.expect(r"\(qemu\) ")
    name = Path(f"/proc/{talk.process.pid}/comm").read_text().strip()
    suite.check(name == "web-vm", f"-name process=: {name!r}")
    talk.kill()
    status, _, err = suite.run("-name", "guest=web,debug-threads=perhaps")
    suite.check(status == 1 and "debug-threads" in err, f"debug-threads=perhaps: {status} {err!r}")


def check_daemon(suite, folder):
    halt = write_firmware(folder / "halt.bin", HALT)
    pid_file, control = folder / "pid", folder / "daemon"
    status, out, err = suite.run("-bios", halt, "-display", "none", "-daemonize", "-pidfile",
                                 str(pid_file), "-serial", "null", "-monitor",
                                 f"unix:{control},server=on,wait=off")
    suite.check(status == 0 and not err, f"-daemonize: {status} {out!r} {err!r}")
    # What it reports as ready is there at once.
    suite.check(pid_file.exists() and control.exists(), "-daemonize reports too early")
    if pid_file.exists():
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while pid_file.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        suite.check(not pid_file.exists(), "the pid file is left behind")
    suite.refused(["-bios", halt, "-daemonize", "-serial", "file:/no/such"], "/no/such")


def main():
    suite = Suite(sys.argv[1])
    folder = Path(tempfile.mkdtemp(prefix="rhea-line-"))
    check_help(suite)
    check_statuses(suite, folder)
    check_signals(suite, folder)
    check_terminal(suite, folder)
    check_outputs(suite, folder)
    check_process_name(suite, folder)
    check_daemon(suite, folder)
    suite.finish()


if __name__ == "__main__":
    main()
