#!/usr/bin/env python3
"""A writer of a qcow2 image is killed at random moments: the image stays sound, and what was flushed is there.

Usage: crash.py RHEA_IMG RHEA_NBD [ROUNDS [SEED]]

rhea-nbd writes; this client knows for each block what was last flushed and what was sent since. After each SIGKILL the
image must pass a check without corruption (leaks are allowed), and each block must hold what it held at the last completed
flush or something sent later. The same image goes from round to round.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time

from img_harness import MIB, Tools
from nbd_client import TRIM, WRITE, NbdClient, NbdError

BLOCK = 4096
BLOCKS = 4096  # 16 MiB: small enough that blocks are written again, over many clusters
KINDS = {"plain": [], "small": ["-o", "cluster_size=4k"], "lazy": ["-o", "lazy_refcounts=on"], "extended": ["-o", "extended_l2=on"],
         "backing": ["-b", "base.raw", "-F", "raw"], "lazy-backing": ["-o", "lazy_refcounts=on", "-b", "base.raw", "-F", "raw"]}


def content(block, version):
    return (b"%08d %08d " % (block, version)) * (BLOCK // 18) + b"\0" * (BLOCK - BLOCK // 18 * 18)


class Writer:
    """Writes until the server dies; knows what must be there."""

    def __init__(self, rng, has_base):
        self.rng = rng
        self.has_base = has_base     # version 0 is the backing file's, else zeroes
        self.durable = {}            # block -> version that a flush covered
        self.possible = {}           # block -> versions that may be there besides
        self.version = 0

    def load(self, path):
        try:
            client = NbdClient(path)
            while True:
                self.burst(client)
        except (NbdError, OSError):
            pass

    def burst(self, client):
        written = {}
        for _ in range(self.rng.randrange(1, 24)):
            block = self.rng.randrange(BLOCKS)
            count = self.rng.choice([1, 1, 1, 3, 17, 40])
            count = min(count, BLOCKS - block)
            self.version += 1
            if self.rng.random() < 0.1:
                for at in range(block, block + count):
                    self.possible.setdefault(at, set()).update({0, "any"})
                    written[at] = None
                client.call(TRIM, block * BLOCK, count * BLOCK)
                continue
            for at in range(block, block + count):
                self.possible.setdefault(at, set()).add(self.version)
                written[at] = self.version
            data = b"".join(content(at, self.version) for at in range(block, block + count))
            client.call(WRITE, block * BLOCK, len(data), 0, data)
        client.flush()
        for at, version in written.items():
            if version is None:
                self.durable[at] = None  # trimmed: anything that was there, or zeroes
                self.possible[at] = {"any"}
            else:
                self.durable[at] = version
                self.possible[at] = set()

    def acceptable(self, block, data):
        possible = self.possible.get(block, set())
        if "any" in possible:
            return True
        versions = {self.durable.get(block, 0), *possible}
        return any(data == (content(block, version) if version or self.has_base else bytes(BLOCK)) for version in versions)

    def adopt(self, block, data):
        """What is there after the crash is what is there; a discard that hides the backing file stays uncertain."""
        version = int(data[9:17]) if data[:1] != b"\0" else 0
        self.durable[block] = version
        self.possible[block] = {"any"} if self.has_base and data[:1] == b"\0" else set()


def one_round(tools, program, image, writer, rng, number):
    path = tools.path("crash.sock")
    server = subprocess.Popen([program, "-k", path, "-t", "-f", "qcow2", image], cwd=tools.folder, stdin=subprocess.DEVNULL)
    thread = threading.Thread(target=writer.load, args=(path,))
    thread.start()
    thread.join(rng.uniform(0.02, 0.35))
    server.send_signal(signal.SIGKILL)
    server.wait()
    thread.join(60)
    tools.wait_until_free(image)
    if "lazy" in image:
        # Their counts are only true again after a repair; a program that opens the image for writing makes it by itself.
        tools.rhea_ok("check", "-q", "-f", "qcow2", "-r", "all", image)
    code, out, err = tools.wait_until_free(image)
    if not tools.check(code in (0, 3), f"round {number}: check gives {code}: {out} {err}"):
        return False
    if tools.qemu_img and number % 10 == 0:
        code, out, err = tools.qemu("check", "-f", "qcow2", image)
        tools.check(code in (0, 3), f"round {number}: qemu-img check gives {code}: {out} {err}")
    tools.rhea_ok("convert", "-f", "qcow2", "-O", "raw", image, "after.raw")
    with open(tools.path("after.raw"), "rb") as file:
        for block in range(BLOCKS):
            data = file.read(BLOCK)
            if not tools.check(writer.acceptable(block, data),
                               f"round {number}: block {block} has {data[:18]!r}, not version {writer.durable.get(block)} or {writer.possible.get(block)}"):
                return False
            writer.adopt(block, data)
    if number % 7 == 6:
        tools.rhea_ok("check", "-q", "-r", "leaks", image)
    return True


def main():
    program = os.path.abspath(sys.argv[2])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 12
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 30)
    print(f"seed {seed}")
    with Tools(sys.argv[1]) as tools:
        rng = random.Random(seed)
        with open(tools.path("base.raw"), "wb") as base:
            base.writelines(content(block, 0) for block in range(BLOCKS))
        for kind, options in KINDS.items():
            image = kind + ".qcow2"
            tools.rhea_ok("create", "-q", "-f", "qcow2", *options, image, f"{BLOCKS * BLOCK // MIB}M")
            writer = Writer(rng, "backing" in kind)
            for number in range(max(1, rounds // len(KINDS))):
                if not one_round(tools, program, image, writer, rng, number):
                    break
    tools.finish()


if __name__ == "__main__":
    main()
