#!/usr/bin/env python3
"""Completion for bash offers what the programs have.

Usage: completion.py COMPLETION_FILE RHEA_SYSTEM RHEA_IMG RHEA_NBD
"""

import os
import shutil
import subprocess
import sys

failures = []


def complete(script, function, program, *words):
    """What bash would offer for the last of the words."""
    text = f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); {function}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", text, "bash", program, *words], capture_output=True, text=True, timeout=60, check=False)
    if done.stderr:
        failures.append(f"{words}: {done.stderr}")
    return done.stdout.split()


def expect(offered, *wanted):
    for word in wanted:
        if word not in offered:
            failures.append(f"no {word!r} among {offered}")


def main():
    if not shutil.which("bash"):
        print("bash is not installed")
        sys.exit(77)
    script, system, img, nbd = (os.path.abspath(path) for path in sys.argv[1:5])
    expect(complete(script, "_rhea_system", system, "-mach"), "-machine")
    expect(complete(script, "_rhea_system", system, "-M", "p"), "pc", "pc-i440fx-1.0")
    expect(complete(script, "_rhea_system", system, "-cpu", "Sky"), "Skylake-Client")
    expect(complete(script, "_rhea_system", system, "-accel", ""), "kvm", "tcg")
    expect(complete(script, "_rhea_system", system, "-device", "isa-"), "isa-serial")
    expect(complete(script, "_rhea_img", img, "con"), "convert")
    expect(complete(script, "_rhea_img", img, "create", "-f", "q"), "qcow2")
    expect(complete(script, "_rhea_img", img, "info", "--"), "--output", "--backing-chain", "--help")
    expect(complete(script, "_rhea_img", img, "convert", "-"), "-O", "-c", "-W")
    expect(complete(script, "_rhea_nbd", nbd, "--exp"), "--export-name")
    for failure in failures:
        print("FAILED: " + failure)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
