#!/usr/bin/env python3
"""Debian's kernel with a disk: it finds the block device, reads the host's pattern, writes one that the host verifies.

Usage: disk_linux.py EMULATOR INTERFACE [MODE] [EMULATOR OPTION...]
INTERFACE: a row of INTERFACES; none: where the guest has to say that there is no disk. Those of machine microvm start the
cloud kernel by PVH, the others the generic one.
MODE: pattern (the default); ext4 (mkfs, 500 MiB with checksums, remount, verify, discard, the image shrinks);
root (an ext4 file system made by the host is the root file system); copy-on-read (what the guest reads of a backing file is in the
image afterwards); encrypted (pattern, on an encrypted qcow2 image over an encrypted backing file)
"""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile

from guest import Emulator, Failure, Skip, disk_guest, material, need_drives, run

SECONDS = 180
FULL_SECONDS = 1500
MIB = 1 << 20

# The devices, and the block device in the guest.
INTERFACES = {
    "ide": (["-device", "ide-hd,drive=d"], "sda"),
    "nvme": (["-device", "nvme,serial=n1,drive=d"], "nvme0n1"),
    "virtio-blk": (["-device", "virtio-blk-pci,drive=d"], "vda"),
    "virtio-scsi": (["-device", "virtio-scsi-pci,id=s", "-device", "scsi-hd,bus=s.0,drive=d"], "sda"),
    "virtio-legacy": (["-device", "virtio-blk-pci,drive=d,disable-modern=on,vectors=0"], "vda"),
    "virtio-packed": (["-device", "virtio-blk-pci,drive=d,packed=on,num-queues=2,disable-legacy=on"], "vda"),
    "virtio-iothread": (["-object", "iothread,id=io", "-device", "virtio-blk-pci,drive=d,iothread=io"], "vda"),
    "virtio-legacy-msix": (["-device", "virtio-blk-pci,drive=d,disable-modern=on"], "vda"),
    "virtio-queues": (["-smp", "4", "-device", "virtio-blk-pci,drive=d,num-queues=4,queue-size=16"], "vda"),
    "virtio-packed-iothread": (["-smp", "4", "-object", "iothread,id=io", "-device",
                                "virtio-blk-pci,drive=d,packed=on,num-queues=4,queue-size=512,iothread=io"], "vda"),
    "none": ([], "sda"),
    "microvm-blk": (["-device", "virtio-blk-device,drive=d"], "vda"),
    "microvm-packed": (["-global", "virtio-mmio.force-legacy=off", "-device", "virtio-blk-device,drive=d,packed=on,num-queues=2"], "vda"),
    "microvm-scsi": (["-device", "virtio-scsi-device,id=s", "-device", "scsi-hd,bus=s.0,drive=d"], "sda"),
    "microvm-bare": (["-device", "virtio-blk-device,drive=d"], "vda"),
    "microvm-one-ioapic": (["-device", "virtio-blk-device,drive=d,event_idx=off"], "vda"),
    "microvm-none": ([], "vda"),
}
QUEUES = {"virtio-packed": 1, "virtio-queues": 4, "virtio-packed-iothread": 4}  # that the driver uses: at most one a CPU
MACHINES = {
    "microvm-bare": "microvm,pic=off,pit=off,rtc=off",
    "microvm-one-ioapic": "microvm,ioapic2=off",
}

LOAD = """
for module in $(cat /modules/order); do insmod /modules/$module 2>/dev/null; done
for i in $(seq 1 100); do [ -b /dev/DISK ] && break; sleep 0.1; done
if [ ! -b /dev/DISK ]; then echo "guest: there is no disk"; exit; fi
"""

# Reads the first MiB and the last; writes the first half of the second MiB.
PATTERN = LOAD + """
echo "guest: queues $(ls /sys/block/DISK/mq | wc -l)"
echo "guest: sectors $(cat /sys/block/DISK/size)"
echo "guest: first $(dd if=/dev/DISK bs=64k count=16 2>/dev/null | md5sum)"
echo "guest: last $(dd if=/dev/DISK bs=64k skip=BLOCKS count=16 2>/dev/null | md5sum)"
seq 1 100000 | head -c 524288 | dd of=/dev/DISK bs=64k seek=16 conv=notrunc 2>/dev/null && sync
dd if=/dev/DISK bs=64k skip=16 count=8 of=/tmp/read 2>/dev/null
echo "guest: written $(md5sum </tmp/read)"
"""

EXT4 = LOAD + """
/sbin/mke2fs -q -F -t ext4 -E nodiscard /dev/DISK && mkdir -p /mnt && mount -t ext4 /dev/DISK /mnt && echo "guest: mounted"
dd if=/dev/urandom of=/tmp/seed bs=1M count=5 2>/dev/null
for i in $(seq 1 100); do { echo $i; cat /tmp/seed; } >/mnt/file$i; done
cd /mnt && md5sum file* >/tmp/sums && cd / && sync && umount /mnt && echo "guest: wrote $(wc -l </tmp/sums) files"
echo 3 >/proc/sys/vm/drop_caches
mount -t ext4 /dev/DISK /mnt && cd /mnt && md5sum -c /tmp/sums >/tmp/result 2>&1; grep -vc ': OK$' /tmp/result
echo "guest: verified $(grep -c ': OK$' /tmp/result)"
cp file1 kept; echo "guest: kept $(md5sum <kept)"
rm -f file*; cd /; sync; fstrim /mnt && echo "guest: trimmed"
umount /mnt && sync
"""

# Loads the drivers, then goes on in the disk's file system.
ROOT = LOAD + """
mkdir -p /newroot && mount -t ext4 -o rw /dev/DISK /newroot && echo "guest: switching"
mount -t devtmpfs dev /newroot/dev
exec chroot /newroot /bin/busybox sh /sbin/in-root
"""
IN_ROOT = """
/bin/busybox mount -t proc proc /proc
echo "guest: root is $(/bin/busybox awk '$2 == "/" && $3 == "ext4" {print $1, $3}' /proc/mounts | /bin/busybox tail -n 1)"
echo "guest: says $(/bin/busybox cat /etc/motd)"
echo from-the-guest >/root/written
/bin/busybox sync
/bin/busybox mount -o remount,ro / && echo "guest: clean"
/bin/busybox poweroff -f
"""


class Bench:
    """One guest with one disk."""

    def __init__(self, emulator, interface, options, folder):
        self.emulator, self.options, self.folder = emulator, options, folder
        self.devices, self.disk = INTERFACES[interface]
        self.queues = QUEUES.get(interface, "\\d+")
        self.cloud = interface.startswith("microvm")
        self.machine = MACHINES.get(interface, "microvm" if self.cloud else "pc")
        # Without a PM timer a kernel has but the 8254 to measure its TSC with, which fails on a busy host.
        self.clock = "tsc_early_khz=1000000" if self.cloud else ""
        self.image, self.drive, self.objects = os.path.join(folder, "disk.img"), "format=raw", []

    def guest(self, script, seconds, extra=(), ram="256"):
        """Starts a guest that runs the script and powers off."""
        initrd = os.path.join(self.folder, "initrd")
        kernel = disk_guest(initrd, script.replace("DISK", self.disk), *extra, cloud=self.cloud)
        drive = ["-drive", f"file={self.image},{self.drive},if=none,id=d,discard=unmap"] if self.devices else []
        self.seconds = seconds
        return Emulator(self.emulator, "-M", self.machine, "-m", ram, "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio",
                        *(self.options or ["-accel", "tcg", "-cpu", "max"]),
                        "-kernel", kernel, "-initrd", initrd,
                        "-append", f"console=ttyS0 quiet no_timer_check {self.clock} rhea.run=sh,/test.sh", *self.objects, *drive, *self.devices)


def expected_write():
    """What the guest's `seq 1 100000 | head -c 524288` gives."""
    return "".join(f"{n}\n" for n in range(1, 100001)).encode()[:524288]


def none(bench):
    with bench.guest(PATTERN, SECONDS) as guest:
        guest.expect("guest: there is no disk", SECONDS)
        guest.expect_status(0, SECONDS)
    if "guest: sectors" in guest.console:
        raise Failure("the guest found a disk that is not there")


def pattern(bench):
    content = bytearray(random.Random(7).randbytes(8 * MIB + 512))  # no multiple of a page
    with open(bench.image, "wb") as file:
        file.write(content)
    read_and_write(bench, content)
    with open(bench.image, "rb") as file:
        if file.read() != content:
            raise Failure("the image does not hold what the guest wrote, or more than that has changed")


def read_and_write(bench, content):
    """The guest reads `content` and writes; `content` is then what the disk must hold."""
    blocks = (len(content) - MIB) // 65536
    with bench.guest(PATTERN.replace("BLOCKS", str(blocks)), SECONDS) as guest:
        guest.expect(f"guest: sectors {len(content) // 512}\n", SECONDS)
        guest.expect("guest: first " + hashlib.md5(content[:MIB]).hexdigest(), SECONDS)
        guest.expect("guest: last " + hashlib.md5(content[blocks * 65536:blocks * 65536 + MIB]).hexdigest(), SECONDS)
        guest.expect("guest: written " + hashlib.md5(expected_write()).hexdigest(), SECONDS)
        guest.expect_status(0, SECONDS)
    content[MIB:MIB + 524288] = expected_write()


def encrypted(bench):
    rhea_img = os.path.join(os.path.dirname(os.path.abspath(bench.emulator)), "rhea-img")
    base, plain, back = (os.path.join(bench.folder, name) for name in ("base.luks", "plain.img", "back.img"))
    bench.image = os.path.join(bench.folder, "top.qcow2")
    bench.objects = ["-object", "secret,id=top,data=open sesame", "-object", "secret,id=base,data=below"]
    bench.drive = "format=qcow2,encrypt.key-secret=top,backing.key-secret=base"
    secrets = [word.replace("-object", "--object") for word in bench.objects]

    def tool(program, command, *arguments):
        subprocess.run([program, command, *secrets, *arguments], check=True)

    content = bytearray(random.Random(9).randbytes(8 * MIB + 512))
    with open(plain, "wb") as file:
        file.write(content)
    tool(rhea_img, "convert", "-f", "raw", "-O", "luks", "-o", "key-secret=base,iter-time=10", plain, base)
    tool(rhea_img, "create", "-q", "-f", "qcow2", "-o", "encrypt.format=luks,encrypt.key-secret=top,encrypt.iter-time=10", "-b", base, "-F", "luks",
         bench.image)
    with open(base, "rb") as file:
        below = file.read()
    read_and_write(bench, content)
    opened = f"driver=qcow2,file.filename={bench.image},encrypt.key-secret=top,backing.key-secret=base"
    for program in filter(None, (rhea_img, shutil.which("qemu-img"))):
        tool(program, "check", "-q", "--image-opts", opened)
        tool(program, "convert", "--image-opts", opened, "-O", "raw", back)
        with open(back, "rb") as file:
            if file.read() != content:
                raise Failure(f"{program} does not find in the image what the guest wrote")
    with open(base, "rb") as file:
        if file.read() != below:
            raise Failure("the backing file has changed")
    with open(bench.image, "rb") as file:
        if expected_write()[4096:4160] in file.read():
            raise Failure("the image has in the clear what the guest wrote")


def copy_on_read(bench):
    base, top = os.path.join(bench.folder, "base.img"), os.path.join(bench.folder, "top.qcow2")
    content = random.Random(8).randbytes(8 * MIB)
    with open(base, "wb") as file:
        file.write(content)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", top], check=True)
    bench.image, bench.drive = top, "format=qcow2,copy-on-read=on"
    with bench.guest(PATTERN.replace("BLOCKS", "112"), SECONDS) as guest:
        guest.expect("guest: first " + hashlib.md5(content[:MIB]).hexdigest(), SECONDS)
        guest.expect("guest: last " + hashlib.md5(content[7 * MIB:]).hexdigest(), SECONDS)
        guest.expect("guest: written " + hashlib.md5(expected_write()).hexdigest(), SECONDS)
        guest.expect_status(0, SECONDS)
    subprocess.run(["qemu-img", "check", "-q", top], check=True)
    # Without its backing file the image has what was read, and what was written.
    subprocess.run(["qemu-img", "rebase", "-u", "-b", "", top], check=True)
    subprocess.run(["qemu-img", "convert", "-O", "raw", top, bench.folder + "/alone.img"], check=True)
    with open(bench.folder + "/alone.img", "rb") as file:
        alone = file.read()
    for what, start, expected in (("the first MiB", 0, content[:MIB]), ("the guest's", MIB, expected_write()), ("the last MiB", 7 * MIB, content[7 * MIB:])):
        if alone[start:start + len(expected)] != expected:
            raise Failure(f"{what} is not in the image")
    if alone[4 * MIB:5 * MIB] != bytes(MIB):
        raise Failure("what nobody read is in the image")


def ext4(bench):
    with open(bench.image, "wb") as file:
        file.truncate(1024 * MIB)
    with bench.guest(EXT4, FULL_SECONDS, extra=("e2fsprogs",), ram="768") as guest:
        guest.expect("guest: mounted", FULL_SECONDS)
        guest.expect("guest: wrote 100 files", FULL_SECONDS)
        before = os.stat(bench.image).st_blocks * 512
        guest.expect("guest: verified 100\n", FULL_SECONDS)
        kept = guest.expect("guest: kept (\\w+)", FULL_SECONDS).group(1)
        guest.expect("guest: trimmed", FULL_SECONDS)
        guest.expect_status(0, FULL_SECONDS)
    after = os.stat(bench.image).st_blocks * 512
    print(f"image: {before // MIB} MiB with the files, {after // MIB} MiB after the discard")
    if before < 500 * MIB:
        raise Failure(f"500 MiB were synced, and the image takes {before // MIB} MiB")
    if after > before // 4:
        raise Failure("the discard did not make the image smaller")
    check_file_system(bench.image)
    if hashlib.md5(host_reads(bench.image, "/kept")).hexdigest() != kept:
        raise Failure("the host reads another file than the guest has left")


def host_reads(image, path):
    """The bytes of a file in an ext4 image."""
    return subprocess.run(["debugfs", "-R", f"cat {path}", image], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout


def check_file_system(image):
    done = subprocess.run(["e2fsck", "-fn", image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise Failure("e2fsck finds fault with the image: " + done.stdout)


def root(bench):
    tree = os.path.join(bench.folder, "tree")
    for name in ("bin", "sbin", "dev", "proc", "sys", "etc", "root", "tmp"):
        os.makedirs(os.path.join(tree, name))
    cpio = subprocess.run(f"zcat {material('initramfs')}/initramfs.cpio.gz | cpio -i --quiet --to-stdout bin/busybox", shell=True,
                          stdout=subprocess.PIPE, check=True).stdout
    for name, data, mode in (("bin/busybox", cpio, 0o755), ("sbin/in-root", IN_ROOT.encode(), 0o755),
                             ("etc/motd", b"an ext4 root\n", 0o644)):
        with open(os.path.join(tree, name), "wb") as file:
            file.write(data)
        os.chmod(os.path.join(tree, name), mode)
    done = subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, bench.image, "64M"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise Failure("mke2fs: " + done.stdout)
    with bench.guest(ROOT, SECONDS) as guest:
        guest.expect("guest: root is /dev/", SECONDS)
        guest.expect("guest: says an ext4 root", SECONDS)
        guest.expect("guest: clean", SECONDS)
        guest.expect_status(0, SECONDS)
    check_file_system(bench.image)
    read = host_reads(bench.image, "/root/written").decode("utf-8", "replace")
    if read != "from-the-guest\n":
        raise Failure(f"the guest's file in the image says {read!r}")


def main():
    emulator, interface, *rest = sys.argv[1:]
    modes = {"pattern": pattern, "ext4": ext4, "root": root, "copy-on-read": copy_on_read, "encrypted": encrypted}
    mode = modes[rest.pop(0)] if rest and rest[0] in modes else pattern
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for tool, package, modes_with_it in (("mke2fs", "e2fsprogs", (ext4, root)), ("qemu-img", "qemu-utils", (copy_on_read,))):
        if mode in modes_with_it and not shutil.which(tool):
            raise Skip(f"{tool} (Debian package {package}) is not installed")
    words = INTERFACES[interface][0]
    need_drives(emulator, *(value.split(",")[0] for option, value in zip(words[::2], words[1::2]) if option == "-device"))
    with tempfile.TemporaryDirectory(prefix="rhea-disk-") as folder:
        (none if interface.endswith("none") else mode)(Bench(emulator, interface, rest, folder))


run(main)
