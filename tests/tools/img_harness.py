"""What the tests of rhea-img share: running it and qemu-img, images with patterns, collecting failures."""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PATIENCE = 240  # seconds; an upper bound, not something that is measured
SKIP = 77
MIB = 1 << 20


class Tools:
    """Both programs, a folder for images, and the failures so far."""

    def __init__(self, rhea_img, need_qemu=False):
        self.rhea_img = os.path.abspath(rhea_img)
        self.qemu_img = shutil.which("qemu-img")
        if need_qemu and not self.qemu_img:
            print("qemu-img is not installed (Debian package qemu-utils)")
            sys.exit(SKIP)
        self.folder = Path(tempfile.mkdtemp(prefix="rhea-img-"))
        self.failures = []
        self.checks = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def check(self, condition, message):
        self.checks += 1
        if not condition:
            self.failures.append(message)
            print("FAILED: " + message, flush=True)
        return condition

    def finish(self):
        print(f"{self.checks} checks, {len(self.failures)} failures")
        sys.exit(1 if self.failures or not self.checks else 0)

    def path(self, name):
        return str(self.folder / name)

    def _run(self, program, arguments):
        done = subprocess.run([program, *map(str, arguments)], cwd=self.folder, timeout=PATIENCE, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True)
        return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")

    def rhea(self, *arguments):
        return self._run(self.rhea_img, arguments)

    def qemu(self, *arguments):
        return self._run(self.qemu_img, arguments)

    def rhea_ok(self, *arguments, status=0):
        """Runs rhea-img and expects `status`; its standard output."""
        code, out, err = self.rhea(*arguments)
        self.check(code == status, f"rhea-img {' '.join(map(str, arguments))}: status {code}, not {status}: {err.strip()}")
        return out

    def qemu_ok(self, *arguments, status=0):
        code, out, err = self.qemu(*arguments)
        self.check(code == status, f"qemu-img {' '.join(map(str, arguments))}: status {code}, not {status}: {err.strip()}")
        return out

    def wait_until_free(self, image):
        """`check`, as soon as nobody has the image: the host ends a killed process's requests, and with them its locks, a moment
        after the process itself."""
        deadline = time.monotonic() + 20
        while True:
            code, out, err = self.rhea("check", "-f", "qcow2", image)
            if "is in use" not in err or time.monotonic() > deadline:
                return code, out, err
            time.sleep(0.05)

    def refused(self, arguments, *patterns):
        """rhea-img says one sentence that has every pattern, and status 1."""
        code, out, err = self.rhea(*arguments)
        shown = "rhea-img " + " ".join(map(str, arguments))
        self.check(code == 1, f"{shown}: status {code}, not 1")
        lines = err.splitlines()
        self.check(len(lines) == 1 and lines[0].startswith("rhea-img: "), f"{shown}: not one sentence: {err!r} {out!r}")
        for pattern in patterns:
            self.check(pattern in err, f"{shown}: no {pattern!r} in {err!r}")

    def info(self, image, program=None, *options):
        run = self.rhea_ok if program != "qemu" else self.qemu_ok
        text = run("info", "--output=json", *options, image)
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            self.check(False, f"info of {image}: no JSON: {error}: {text!r}")
            return {}

    def same_bytes(self, one, other):
        """Are two raw files equal?"""
        code = subprocess.run(["cmp", "-s", self.path(one), self.path(other)], check=False).returncode
        return self.check(code == 0, f"{one} and {other} differ")


def write_pattern(path, size, seed, fill=0.5):
    """A sparse raw file: stretches of noise, of text that compresses, of zeroes, and holes."""
    rng = random.Random(seed)
    with open(path, "wb") as file:
        file.truncate(size)
        at = 0
        while at < size:
            length = min(size - at, rng.choice([512, 4096, 12288, 65536, 100 * 1024, 512 * 1024]))
            kind = rng.random()
            file.seek(at)
            if kind < fill * 0.5:
                file.write(rng.randbytes(length))
            elif kind < fill * 0.85:
                line = b"%08d the same words again and again\n" % rng.randrange(10 ** 8)
                file.write((line * (length // len(line) + 1))[:length])
            elif kind < fill:
                file.write(bytes(length))
            at += length
