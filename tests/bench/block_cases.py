"""The cases of tests/bench/block: what rhea-img and qemu-img are told to do, and the disks of the guests."""

import dataclasses
import os
import random
import subprocess

import measure

MIB = 1 << 20
CLUSTER = 65536


@dataclasses.dataclass
class ToolCase:
    """One command of both programs. {in} in the arguments is the input's path, {out} a file that is not there."""
    name: str
    arguments: str
    needed: float = 1.0
    source: str = ""     # the name of an input of Inputs
    share: int = 1       # runs a round
    same_as: str = ""    # the raw file that the output must be equal to


TOOL_CASES = [
    ToolCase("create", "create -q -f qcow2 {out} 10G", share=10),
    ToolCase("create-metadata", "create -q -f qcow2 -o preallocation=metadata {out} 200G"),
    ToolCase("raw-to-qcow2", "convert -f raw -O qcow2 {in} {out}", source="data.raw", same_as="data.raw"),
    ToolCase("qcow2-to-raw", "convert -f qcow2 -O raw {in} {out}", source="data.qcow2", same_as="data.raw"),
    ToolCase("qcow2-to-qcow2", "convert -f qcow2 -O qcow2 {in} {out}", source="data.qcow2", same_as="data.raw"),
    ToolCase("compress-zlib", "convert -c -f raw -O qcow2 {in} {out}", 1.5, "small.raw", same_as="small.raw"),
    ToolCase("compress-zstd", "convert -c -f raw -O qcow2 -o compression_type=zstd {in} {out}", 1.5, "small.raw", same_as="small.raw"),
    ToolCase("decompress-zlib", "convert -f qcow2 -O raw {in} {out}", source="small-zlib.qcow2", same_as="small.raw"),
    ToolCase("decompress-zstd", "convert -f qcow2 -O raw {in} {out}", source="small-zstd.qcow2", same_as="small.raw"),
    ToolCase("check-scattered", "check -f qcow2 {in}", 1.5, "scattered.qcow2", share=5),
    ToolCase("check-compressed", "check -f qcow2 {in}", 1.5, "packed.qcow2", share=5),
    ToolCase("check-full", "check -f qcow2 {in}", 1.5, "full.qcow2"),
]

# Disk, loads (tests/guests/disk/loads.c), the speed that is wanted of each. "new": an image without data, made for each boot.
RANDOM_READS = {"read-4k-q1": 1.5, "read-4k-q16": 1.5}
OTHERS = {"write-4k-q1": 1.0, "write-4k-q16": 1.0, "read-1m": 1.0, "read-1m-q4": 1.0, "write-1m": 1.0, "write-4k-sync": 1.0}
GUEST_DISKS = {
    "raw": ("data.raw", "raw", {**RANDOM_READS, **OTHERS}),
    "qcow2": ("data.qcow2", "qcow2", {**RANDOM_READS, **OTHERS}),
    "new": ("", "qcow2", {"write-4k-q1": 1.0, "write-4k-q16": 1.0, "write-1m": 1.0, "write-4k-sync": 1.0}),
    "zlib": ("small-zlib.qcow2", "qcow2", {"read-1m": 1.0, "read-1m-q4": 1.0}),
}


def write_data(path, mib):
    """Of each four MiB one is noise, two are text that compresses, one is a hole."""
    noise = random.Random(1)
    words = [noise.randbytes(6).hex().encode() for _ in range(512)]
    text = b" ".join(noise.choice(words) for _ in range(MIB // 13 + 1))[:MIB - 8]
    with open(path, "wb") as file:
        for number in range(mib):
            if number % 4 == 0:
                file.write(noise.randbytes(MIB))
            elif number % 4 == 3:
                file.seek(MIB, os.SEEK_CUR)
            else:
                file.write(b"%08d" % number + text)
        file.truncate(mib * MIB)


def write_scattered(path, gib, clusters):
    """4 KiB of data in each of so many clusters at random places of a disk that is otherwise a hole."""
    places = random.Random(2).sample(range(gib << 14), clusters)
    with open(path, "wb") as file:
        file.truncate(gib << 30)
        for place in places:
            os.pwrite(file.fileno(), b"%016x" % place * 256, place * CLUSTER)


class Inputs:
    """Images that the cases read, made when first asked for by `tool` (qemu-img, or rhea-img where that is missing)."""

    def __init__(self, folder, tool, mib, progress):
        self._folder, self._tool, self._mib, self._progress = folder, tool, mib, progress

    def path(self, name):
        return os.path.join(self._folder, name)

    def get(self, name):
        path = self.path(name)
        if not os.path.exists(path):
            self._progress(f"making {name}")
            self._make(name, path)
        return path

    def make_new(self, path, size):
        """An image without data."""
        if os.path.exists(path):
            os.unlink(path)
        self._run("create", "-q", "-f", "qcow2", path, size)

    def _run(self, *arguments):
        done = subprocess.run([self._tool, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        if done.returncode != 0:
            raise measure.Trouble(f"{self._tool} {' '.join(arguments)}: {done.stdout.strip()}")

    def _convert(self, source, path, *options):
        self._run("convert", *options, "-f", "raw", "-O", "qcow2", self.get(source), path)

    def _make(self, name, path):
        if name == "data.raw":
            write_data(path, self._mib)
        elif name == "small.raw":
            write_data(path, max(self._mib // 4, 8))
        elif name == "scattered.raw":
            write_scattered(path, 100, 32768)
        elif name == "data.qcow2":
            self._convert("data.raw", path)
        elif name == "small-zlib.qcow2":
            self._convert("small.raw", path, "-c")
        elif name == "small-zstd.qcow2":
            self._convert("small.raw", path, "-c", "-o", "compression_type=zstd")
        elif name == "scattered.qcow2":
            self._convert("scattered.raw", path)
        elif name == "packed.qcow2":
            self._convert("scattered.raw", path, "-c", "-W")
        elif name == "full.qcow2":
            self._run("create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", path, "500G")
        else:
            raise measure.Trouble(f"there is no input '{name}'")
