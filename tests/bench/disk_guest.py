"""The guest of tests/guests/disk: Linux whose first process puts a load on a virtio disk. Used by tests/bench/block and by
tests/tools/guest_crash.py."""

import os

import measure

SOURCES = os.path.join(measure.ROOT, "tests", "guests", "disk")


def build(folder):
    """The guest's program, compiled into a folder."""
    files = sorted(os.path.join(SOURCES, name) for name in os.listdir(SOURCES))
    return measure.compile_program(os.path.join(folder, "disk"), [name for name in files if name.endswith(".c")], files)


def archive(folder):
    """Makes the initial RAM disk in a folder: (kernel, archive), paths."""
    program = build(measure.BUILD)
    where = measure.material("cloud-kernel", "cloud-modules")
    path = os.path.join(folder, "disk.cpio")
    with open(program, "rb") as init, open(os.path.join(where, "cloud-modules.cpio.gz"), "rb") as modules, open(path, "wb") as out:
        first = measure.initramfs({"init": init.read()})
        out.write(first + bytes(-len(first) % 4) + modules.read())
    return os.path.join(where, "cloud-vmlinux"), path


def drive(image, form, more=""):
    """Options for a disk at this file."""
    return ["-drive", f"file={image},format={form},if=none,id=d{more}", "-device", "virtio-blk-pci,drive=d"]


class DiskGuest(measure.Guest):
    """Runs loads on a disk, by the names in tests/guests/disk/loads.c."""

    def __init__(self, emulator, material, cpu, scale, seconds, disk, accel="tcg"):
        super().__init__(emulator, *material, cpu, scale, seconds)
        self._disk, self._accel = disk, accel

    def command(self, names):
        words = super().command(names)
        words[words.index("-accel") + 1] = self._accel
        return [*words, *self._disk]
