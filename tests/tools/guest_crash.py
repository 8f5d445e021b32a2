#!/usr/bin/env python3
"""A machine is killed at random moments while its guest writes: the image stays sound, and what the guest flushed is there.

Usage: guest_crash.py EMULATOR RHEA_IMG [ROUNDS [SEED [KIND,...]]]

The guest (tests/guests/disk/records.c) writes a sequence of records that this program can make, too, and says on the serial
console which of them a flush has covered. After each SIGKILL the image must pass a check without corruption (leaks are allowed),
and each block must hold what the last record before the last flush that was told left there, or what a later record may have
written. The rounds are shared by the kinds of images; each kind's image goes from round to round.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time

from img_harness import MIB, SKIP, Tools

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench"))
import disk_guest  # noqa: E402
import measure  # noqa: E402

BLOCK = 4096
BLOCKS = 8192                            # 32 MiB: blocks are soon written again
LENGTHS = (1, 1, 1, 1, 3, 8, 17, 40)     # as in records.c
KINDS = {"plain": [], "lazy": ["-o", "lazy_refcounts=on"], "backing": ["-b", "base.raw", "-F", "raw"],
         "lazy-backing": ["-o", "lazy_refcounts=on,cluster_size=16k", "-b", "base.raw", "-F", "raw"]}
BEYOND = 4000                            # how many records at most may follow a flush before the next one is told
FLUSHES = 80                             # fewer than so many are waited for before the kill
SECONDS = 120                            # a guest that says nothing for so long hangs
MASK = (1 << 64) - 1


def draws(state):
    """The numbers that records.c draws (xorshift64*)."""
    while True:
        state ^= state >> 12
        state = (state ^ (state << 25)) & MASK
        state ^= state >> 27
        yield (state * 0x2545F4914F6CDD1D) & MASK


def records(seed, first):
    """(number, block, count, is a discard) of each record."""
    numbers = draws(seed)
    while True:
        block = next(numbers) % BLOCKS
        count = min(LENGTHS[next(numbers) >> 61], BLOCKS - block)
        discard = next(numbers) >> 60 == 0
        next(numbers)  # whether a flush follows
        yield first, block, count, discard
        first += 1


def content(block, record):
    """What records.c fills a block with."""
    return (block.to_bytes(8, "little") + record.to_bytes(8, "little")) * (BLOCK // 16)


def base_content(block):
    return b"%016x" % block * (BLOCK // 16)


class Expected:
    """What each block may hold: a record's number, 0 for what was there before all."""

    def __init__(self, has_base):
        self.has_base = has_base
        self.durable = [0] * BLOCKS
        self.later = {}      # block: records that may be there instead
        self.unsure = set()  # discarded blocks: zeroes or whatever they ever held
        self.next = 1        # the number of the next record

    def after(self, seed, flushed):
        """A guest began with record `next` and told that those up to `flushed` are flushed."""
        last = max(flushed, self.next - 1) + BEYOND
        for number, block, count, discard in records(seed, self.next):
            if number > last:
                break
            for at in range(block, block + count):
                if discard:
                    self.unsure.add(at)
                    if number <= flushed:
                        self.later.pop(at, None)
                elif number <= flushed:
                    self.durable[at] = number
                    self.unsure.discard(at)
                    self.later.pop(at, None)
                else:
                    self.later.setdefault(at, set()).add(number)
        self.next = last + 1

    def original(self, block):
        return base_content(block) if self.has_base else bytes(BLOCK)

    def judge(self, block, data):
        """The version that is there, or None when it may not be."""
        if data == self.original(block):
            version = 0
        else:
            version = int.from_bytes(data[8:16], "little")
            if data != content(block, version):
                # Zeroes, where a discard hid the backing file.
                return 0 if block in self.unsure and data == bytes(BLOCK) else None
        if version == self.durable[block] or version in self.later.get(block, ()) or block in self.unsure:
            return version
        return None

    def adopt(self, versions, data_of):
        """What is there after the crash is what is there."""
        self.durable = versions
        self.later = {}
        # A discarded block that holds zeroes over a base keeps them until it is written; it stays unsure.
        self.unsure = {block for block in self.unsure if self.has_base and data_of(block) == bytes(BLOCK)}


def run_guest(program, material, image, seed, first, rng):
    """Boots, lets it write, kills it at a random moment behind a random number of flushes; (the last record that was told to be
    flushed, what went wrong)."""
    kernel, archive = material
    append = f"console=ttyS0 quiet panic=-1 no_timer_check disk.mode=records disk.seed={seed} disk.first={first}"
    process = subprocess.Popen([program, "-M", "pc", "-accel", "tcg", "-cpu", "max", "-m", "128", "-display", "none", "-serial", "stdio",
                                "-monitor", "none", "-no-reboot", "-kernel", kernel, "-initrd", archive, "-append", append,
                                *disk_guest.drive(image, "qcow2", ",discard=unmap")],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines, flushed, tail, flushes = measure.Lines(process), first - 1, [], rng.randrange(FLUSHES)
    try:
        while flushes > 0:
            line = lines.next(SECONDS)
            if not line:
                return flushed, f"the guest ended by itself: {' | '.join(tail)}"
            tail = [*tail[-3:], line.strip()]
            if found := re.match(r"disk: flushed (\d+)", line):
                flushed, flushes = int(found[1]), flushes - 1
        time.sleep(rng.uniform(0, 0.1))
    except TimeoutError:
        return flushed, f"the guest hangs: {' | '.join(tail)}"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    # What it had said before it was killed.
    rest = process.stdout.read().decode("utf-8", "replace")
    for found in re.finditer(r"disk: flushed (\d+)\r?\n", lines.pending() + rest):
        flushed = int(found[1])
    return flushed, ""


def one_round(tools, program, material, kind, expected, rng, number):
    image = kind + ".qcow2"
    seed, first = rng.randrange(1, 1 << 63), expected.next
    flushed, problem = run_guest(program, material, tools.path(image), seed, first, rng)
    if not tools.check(not problem, f"{kind}, round {number}: {problem}"):
        return None
    expected.after(seed, flushed)
    if "lazy" in kind:
        # Their counts are only true again after a repair, which a program that opens the image for writing makes by itself.
        tools.wait_until_free(image)
        tools.rhea_ok("check", "-q", "-f", "qcow2", "-r", "all", image)
    code, out, err = tools.wait_until_free(image)
    if not tools.check(code in (0, 3), f"{kind}, round {number}: check gives {code}: {out} {err}"):
        return None
    if tools.qemu_img and number % 10 == 0:
        code, out, err = tools.qemu("check", "-f", "qcow2", image)
        tools.check(code in (0, 3), f"{kind}, round {number}: qemu-img check gives {code}: {out} {err}")
    tools.rhea_ok("convert", "-f", "qcow2", "-O", "raw", image, "after.raw")
    with open(tools.path("after.raw"), "rb") as file:
        data = file.read()
    def data_of(block):
        return data[block * BLOCK:(block + 1) * BLOCK]
    versions = []
    for block in range(BLOCKS):
        version = expected.judge(block, data_of(block))
        if not tools.check(version is not None, f"{kind}, round {number}: block {block} has {data_of(block)[:16].hex()}, not record "
                           f"{expected.durable[block]} or one of {expected.later.get(block)}; flushed: {flushed}, first: {first}"):
            return None
        versions.append(version)
    expected.adopt(versions, data_of)
    return flushed - first + 1


def main():
    program = os.path.abspath(sys.argv[1])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 4
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 30)
    kinds = sys.argv[5].split(",") if len(sys.argv) > 5 else list(KINDS)
    print(f"seed {seed}")
    with Tools(sys.argv[2]) as tools:
        try:
            material = disk_guest.archive(tools.path(""))
        except measure.Trouble as trouble:
            print(trouble)
            sys.exit(SKIP)
        rng, total = random.Random(seed), 0
        with open(tools.path("base.raw"), "wb") as base:
            for block in range(BLOCKS):
                base.write(base_content(block))
        for turn, kind in enumerate(kinds):
            tools.rhea_ok("create", "-q", "-f", "qcow2", *KINDS[kind], kind + ".qcow2", f"{BLOCKS * BLOCK // MIB}M")
            expected, kills, covered = Expected("backing" in kind), 0, 0
            for number in range(rounds // len(kinds) + (turn < rounds % len(kinds))):
                records_flushed = one_round(tools, program, material, kind, expected, rng, number)
                if records_flushed is None:
                    break
                kills, covered = kills + 1, covered + records_flushed
            print(f"{kind}: {kills} kills, {covered} records flushed before them", flush=True)
            total += covered
        tools.check(total > 0, "no guest came as far as a flush")
    tools.finish()


if __name__ == "__main__":
    main()
