#!/usr/bin/env python3
"""Drives of the command line and the monitor's commands about them, on a machine without a guest."""

import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import Conversation, Suite  # noqa: E402

PROMPT = r"\(qemu\) "


def ask(talk, line, pattern=""):
    talk.send(line + "\n")
    match = talk.expect(pattern)
    talk.expect(PROMPT)
    return match


def check_refusals(suite, folder):
    refused = suite.refused
    disk = folder / "disk.img"
    none = ["-M", "none"]
    refused([*none, "-drive", f"file={folder}/absent,if=none"], "absent", "No such file or directory")
    refused([*none, "-hda", f"{folder}/absent"], "absent", "No such file or directory")
    refused([*none, "-hda", str(disk)], "none", "no place for drive 'ide0-hd0'")
    refused([*none, "-drive", f"file={disk},if=none,fromat=raw"], "fromat")
    refused([*none, "-drive", f"file={disk},if=none,format=rav"], "rav", "did you mean 'raw'")
    refused([*none, "-drive", f"file={disk},if=vitrio"], "did you mean if=virtio")
    refused([*none, "-drive", f"file={disk},if=none,id=d", "-drive", f"file={disk},if=none,id=d,readonly=on"], "in use|already")
    refused([*none, "-drive", f"file={disk},if=none,id=a", "-drive", f"file={disk},if=none,id=b"], "in use by another")
    refused([*none, "-blockdev", f"driver=file,filename={disk}"], "-blockdev", "node-name")
    refused([*none, "-blockdev", f"driver=fiel,node-name=n,filename={disk}"], "did you mean 'file'")
    refused([*none, "-blockdev", '{"driver":"file",'], "-blockdev", "JSON")
    refused([*none, "-object", "iothreda,id=x"], "-object", "did you mean 'iothread'")
    refused([*none, "-object", "iothread,id=x", "-object", "iothread,id=x"], "already an object 'x'")
    refused([*none, "-object", "secret,id=x"], "-object", "data= or file=")
    refused([*none, "-object", "secret,id=x,data=a", "-object", "secret,id=x,data=b"], "already an object 'x'")
    refused([*none, "-object", "secret,id=x,data=a", "-drive", f"file={disk},if=none,format=qcow2,encrypt.key-secret=x"], "qcow2")
    refused([*none, "-object", "throttle-group,id=x,x-bps-totl=3"], "x-bps-totl", "did you mean")


def check_help(suite):
    for arguments, word in ((["-drive", "help"], "detect-zeroes"), (["-drive", "format=help"], "Supported formats: raw"),
                            (["-blockdev", "help"], "raw"), (["-blockdev", "driver=raw,help"], "offset=<size>"),
                            (["-object", "help"], "iothread"), (["-object", "help"], "secret")):
        status, out, _ = suite.run(*arguments)
        suite.check(status == 0 and word in out, f"{arguments}: status {status}, says {out!r}")


def check_monitor(suite, folder):
    disk, other = folder / "disk.img", folder / "other.img"
    talk = Conversation([suite.binary, "-M", "none", "-monitor", "stdio", "-object", "iothread,id=io7",
                         "-drive", f"file={disk},if=none,id=d0,format=raw,cache=none,throttling.iops-total=500",
                         "-drive", "if=none,id=tray,media=cdrom",
                         "-blockdev", json.dumps({"driver": "raw", "node-name": "top", "read-only": True,
                                                  "file": {"driver": "file", "filename": str(other)}})])
    talk.expect(PROMPT)
    ask(talk, "info block", rf"d0 \(#block\d+\): {disk} \(raw\)\r\n    Cache mode:       writeback, direct\r\n"
        r"    I/O throttling:   bps=0 bps_rd=0 bps_wr=0 iops=500 iops_rd=0 iops_wr=0\r\n\r\ntray: \[not inserted\]")
    ask(talk, "info block -v d0", "virtual size: 1048576 bytes")
    ask(talk, "info block d1", "there is no drive 'd1'; did you mean 'd0'")
    ask(talk, "info blockstats", "d0: rd_bytes=0 rd_operations=0")
    ask(talk, "info iothreads", r"io7:\r\n  thread_id=\d+")
    ask(talk, "block_resize d0 2M")
    suite.check(disk.stat().st_size == 2 << 20, f"block_resize left {disk.stat().st_size} bytes")
    ask(talk, "block_resize tray 2M", "has no medium")
    ask(talk, "block_set_io_throttle d0 0 0 0 0 0 0")
    ask(talk, "block_set_io_throttle d0 1 1 0 0 0 0", "cannot be used together")
    ask(talk, "eject d0", "not removable")
    ask(talk, "commit d0", "no backing file")
    ask(talk, "commit all")
    ask(talk, f"drive_add 0 file={other},if=none,id=d9,readonly=on", "OK")
    ask(talk, f"drive_add 0 file={other},if=ide", "needs if=none")
    ask(talk, "info block d9", r"other.img \(raw, read-only\)")
    ask(talk, "drive_del d9")
    ask(talk, "drive_del d9", "there is no drive 'd9'")
    ask(talk, "stop")
    ask(talk, "c")
    talk.send("quit\n")
    suite.check(talk.wait() == 0, "quit with drives")


def check_overlays(suite, folder):
    disk = folder / "disk.img"
    before = disk.stat()
    environment = dict(os.environ, TMPDIR=str(folder))
    talk = Conversation([suite.binary, "-M", "none", "-monitor", "stdio", "-snapshot",
                         "-drive", f"file={disk},if=none,id=d0,format=raw"], env=environment)
    talk.expect(PROMPT)
    suite.check(not list(folder.glob("rhea-snapshot-*")), "the temporary overlay has a name")
    ask(talk, "info block", rf"\(qcow2\)\r\n    Cache mode:       writeback, ignore flushes\r\n"
        rf"    Backing file:     {disk} \(chain depth: 1\)")
    ask(talk, "commit d0")
    new = folder / "new.qcow2"
    ask(talk, f"snapshot_blkdev d0 {new}")
    ask(talk, "info block", rf"{new} \(qcow2\)(.*\r\n)+.*chain depth: 2")
    ask(talk, "commit all")
    talk.send("quit\n")
    suite.check(talk.wait() == 0, "quit with overlays")
    suite.check((disk.stat().st_size, disk.read_bytes()[:512]) == (before.st_size, b"\xab" * 512), "the image changed")


def check_interfaces(suite, folder):
    """Each drive that the command line places gets its one device."""
    disk, other = folder / "disk.img", folder / "other.img"
    talk = Conversation([suite.binary, "-M", "pc", "-S", "-display", "none", "-serial", "null", "-monitor", "stdio",
                         "-drive", f"file={disk},format=raw,if=virtio", "-hdb", str(other)])
    talk.expect(PROMPT)
    tree = ask(talk, "info qtree", r"(?s)dev: .*?(?=\(qemu\))")[0]
    suite.check(tree.count("drive = virtio0\r") == 1 == tree.count("dev: virtio-blk-pci"), f"virtio disk: {tree}")
    suite.check(tree.count("drive = ide0-hd1\r") == 1 == tree.count("dev: ide-hd"), f"IDE disk: {tree}")
    ask(talk, "info block virtio0", f"{disk}")
    talk.send("quit\n")
    suite.check(talk.wait() == 0, "quit with an IDE and a virtio disk")
    suite.refused(["-drive", f"file={disk},format=raw,if=virtio,media=cdrom"], "CD-ROM drives with if=virtio", "scsi-cd")


def check_run_time(suite, folder):
    """Media of a CD-ROM drive, devices that come, drives that go, on a machine that has not started yet."""
    disk, other = folder / "disk.img", folder / "other.img"
    talk = Conversation([suite.binary, "-M", "pc", "-S", "-display", "none", "-serial", "null", "-monitor", "stdio", "-nodefaults",
                         "-cdrom", str(disk), "-device", "virtio-scsi-pci,id=s"])
    talk.expect(PROMPT)
    ask(talk, "info block", rf"ide1-cd0 \(#block\d+\): {disk} \(raw, read-only\)\r\n    Attached to:      ide.1/0\r\n"
        r"    Removable device: not locked, tray closed")
    ask(talk, "eject ide1-cd0")
    ask(talk, "info block", r"ide1-cd0: \[not inserted\]\r\n(.*\r\n)    Removable device: not locked, tray open")
    ask(talk, f"change ide1-cd0 {other} raw")
    ask(talk, "info block", rf"{other} \(raw, read-only\)(.*\r\n)+    Removable device: not locked, tray closed")
    for number, driver in enumerate(("virtio-blk-pci", "nvme,serial=n", "scsi-hd,bus=s.0")):
        ask(talk, f"drive_add 0 file={disk},if=none,id=d{number},format=raw,file.locking=off,readonly=on", "OK")
        ask(talk, f"device_add {driver},drive=d{number},id=dev{number}")
        ask(talk, "info qtree", f'id "dev{number}"')
        ask(talk, f"info block d{number}", f"Attached to:      dev{number}")
    ask(talk, "device_add virtio-blk-pci,drive=d0,id=again", "drive 'd0' has a device already")
    ask(talk, "device_add virtio-blk-pci,drive=d1,id=dev0", "there is a device 'dev0' already")
    ask(talk, "device_add nosuch", "not a device of this version")
    ask(talk, "device_add isa-debug-exit", "cannot be plugged")
    ask(talk, "device_add virtio-blk-pci,drive=d0,bootindex=1", "boot order is fixed")
    ask(talk, "device_add nvme,help", "mdts=<")
    ask(talk, "device_del dev2")
    ask(talk, "info block d2", "there is no drive 'd2'")
    ask(talk, "device_del dev0")
    ask(talk, "device_del dev0", "is being removed already")
    ask(talk, "device_del pci/01.3", "is part of the machine")
    ask(talk, "device_del ide.1/0", "cannot be unplugged")
    ask(talk, "drive_del d1")
    ask(talk, "info block d1", "there is no drive 'd1'")
    ask(talk, "system_reset")
    # What the guest was asked for goes with a reset.
    for _ in range(500):
        if "Attached" not in ask(talk, "info block d0", r"there is no drive 'd0'|Attached to")[0]:
            break
    ask(talk, "info block d0", "there is no drive 'd0'")
    talk.send("quit\n")
    suite.check(talk.wait() == 0, "quit after devices came and went")


def check_nodes(suite, folder):
    """Nodes that come by drive_add -n and go by drive_del, as with QMP's blockdev-add and blockdev-del."""
    other = folder / "other.img"
    talk = Conversation([suite.binary, "-M", "pc", "-S", "-display", "none", "-serial", "null", "-monitor", "stdio", "-nodefaults",
                         "-device", "virtio-scsi-pci,id=s", "-cdrom", str(folder / "disk.img")])
    talk.expect(PROMPT)
    for _ in range(2):  # names are free again afterwards
        ask(talk, f"drive_add -n 0 driver=file,node-name=proto,filename={other}")
        ask(talk, "drive_add -n 0 driver=raw,node-name=fmt,file=proto")
        ask(talk, "drive_add -n 0 driver=raw,node-name=fmt,file=proto", "'fmt'")
        ask(talk, "drive_del proto", r"node 'proto' is the file of node 'fmt', which must go first")
        ask(talk, "device_add scsi-hd,bus=s.0,drive=proto,id=x", "node 'proto' is below node 'fmt'")
        ask(talk, "device_add scsi-hd,bus=s.0,drive=fmt,id=x")
        ask(talk, "drive_del fmt", "node 'fmt' belongs to device 'x', which must go first")
        ask(talk, "device_del x")
        ask(talk, "drive_del fmt")
        ask(talk, "drive_del fmt", "there is no drive 'fmt'")
        ask(talk, "drive_del proto")
    name = ask(talk, "info block ide1-cd0", r"\((#block\d+)\)")[1]
    ask(talk, f"drive_del {name}", f"node '{name}' belongs to device 'ide.1/0', which must go first")
    talk.send("quit\n")
    suite.check(talk.wait() == 0, "quit after nodes came and went")


def check_copy_on_read(suite, folder):
    disk = folder / "disk.img"
    none = ["-M", "none", "-drive"]
    suite.refused([*none, f"file={disk},if=none,format=raw,copy-on-read=on,readonly=on"], "copy-on-read=on", "readonly=on")
    suite.refused([*none, f"file={disk},if=none,format=raw,copy-on-read=maybe"], "copy-on-read")
    suite.refused(["-M", "none", "-blockdev", f"driver=copy-on-read,node-name=n,read-only=on,file.driver=file,file.filename={disk}"],
                  "neither may be read-only")
    talk = Conversation([suite.binary, "-M", "none", "-monitor", "stdio", "-snapshot",
                         "-drive", f"file={disk},if=none,id=d0,format=raw,copy-on-read=on"])
    talk.expect(PROMPT)
    ask(talk, "info block", rf"\(qcow2\)\r\n    Cache mode:       writeback, ignore flushes\r\n    Backing file:     {disk} ")
    ask(talk, "commit d0")
    ask(talk, f"snapshot_blkdev d0 {folder}/above.qcow2")
    ask(talk, "info block", r"above.qcow2 \(qcow2\)")
    talk.send("quit\n")
    suite.check(talk.wait() == 0, "quit with copy-on-read")


def check_nothing_is_made_without_disks(suite, folder):
    """No thread, no epoll descriptor, no ring for drives when there are none."""
    talk = Conversation([suite.binary, "-M", "none", "-monitor", "stdio"])
    talk.expect(PROMPT)
    pid = talk.process.pid
    names = [Path(f"/proc/{pid}/task/{task}/comm").read_text().strip() for task in os.listdir(f"/proc/{pid}/task")]
    links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    suite.check("disk" not in names, f"threads {names}")
    suite.check(not any("epoll" in link or "io_uring" in link for link in links), f"descriptors {links}")
    talk.send("quit\n")
    suite.check(talk.wait() == 0, "quit without drives")


def main():
    suite = Suite(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for image in ("disk.img", "other.img"):
            (folder / image).write_bytes(b"\xab" * (1 << 20))
        check_help(suite)
        check_refusals(suite, folder)
        check_overlays(suite, folder)
        check_interfaces(suite, folder)
        check_run_time(suite, folder)
        check_monitor(suite, folder)
        check_nodes(suite, folder)
        check_copy_on_read(suite, folder)
        check_nothing_is_made_without_disks(suite, folder)
    suite.finish()


if __name__ == "__main__":
    main()
