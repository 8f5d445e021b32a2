#!/usr/bin/env python3
"""Bad input on the command line: one sentence that names the thing, exit status 1, never a crash.

Usage: bad_input.py EMULATOR
"""

import os
import socket
import subprocess
import struct
import sys
import tempfile

from guest import Failure, run

SECONDS = 60
PREFIX = "rhea-system-x86_64: "
KIB, MIB = 1 << 10, 1 << 20


def bzimage(size, declared):
    """The header of a bzImage (Linux boot protocol 2.15), of `size` bytes, that claims to be
    `declared` bytes long behind the setup code."""
    image = bytearray(size)
    image[0x1f1] = 1  # setup_sects
    struct.pack_into("<I", image, 0x1f4, declared // 16)  # syssize
    image[0x1fe:0x200] = b"\x55\xaa"
    image[0x200:0x202] = b"\xeb\x6a"
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x206, 0x20f)
    image[0x211] = 1  # loadflags: LOADED_HIGH
    struct.pack_into("<I", image, 0x214, 0x100000)  # code32_start
    struct.pack_into("<I", image, 0x22c, 0x7fffffff)  # initrd_addr_max
    struct.pack_into("<I", image, 0x230, 0x200000)  # kernel_alignment
    image[0x234] = 1  # relocatable
    struct.pack_into("<H", image, 0x236, 1)  # xloadflags: 64-bit entry
    struct.pack_into("<I", image, 0x238, 2047)  # cmdline_size
    struct.pack_into("<Q", image, 0x258, 0x1000000)  # pref_address
    struct.pack_into("<I", image, 0x260, 2 * MIB)  # init_size
    return bytes(image)


def files(folder):
    """The bad files, by name."""
    elf = bytearray(64)
    elf[0:7] = b"\x7fELF\x02\x01\x01"
    struct.pack_into("<HHIQQ", elf, 16, 2, 62, 1, 0x100000, 1 << 40)  # program headers far outside
    struct.pack_into("<HHH", elf, 52, 64, 56, 9)
    contents = {"empty": b"", "text": b"no kernel\n" * 1000, "short": bzimage(KIB, 0)[:600],
                "truncated": bzimage(64 * KIB, 8 * MIB), "whole": bzimage(64 * KIB, 63 * KIB),
                "bad.elf": bytes(elf), "big": bytes(40 * MIB), "odd.bin": bytes(1000)}
    paths = {}
    for name, content in contents.items():
        paths[name] = os.path.join(folder, name)
        with open(paths[name], "wb") as file:
            file.write(content)
    return paths


def check(emulator, arguments, words):
    """Runs with bad arguments; returns None, or what is wrong."""
    try:
        done = subprocess.run([emulator, "-nodefaults", "-display", "none", *arguments],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "no end"
    text = done.stderr.decode("utf-8", "replace")
    if done.returncode != 1:
        return f"exit status {done.returncode}: {text.strip()}"
    if not text.startswith(PREFIX) or text.count("\n") != 1:
        return f"not one line that starts with '{PREFIX}': {text!r}"
    missing = [word for word in words if word not in text]
    return f"no {missing} in: {text.strip()}" if missing else None


def cases(path, port):
    """(arguments, words that the sentence must hold)"""
    kernel = ["-accel", "tcg", "-kernel"]
    return [
        (kernel + ["/does/not/exist"], ["/does/not/exist", "No such file"]),
        (kernel + ["/"], ["'/'"]),
        (kernel + [path["empty"]], ["empty"]),
        (kernel + [path["text"]], ["text"]),
        (kernel + [path["short"]], ["short"]),
        (kernel + [path["truncated"]], ["truncated' is truncated"]),
        (kernel + [path["bad.elf"]], ["bad.elf"]),
        (kernel + [path["whole"], "-m", "32", "-initrd", path["big"]], ["big"]),
        (kernel + [path["whole"], "-initrd", "/does/not/exist"], ["/does/not/exist"]),
        (["-bios", "/does/not/exist"], ["/does/not/exist"]),
        (["-bios", path["odd.bin"]], ["odd.bin"]),
        (["-bios", path["empty"]], ["empty"]),
        (["-append", "x"], ["-append", "-kernel"]),
        (["-m", "0"], ["-m 0"]),
        (["-m", "1E"], ["-m 1E", "1T"]),
        (["-m", "lots"], ["lots"]),
        (["-M", "pcc"], ["'pcc'", "'pc'"]),
        (["-cpu", "qemu46"], ["'qemu46'", "'qemu64'"]),
        (["-cpu", "max,+sse22"], ["'sse22'", "'sse2'"]),
        (["-device", "isa-debug-exi"], ["'isa-debug-exit'"]),
        (["-device", "isa-debug-exit,iobas=1"], ["'iobas'", "'iobase'"]),
        (["-device", "isa-debug-exit,iobase=port"], ["iobase"]),
        (["-device", "isa-debugcon"], ["isa-debugcon", "chardev= is missing"]),
        (["-device", "isa-serial,chardev=nix"], ["isa-serial", "'nix'"]),
        (["-device", "isa-serial,index=4,chardev=nix"], ["isa-serial", "index"]),
        (["-serial", "null", "-chardev", "null,id=a", "-device", "isa-serial,index=0,chardev=a"],
         ["isa-serial", "0x3f8"]),
        (["-accel", "kmv"], ["'kmv'", "'kvm'"]),
        (["-accel", "kvm,device=/does/not/exist"],
         ["could not access /does/not/exist: No such file", "-accel tcg"]),
        (["-accel", "kvm,device=" + path["text"]], ["text", "does not answer as KVM", "-accel tcg"]),
        (["-accel", "kvm,kernel-irqchip=maybe"], ["maybe", "split"]),
        (["-kernl", "x"], ["-kernl", "-kernel"]),
        (["-kernel"], ["-kernel"]),
        (["-smp", "2,maxcpus=4"], ["-smp 2,maxcpus=4", "cpus=4"]),
        (["-smp", "2", "-accel", "tcg,check=interp"], ["check=interp", "-smp 1"]),
        (["-drive", "file=x"], ["-drive", "No such file"]),
        (["-d", "everything"], ["everything"]),
        (["-serial", "file:/does/not/exist"], ["/does/not/exist"]),
        (["-serial", "nonsense:"], ["nonsense:"]),
        (["-serial", f"tcp:127.0.0.1:{port},server=on,wait=off"],
         [str(port), "Address already in use"]),
    ]


def main():
    emulator, wrong = sys.argv[1], []
    with tempfile.TemporaryDirectory() as folder, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        all_cases = cases(files(folder), taken.getsockname()[1])
        for arguments, words in all_cases:
            if complaint := check(emulator, arguments, words):
                wrong.append(f"{' '.join(arguments)}: {complaint}")
    if wrong:
        raise Failure(f"{len(wrong)} of {len(all_cases)}:\n" + "\n".join(wrong))
    print(f"{len(all_cases)} refused")


run(main)
