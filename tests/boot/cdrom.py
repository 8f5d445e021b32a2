#!/usr/bin/env python3
"""CD-ROM drives: SeaBIOS starts isolinux from one, Linux reads the disc, media come and go by the monitor.

Usage: cdrom.py EMULATOR MODE [EMULATOR OPTION...]
MODE: boot (-cdrom FILE -boot d: an El Torito disc with isolinux and Debian's kernel, which reads its own disc);
change (an empty drive, change, a locked tray, eject)
"""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile

from guest import Emulator, Failure, Monitor, disk_guest, material, need_drives, run

SECONDS = 400
MIB = 1 << 20

LOAD = """
for module in $(cat /modules/order); do insmod /modules/$module 2>/dev/null; done
for i in $(seq 1 100); do [ -b /dev/sr0 ] && break; sleep 0.1; done
[ -b /dev/sr0 ] || { echo "guest: there is no CD-ROM drive"; exit; }
"""

BOOT = LOAD + """
echo "guest: blocks $(($(cat /sys/block/sr0/size) / 4))"
echo "guest: disc $(dd if=/dev/sr0 bs=64k 2>/dev/null | md5sum)"
mkdir -p /cd && mount -t iso9660 -o ro /dev/sr0 /cd && echo "guest: file $(md5sum </cd/pattern)"
umount /cd
"""

# Each disc is read whole; "gone" is said once between two.
CHANGE = LOAD + """
dd if=/dev/sr0 of=/tmp/disc bs=2k count=1 2>&1 | grep -q 'No medium' && echo "guest: empty"
while true; do
    until dd if=/dev/sr0 of=/tmp/disc bs=64k 2>/dev/null; do sleep 0.2; done
    echo "guest: read $(md5sum </tmp/disc)"
    exec 3</dev/sr0
    echo "guest: holds"
    while dd if=/dev/sr0 of=/dev/null bs=2k count=1 iflag=direct 2>/dev/null; do sleep 0.2; done
    exec 3<&-
    echo "guest: gone"
done
"""


def common(emulator, options, *arguments):
    return Emulator(emulator, "-M", "pc", "-m", "256", "-display", "none", "-no-reboot", "-nodefaults", "-serial", "stdio",
                    *(options or ["-accel", "tcg", "-cpu", "max"]), *arguments)


def make_iso(folder):
    """An El Torito disc; returns its path and the pattern in it."""
    tools = os.path.join(material("iso-tools", "seabios"), "iso-tools")
    tree = os.path.join(folder, "tree")
    os.makedirs(os.path.join(tree, "isolinux"))
    for name in ("isolinux.bin", "ldlinux.c32"):
        shutil.copy(os.path.join(tools, name), os.path.join(tree, "isolinux"))
    shutil.copy(disk_guest(os.path.join(tree, "initrd"), BOOT), os.path.join(tree, "linux"))
    with open(os.path.join(tree, "isolinux", "isolinux.cfg"), "w", encoding="ascii") as file:
        file.write("SERIAL 0 115200\nDEFAULT linux\nLABEL linux\n  KERNEL /linux\n"
                   "  APPEND initrd=/initrd console=ttyS0 quiet no_timer_check rhea.run=sh,/test.sh\n")
    pattern = random.Random(11).randbytes(3 * MIB + 77)
    with open(os.path.join(tree, "pattern"), "wb") as file:
        file.write(pattern)
    image = os.path.join(folder, "disc.iso")
    done = subprocess.run([os.path.join(tools, "genisoimage"), "-quiet", "-R", "-o", image, "-b", "isolinux/isolinux.bin", "-c",
                           "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", tree],
                          env={**os.environ, "LD_LIBRARY_PATH": os.path.join(tools, "lib")}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise Failure("genisoimage: " + done.stdout)
    return image, pattern


def boot(emulator, options, folder):
    image, pattern = make_iso(folder)
    with open(image, "rb") as file:
        disc = file.read()
    bios = os.path.join(material("seabios"), "bios-256k.bin")
    with common(emulator, options, "-bios", bios, "-cdrom", image, "-boot", "d") as guest:
        guest.expect("ISOLINUX", SECONDS)
        guest.expect(f"guest: blocks {len(disc) // 2048}\n", SECONDS)
        guest.expect("guest: disc " + hashlib.md5(disc).hexdigest(), SECONDS)
        guest.expect("guest: file " + hashlib.md5(pattern).hexdigest(), SECONDS)
        guest.expect_status(0, SECONDS)


def change(emulator, options, folder):
    initrd, path = os.path.join(folder, "initrd"), os.path.join(folder, "monitor")
    kernel = disk_guest(initrd, CHANGE)
    discs = []
    for number in range(3):
        discs.append(os.path.join(folder, f"disc{number}"))
        with open(discs[-1], "wb") as file:
            file.write(random.Random(number).randbytes((number + 2) * MIB))
    sums = []
    for disc in discs:
        with open(disc, "rb") as file:
            sums.append(hashlib.md5(file.read()).hexdigest())
    with common(emulator, options, "-kernel", kernel, "-initrd", initrd, "-append",
                "console=ttyS0 quiet no_timer_check rhea.run=sh,/test.sh", "-drive", "if=ide,index=2,media=cdrom",
                "-monitor", f"unix:{path},server=on,wait=off") as guest:
        monitor = Monitor(path)

        def expect_answer(line, text):
            answer = monitor.command(line)
            if text not in answer:
                raise Failure(f"{line}: {answer!r}, not '{text}'")

        expect_answer("info block", "ide1-cd0: [not inserted]")
        guest.expect("guest: empty", SECONDS)
        monitor.command(f"change ide1-cd0 {discs[0]} raw")
        guest.expect("guest: read " + sums[0], SECONDS)
        guest.expect("guest: holds", SECONDS)
        expect_answer("info block", "Removable device: locked, tray closed")
        expect_answer("eject ide1-cd0", "is locked")
        expect_answer(f"change ide1-cd0 {discs[1]} raw", "is locked")
        monitor.command("eject -f ide1-cd0")
        guest.expect("guest: gone", SECONDS)
        expect_answer("info block", "ide1-cd0: [not inserted]")
        monitor.command(f"change ide1-cd0 {discs[1]} raw")
        guest.expect("guest: read " + sums[1], SECONDS)
        guest.expect("guest: holds", SECONDS)
        monitor.command("eject -f ide1-cd0")
        guest.expect("guest: gone", SECONDS)
        monitor.command(f"change ide1-cd0 {discs[2]} raw")
        guest.expect("guest: read " + sums[2], SECONDS)


def main():
    emulator, mode, *options = sys.argv[1:]
    need_drives(emulator, "ide-cd")
    with tempfile.TemporaryDirectory(prefix="rhea-cdrom-") as folder:
        {"boot": boot, "change": change}[mode](emulator, options, folder)


run(main)
