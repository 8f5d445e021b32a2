#!/usr/bin/env python3
"""rhea-nbd from a client's side: handshake, every command, wrong requests, life cycle.

Usage: nbd_server.py RHEA_IMG RHEA_NBD
"""

import os
import signal
import socket
import struct
import subprocess
import sys

from img_harness import MIB, Tools
from nbd_client import (BLOCK_STATUS, DONT_FRAGMENT, FAST_ZERO, FLUSH, FUA, READ, SEND_DONT_FRAGMENT, TRIM, WRITE, WRITE_ZEROES, NbdClient, NbdError)


class Server:
    def __init__(self, tools, program, *arguments):
        self.path = tools.path("nbd.sock")
        self.process = subprocess.Popen([os.path.abspath(program), "-k", self.path, *arguments], cwd=tools.folder,
                                        stdin=subprocess.DEVNULL)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(60)


def expect_error(tools, number, call, what):
    try:
        call()
        tools.check(False, f"{what}: no error")
    except NbdError as error:
        tools.check(error.number == number, f"{what}: error {error.number}, not {number}")


def commands(tools, program):
    tools.rhea_ok("create", "-q", "-f", "qcow2", "n.qcow2", "8M")
    server = Server(tools, program, "-t", "-e", "0", "-f", "qcow2", "-D", "a disk", "n.qcow2")
    for structured in (False, True):
        client = NbdClient(server.path, structured=structured, context=structured)
        tools.check(client.size == 8 * MIB, f"size {client.size}")
        client.write(4096, b"first" * 200)
        tools.check(client.read(4096, 1000) == b"first" * 200, "what was written is not there")
        client.write(100, b"unaligned", flags=FUA)
        tools.check(bool(client.flags & SEND_DONT_FRAGMENT) == structured, f"flags {client.flags:#x}")
        if structured:
            whole = client.call(READ, 0, 2 * MIB, flags=DONT_FRAGMENT)
            tools.check(len(whole) == 2 * MIB and whole[4096:4101] == b"first", "a read that must not be fragmented")
        tools.check(client.read(99, 11) == b"\0unaligned\0", "unaligned write")
        client.call(WRITE_ZEROES, 4096, 512)
        tools.check(client.read(4096, 1000) == bytes(512) + (b"first" * 200)[512:], "write zeroes")
        client.call(TRIM, 1 * MIB, 1 * MIB)
        client.flush()
        # Wrong requests are answered, and the connection goes on.
        expect_error(tools, 22, lambda: client.read(8 * MIB - 10, 20), "read behind the end")
        expect_error(tools, 28, lambda: client.write(8 * MIB - 1, b"ab"), "write behind the end")
        expect_error(tools, 22, lambda: client.call(77), "unknown command")
        expect_error(tools, 22, lambda: client.call(READ, 2 ** 64 - 1, 16), "an offset that overflows")
        expect_error(tools, 22, lambda: client.call(FLUSH, flags=1 << 15), "unknown flag")
        if structured:
            extents = client.call(BLOCK_STATUS, 0, 8 * MIB)
            tools.check(sum(length for length, _ in extents) == 8 * MIB, f"extents {extents}")
            tools.check(extents[0][1] == 0 and extents[-1][1] & 2, f"extents {extents}")
        else:
            expect_error(tools, 22, lambda: client.call(BLOCK_STATUS, 0, 4096), "block status without its context")
        # Many in flight: each answer belongs to its question.
        handles = {client.send(READ, at * 512, 512): at for at in range(64)}
        for _ in range(64):
            handle, data = client.receive(512)
            tools.check(handle in handles and len(data) == 512, f"handle {handle}")
            handles.pop(handle, None)
        client.close()
    expect_error(tools, 0x80000006, lambda: NbdClient(server.path, export="other"), "unknown export")
    # Noise instead of a client; the server stays.
    for noise in (b"GET / HTTP/1.0\r\n\r\n", struct.pack(">I", 3) + os.urandom(64),
                  struct.pack(">I", 3) + struct.pack(">QII", 0x49484156454F5054, 7, 0xFFFFFFFF)):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bare:
            bare.connect(server.path)
            bare.sendall(noise)
    client = NbdClient(server.path)
    client.send(WRITE, 0, 0xFFFFFFF0)  # a length that nobody allocates
    client.close()
    client = NbdClient(server.path)
    tools.check(client.read(99, 11) == b"\0unaligned\0", "after noise")
    tools.check(server.stop() == 0, "status after SIGTERM")
    tools.check(not os.path.exists(server.path), "the socket is still there")
    tools.rhea_ok("check", "n.qcow2")


def read_only(tools, program):
    server = Server(tools, program, "-r", "-x", "disk", "n.qcow2")
    client = NbdClient(server.path, export="disk")
    tools.check(client.flags & 2, "not shown as read-only")
    expect_error(tools, 1, lambda: client.write(0, b"x"), "write to a read-only export")
    expect_error(tools, 1, lambda: client.call(WRITE_ZEROES, 0, 512, FAST_ZERO), "zeroes to a read-only export")
    client.close()
    # Without -t it ends with its last client.
    tools.check(server.process.wait(60) == 0, "status after the last client")


def refusals(tools, program):
    for arguments, pattern in ((["absent.qcow2"], "absent.qcow2"), ([], "image is missing"), (["-e", "x", "n.qcow2"], "--shared"),
                               (["-c", "/dev/nbd0", "n.qcow2"], "not in this version"), (["--nosuch", "n.qcow2"], "--nosuch"),
                               (["-k", "/nonexistent/x/y", "n.qcow2"], "/nonexistent/x/y")):
        done = subprocess.run([os.path.abspath(program), *arguments], cwd=tools.folder, capture_output=True, text=True,
                              timeout=60, check=False)
        lines = done.stderr.splitlines()
        tools.check(done.returncode == 1 and len(lines) == 1 and pattern in lines[0], f"rhea-nbd {arguments}: {done.returncode} {lines}")


def main():
    with Tools(sys.argv[1]) as tools:
        commands(tools, sys.argv[2])
        read_only(tools, sys.argv[2])
        refusals(tools, sys.argv[2])
    tools.finish()


if __name__ == "__main__":
    main()
