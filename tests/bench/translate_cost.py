#!/usr/bin/env python3
"""What translating costs, as a number that is the same on a busy machine: host instructions spent on one guest
instruction by decoder, passes and code generator, counted by callgrind over the beginning of a kernel's text.

Usage: translate_cost.py TRANSLATE     TRANSLATE is the program of translate_main.cc

Fails above LIMIT. Who makes translating cheaper lowers it; docs/translator.md, "What translating costs".
"""

import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "boot"))
from guest import Failure, Skip, material, run  # noqa: E402

LIMIT = 4700
BYTES = 120000
COUNTED = ["rhea::target::x86::test::TestCpu::translate*", "rhea::tcg::passes::run*", "*X64Generator::compile*"]


def main():
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise Skip("valgrind is not installed")
    kernel = os.path.join(material("cloud-kernel"), "cloud-vmlinux")
    command = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null",
               *[f"--toggle-collect={name}" for name in COUNTED],
               sys.argv[1], "--file", kernel, "--limit", str(BYTES)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    if "no native code" in done.stdout:  # valgrind's CPU may lack what generated code needs
        raise Skip(done.stdout.strip().splitlines()[-1])
    insns = re.search(r"(\d+) guest instructions", done.stdout)
    collected = re.search(r"Collected : (\d+)", done.stdout)
    if done.returncode != 0 or not insns or not collected:
        raise Failure(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    cost = int(collected.group(1)) / int(insns.group(1))
    print(f"{cost:.0f} host instructions a guest instruction, at most {LIMIT}")
    if not LIMIT / 3 < cost <= LIMIT:
        raise Failure(f"translating one guest instruction takes {cost:.0f} host instructions; "
                      f"between {LIMIT // 3} and {LIMIT} are expected")


run(main)
