#!/usr/bin/env python3
"""rhea-img by itself: help, wrong words, refusals, output that people and programs read.

Usage: img_cli.py RHEA_IMG
"""

import fcntl
import json
import os
import struct
import sys

from img_harness import MIB, Tools, write_pattern

F_OFD_SETLK = 37  # Linux, fcntl.h; locks of an open file description

COMMANDS = ("amend", "bench", "bitmap", "check", "commit", "compare", "convert", "create", "dd", "info", "map", "measure", "rebase",
            "resize", "snapshot")


def help_texts(tools):
    text = tools.rhea_ok("--help")
    for command in COMMANDS:
        tools.check(f"\n  {command} " in text, f"--help does not name {command}")
        page = tools.rhea_ok(command, "--help")
        tools.check(page.startswith(f"usage: rhea-img {command} "), f"{command} --help: {page[:60]!r}")
    tools.check("qcow2" in text and "vmdk" in text, "--help does not list the formats")
    tools.check("rhea-img version" in tools.rhea_ok("--version"), "--version")
    tools.check("backing_file" in tools.rhea_ok("create", "-f", "qcow2", "-o", "help"), "-o help")
    tools.check("cluster_size" in tools.rhea_ok("convert", "-O", "qcow2", "-o", "help"), "convert -o help")


def refusals(tools):
    refused = tools.refused
    refused([], "no command")
    refused(["conver"], "did you mean 'convert'")
    refused(["info"], "operand is missing", "rhea-img info")
    refused(["info", "a", "b"], "'b' is one operand too many")
    refused(["info", "--outptu=json", "a"], "'--outptu", "did you mean '--output'")
    refused(["info", "--output=xml", "a"], "human or json", "'xml'")
    refused(["info", "-Z", "a"], "'-Z'", "rhea-img info --help")
    refused(["info", "absent.qcow2"], "absent.qcow2", "No such file")
    refused(["create", "-f", "qcow3", "x", "1M"], "qcow3", "did you mean 'qcow2'")
    refused(["create", "-f", "qcow2", "x"], "size is missing")
    refused(["create", "-f", "qcow2", "x", "big"], "big")
    refused(["create", "-f", "qcow2", "-o", "clustersize=4k", "x", "1M"], "clustersize")
    refused(["create", "-f", "qcow2", "-o", "cluster_size=3k", "x", "1M"], "cluster")
    refused(["create", "-f", "qcow2", "-b", "base.raw", "x"], "-F")
    refused(["create", "-f", "raw", "-b", "base.raw", "-F", "raw", "x"], "raw", "no backing files")
    refused(["create", "-f", "qcow2", "-b", "absent.raw", "-F", "raw", "x", "1M"], "absent.raw")
    refused(["convert", "a"], "operand is missing")
    refused(["convert", "-m", "99", "a", "b"], "1 to 16", "'99'")
    refused(["convert", "-t", "writeback2", "a", "b"], "a")
    refused(["check", "-r", "some", "a"], "leaks or all")
    refused(["resize", "a", "1M"], "a")
    refused(["rebase", "a"], "-b")
    refused(["dd", "if=a"], "of=")
    refused(["dd", "iff=a", "of=b"], "did you mean if=")
    tools.check(not os.path.exists(tools.path("x")), "a refused create left a file")
    tools.rhea_ok("create", "-q", "-f", "raw", "r.raw", "2M")
    refused(["resize", "-f", "raw", "r.raw", "1M"], "--shrink")
    refused(["resize", "-f", "raw", "--shrink", "r.raw", "-3M"], "cannot lose")
    refused(["convert", "-c", "-f", "raw", "-O", "raw", "r.raw", "c.raw"], "compressed")
    refused(["commit", "-f", "raw", "r.raw"], "no backing file")
    refused(["map", "--start-offset=x", "r.raw"], "--start-offset")
    code, _, err = tools.rhea("check", "-f", "raw", "r.raw")
    tools.check(code == 63 and "no metadata that check could look at" in err, f"check of raw: {code} {err!r}")


def held_by_a_writer(tools, name):
    """The locks of a process that has the image open for writing (bytes 101 and 201 of the file)."""
    file = open(tools.path(name), "r+b")  # pylint: disable=consider-using-with
    for at in (101, 201):
        fcntl.fcntl(file, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, at, 1, 0))
    return file


def locks(tools):
    """-U reads what somebody else writes, in each command that has it, and never lets write it."""
    tools.rhea_ok("create", "-q", "-f", "qcow2", "held.qcow2", "1M")
    with held_by_a_writer(tools, "held.qcow2"):
        for command in (["info"], ["map"], ["check"], ["snapshot", "-l"], ["measure", "-O", "qcow2"]):
            tools.refused([*command, "held.qcow2"], "held.qcow2", "in use by another process")
            tools.rhea_ok(*command, "-U", "held.qcow2")
            tools.rhea_ok(*command, "--force-share", "held.qcow2")
        tools.rhea_ok("convert", "-U", "-O", "raw", "held.qcow2", "copy.raw")
        tools.rhea_ok("compare", "-U", "held.qcow2", "held.qcow2")
        tools.rhea_ok("dd", "-U", "if=held.qcow2", "of=copy.raw")
        tools.rhea_ok("bench", "-q", "-U", "-c", "1", "held.qcow2")
        for command in (["check", "-r", "all"], ["snapshot", "-c", "x"], ["bench", "-w"]):
            tools.refused([*command, "-U", "held.qcow2"], "leave -U out")
        tools.refused(["resize", "held.qcow2", "2M"], "in use by another process")
        tools.refused(["rebase", "-U", "-u", "-b", "", "held.qcow2"], "in use by another process")


def chains(tools):
    """Overlays that are longer than what lies below, commit into each layer, and convert -B."""
    def make_chain(folder):
        os.mkdir(tools.path(folder))
        names = [f"{folder}/{name}.qcow2" for name in ("base", "mid", "top")]
        tools.rhea_ok("create", "-q", "-f", "qcow2", names[0], "2M")
        tools.rhea_ok("bench", "-q", "-w", "-c", "8", "-s", "64k", "--pattern", "3", names[0])
        tools.rhea_ok("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", names[1], "3M")
        tools.rhea_ok("bench", "-q", "-w", "-c", "2", "-s", "64k", "-o", "448k", "--pattern", "4", names[1])
        tools.rhea_ok("create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", names[2], "4M")
        tools.rhea_ok("bench", "-q", "-w", "-c", "1", "-s", "64k", "-o", "3200k", "--pattern", "5", names[2])
        tools.rhea_ok("convert", "-O", "raw", names[2], f"{folder}/was.raw")
        return names

    def allocated(image):
        return sum(1 for one in json.loads(tools.rhea_ok("map", "--output=json", image)) if one["depth"] == 0 and one["data"])

    for options, target in (([], 1), (["-b", "base.qcow2"], 0), (["-d"], 1)):
        folder = f"commit{target}{len(options)}"
        base, mid, top = make_chain(folder)
        done = tools.rhea("commit", *(f"{folder}/{word}" if word.endswith(".qcow2") else word for word in options), top)
        tools.check(done[0] == 0, f"commit {options}: {done}")
        result = (base, mid, top)[target]
        tools.rhea_ok("compare", "-f", "raw", "-F", "qcow2", f"{folder}/was.raw", result)
        tools.rhea_ok("check", result)
    base, mid, top = make_chain("delta")
    tools.rhea_ok("convert", "-O", "qcow2", "-B", "mid.qcow2", "-F", "qcow2", top, "delta/a.qcow2")
    tools.check(allocated("delta/a.qcow2") == 1, "convert -B copied what its backing file holds")
    tools.rhea_ok("convert", "-O", "qcow2", "-B", "base.qcow2", "-F", "qcow2", top, "delta/b.qcow2")
    tools.rhea_ok("create", "-q", "-f", "qcow2", "delta/other.qcow2", "4M")
    tools.rhea_ok("bench", "-q", "-w", "-c", "64", "-s", "64k", "--pattern", "9", "delta/other.qcow2")
    tools.rhea_ok("convert", "-O", "qcow2", "-B", "other.qcow2", "-F", "qcow2", top, "delta/c.qcow2")
    for copy in "abc":
        tools.rhea_ok("compare", "-f", "raw", "-F", "qcow2", "delta/was.raw", f"delta/{copy}.qcow2")
    # Over old data, a copy's zeroes give its space back.
    tools.rhea_ok("create", "-q", "-f", "raw", "zero.raw", "4M")
    tools.rhea_ok("convert", "-n", "-f", "raw", "-O", "qcow2", "zero.raw", "delta/other.qcow2")
    tools.check(allocated("delta/other.qcow2") == 0, "convert -n kept the clusters of what is zero now")


def creation(tools):
    """Options of create that concern files, and what is refused before anything is made."""
    tools.rhea_ok("create", "-q", "-f", "qcow2", "-o", "data_file=data.raw", "with-data.qcow2", "5M")
    tools.check(os.path.getsize(tools.path("data.raw")) == 5 * MIB, "the data file has not the disk's length")
    tools.rhea_ok("create", "-q", "-f", "qcow2", "-o", "nocow=on,extent_size_hint=1M", "hints.qcow2", "5M")
    tools.rhea_ok("create", "-q", "-f", "qcow2", "snaps.qcow2", "1M")
    tools.rhea_ok("snapshot", "-c", "one", "snaps.qcow2")
    tools.rhea_ok("resize", "-q", "snaps.qcow2", "3M")
    tools.rhea_ok("snapshot", "-c", "two", "snaps.qcow2")
    refused = tools.refused
    for arguments, words in (
            (["create", "-f", "qcow2", "-o", "size=1M", "no.img", "2M"], "twice"),
            (["create", "-f", "qcow2", "-o", "size=x", "no.img"], "'x'"),
            (["create", "-f", "raw", "no.img", "8E"], "9223372036854775807"),
            (["create", "-f", "raw", "-o", "extent_size_hint=8G", "no.img", "1M"], "extent_size_hint"),
            (["create", "-f", "qcow2", "-o", "cluster_size=4k,", "no.img", "2M"], "comma"),
            (["create", "-f", "qcow2", "-o", "nocow=perhaps", "no.img", "2M"], "nocow"),
            (["create", "-f", "vmdk", "-o", "subformat=monolithicFlat,zeroed_grain=on", "no.img", "2M"], "zeroed_grain"),
            (["convert", "-c", "-O", "vdi", "hints.qcow2", "no.img"], "vdi cannot hold compressed"),
            (["convert", "-c", "-O", "qcow2", "-o", "preallocation=full", "hints.qcow2", "no.img"], "preallocation=full"),
            (["convert", "-l", "snapshot.id=1,snapshot.name=two", "-O", "raw", "snaps.qcow2", "no.img"], "'1' and the name 'two'"),
            (["rebase", "-u", "-b", "x", "-F", "nosuch", "hints.qcow2"], "nosuch")):
        refused(arguments, words)
        tools.check(not os.path.exists(tools.path("no.img")), f"{arguments}: a file was left")
    # A snapshot's disk may be longer than the image is by now.
    tools.rhea_ok("snapshot", "-a", "one", "snaps.qcow2")
    tools.rhea_ok("convert", "-l", "two", "-O", "raw", "snaps.qcow2", "two.raw")
    tools.check(os.path.getsize(tools.path("two.raw")) == 3 * MIB, "convert -l: the snapshot's length")
    tools.check("image: o.qcow2\n" in tools.rhea_ok("info", "file:o.qcow2"), "info file:o.qcow2")
    # A refused amend changes nothing.
    tools.rhea_ok("create", "-q", "-f", "qcow2", "-o", "refcount_bits=8,lazy_refcounts=on", "lazy.qcow2", "1M")
    refused(["amend", "-o", "compat=0.10", "lazy.qcow2"], "refcount_bits")
    tools.check(tools.info("lazy.qcow2")["format-specific"]["data"]["lazy-refcounts"], "a refused amend changed lazy_refcounts")


def output(tools):
    text = tools.rhea_ok("create", "-f", "qcow2", "o.qcow2", "64M")
    tools.check("Formatting 'o.qcow2', fmt=qcow2" in text and "size=67108864" in text, text)
    tools.check(tools.rhea_ok("create", "-q", "-f", "qcow2", "q.qcow2", "64M") == "", "-q prints")
    text = tools.rhea_ok("info", "o.qcow2")
    for line in ("image: o.qcow2", "file format: qcow2", "virtual size: 64 MiB (67108864 bytes)", "cluster_size: 65536",
                 "    compat: 1.1"):
        tools.check(line in text.splitlines(), f"info has no line {line!r}: {text}")
    info = tools.info("o.qcow2")
    tools.check(info["virtual-size"] == 64 * MIB and info["format"] == "qcow2", f"info: {info}")
    tools.check(tools.rhea_ok("check", "o.qcow2").startswith("No errors were found on the image."), "check")
    check = json.loads(tools.rhea_ok("check", "--output=json", "o.qcow2"))
    tools.check(check["check-errors"] == 0 and check["filename"] == "o.qcow2", f"check: {check}")
    tools.rhea_ok("create", "-q", "-f", "qcow2", "-b", "o.qcow2", "-F", "qcow2", "top.qcow2")
    chain = tools.info("top.qcow2", None, "--backing-chain")
    tools.check([one["filename"] for one in chain] == ["top.qcow2", "o.qcow2"], f"chain: {chain}")
    tools.check("Image resized." in tools.rhea_ok("resize", "o.qcow2", "+1M"), "resize")
    tools.check(tools.info("o.qcow2")["virtual-size"] == 65 * MIB, "+1M")
    tools.check("Image resized." in tools.rhea_ok("resize", "--shrink", "o.qcow2", "-2M"), "resize -2M")
    tools.check(tools.info("o.qcow2")["virtual-size"] == 63 * MIB, "-2M")
    # A chain that loops is an error that says so, not a hang.
    tools.rhea_ok("create", "-q", "-f", "qcow2", "loop.qcow2", "1M")
    tools.rhea_ok("rebase", "-u", "-b", "loop.qcow2", "-F", "qcow2", "loop.qcow2")
    tools.refused(["info", "--backing-chain", "loop.qcow2"], "loop")
    tools.refused(["convert", "-O", "raw", "loop.qcow2", "l.raw"], "loop.qcow2")


def conversions(tools):
    """Without another tool: there and back, in and out of order, by any number of copies."""
    write_pattern(tools.path("s.raw"), 5 * MIB + 1536, 3)
    for options in ([], ["-W"], ["-m", "1"], ["-m", "16", "-W"], ["-c"], ["-S", "0"], ["-S", "64k"], ["-r", "100M"]):
        tools.rhea_ok("convert", *options, "-f", "raw", "-O", "qcow2", "s.raw", "t.qcow2")
        tools.rhea_ok("check", "t.qcow2")
        tools.rhea_ok("convert", *[word for word in options if word != "-c"], "-O", "raw", "t.qcow2", "t.raw")
        with open(tools.path("s.raw"), "rb") as one, open(tools.path("t.raw"), "rb") as two:
            tools.check(one.read() == two.read()[:5 * MIB + 1536], f"convert {options}: bytes differ")
    # Two sources, one behind the other.
    tools.rhea_ok("convert", "-f", "raw", "-O", "raw", "s.raw", "s.raw", "twice.raw")
    with open(tools.path("s.raw"), "rb") as one, open(tools.path("twice.raw"), "rb") as two:
        tools.check(one.read() * 2 == two.read(), "convert of two sources")
    progress = tools.rhea_ok("convert", "-p", "-f", "raw", "-O", "raw", "s.raw", "p.raw")
    tools.check("(100.00/100%)" in progress, f"-p: {progress!r}")
    # A hole in the source is one in the target.
    tools.rhea_ok("create", "-q", "-f", "raw", "hole.raw", "1G")
    tools.rhea_ok("convert", "-f", "raw", "-O", "raw", "hole.raw", "hole2.raw")
    tools.check(os.stat(tools.path("hole2.raw")).st_blocks < 100, "the hole was filled")
    for source, target in (("raw", "raw"), ("raw", "qcow2"), ("qcow2", "raw")):
        tools.rhea_ok("convert", "-f", "raw", "-O", source, "s.raw", "offload.source")
        tools.rhea_ok("convert", "-C", "-f", source, "-O", target, "offload.source", "offload.target")
        tools.rhea_ok("compare", "-f", "raw", "-F", target, "s.raw", "offload.target")
    for option in ("-c", "-S4k"):
        tools.refused(["convert", "-C", option, "-O", "qcow2", "s.raw", "c.qcow2"], option[:2] + " looks at data that -C leaves to the host")
    tools.rhea_ok("convert", "-f", "raw", "-O", "raw", "-S", "0", "s.raw", "full.raw")
    tools.check(os.stat(tools.path("full.raw")).st_blocks * 512 >= 5 * MIB, "-S 0 left holes")
    text = tools.rhea_ok("bench", "-c", "500", "-f", "raw", "s.raw")
    tools.check("Sending 500 read requests" in text and "Run completed in" in text, f"bench: {text!r}")


def bitmaps(tools):
    """bitmap and convert --bitmaps; what a bitmap holds is seen by whether two of them merge to the same."""
    def shown(image):
        return {one["name"]: (one["granularity"], one["flags"]) for one in tools.info(image)["format-specific"]["data"].get("bitmaps", [])}

    tools.rhea_ok("create", "-q", "-f", "qcow2", "bits.qcow2", "64M")
    tools.rhea_ok("bitmap", "--add", "bits.qcow2", "on")
    tools.rhea_ok("bitmap", "--add", "--disable", "-g", "1M", "bits.qcow2", "off")
    tools.rhea_ok("bench", "-q", "-w", "-c", "3", "-s", "64k", "-S", "1M", "-f", "qcow2", "bits.qcow2")
    tools.check(shown("bits.qcow2") == {"on": (65536, ["auto"]), "off": (1 << 20, [])}, f"bitmaps: {shown('bits.qcow2')}")
    tools.rhea_ok("bitmap", "--merge", "on", "bits.qcow2", "off")
    tools.rhea_ok("check", "-q", "bits.qcow2")
    # Directory, and for each bitmap a table and one cluster of bits.
    measured = json.loads(tools.rhea_ok("measure", "-O", "qcow2", "--output=json", "bits.qcow2"))
    tools.check(measured["bitmaps"] == 5 * 65536, f"measure: {measured}")
    tools.rhea_ok("convert", "-O", "qcow2", "bits.qcow2", "none.qcow2")
    tools.check(shown("none.qcow2") == {}, "convert copied bitmaps unasked")
    tools.rhea_ok("convert", "--bitmaps", "-O", "qcow2", "bits.qcow2", "with.qcow2")
    tools.check(shown("with.qcow2") == shown("bits.qcow2"), f"convert --bitmaps: {shown('with.qcow2')}")
    tools.rhea_ok("check", "-q", "with.qcow2")
    tools.rhea_ok("bitmap", "--add", "--merge", "on", "-b", "bits.qcow2", "-F", "qcow2", "none.qcow2", "merged")
    tools.rhea_ok("bitmap", "--remove", "bits.qcow2", "off")
    tools.check(shown("bits.qcow2") == {"on": (65536, ["auto"])}, f"--remove: {shown('bits.qcow2')}")
    refused = tools.refused
    refused(["bitmap", "bits.qcow2", "on"], "--add, --remove")
    refused(["bitmap", "--add", "bits.qcow2", "on"], "already a bitmap 'on'")
    refused(["bitmap", "--clear", "bits.qcow2", "nobody"], "there is no bitmap 'nobody'")
    refused(["bitmap", "--remove", "--clear", "bits.qcow2", "on"], "--remove excludes")
    refused(["bitmap", "--enable", "--disable", "bits.qcow2", "on"], "exclude each other")
    refused(["bitmap", "--clear", "-g", "64k", "bits.qcow2", "on"], "-g", "--add")
    refused(["bitmap", "--add", "-b", "with.qcow2", "bits.qcow2", "x"], "--merge")
    refused(["bitmap", "--add", "-g", "100", "bits.qcow2", "x"], "power of two")
    refused(["bitmap", "--add", "-f", "raw", "bits.qcow2", "x"], "raw keep no bitmaps")
    refused(["convert", "--bitmaps", "-O", "raw", "bits.qcow2", "x.raw"], "raw keep no bitmaps")
    refused(["convert", "--skip-broken-bitmaps", "-O", "qcow2", "bits.qcow2", "x.qcow2"], "--bitmaps")
    tools.check(not os.path.exists(tools.path("x.raw")), "a refused convert left a file")


def encryption(tools):
    """LUKS by itself (img_interop.py and unit tests have qemu-img's eyes)."""
    secret = ["--object", "secret,id=s,data=open sesame"]
    luks = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
    opened = "driver=qcow2,encrypt.key-secret=s,file.filename=e.qcow2"
    refused = tools.refused
    write_pattern(tools.path("plain.raw"), 2 * MIB + 512, 9)
    tools.rhea_ok("convert", *secret, "-f", "raw", "-O", "qcow2", "-o", luks, "plain.raw", "e.qcow2")
    tools.rhea_ok("convert", *secret, "--image-opts", opened, "-O", "raw", "e.raw")
    tools.rhea_ok("compare", "-f", "raw", "-F", "raw", "plain.raw", "e.raw")
    tools.rhea_ok("check", *secret, "--image-opts", opened)
    with open(tools.path("plain.raw"), "rb") as plain, open(tools.path("e.qcow2"), "rb") as stored:
        content = plain.read()
        piece = next(content[at:at + 16] for at in range(0, len(content), 16) if 0 not in content[at:at + 16])
        tools.check(piece not in stored.read(), "the encrypted image has the plain text")
    tools.check("encrypted: yes" in tools.rhea_ok("info", "e.qcow2"), "info does not say that the image is encrypted")
    with open(tools.path("pass"), "w", encoding="ascii") as file:
        file.write("b3BlbiBzZXNhbWU=")
    tools.rhea_ok("map", "--object", "secret,id=s,file=pass,format=base64", "--image-opts", opened, "--output=json")
    refused(["check", "e.qcow2"], "encrypt.key-secret=", "secret,id=")
    refused(["check", "--image-opts", opened], "no secret 's'")
    refused(["check", "--object", "secret,id=s,data=sesame", "--image-opts", opened], "e.qcow2", "passphrase")
    refused(["info", "--object", "secret,id=s", "e.qcow2"], "--object", "data= or file=")
    refused(["info", "--object", "iothread,id=s", "e.qcow2"], "secret", "'iothread'")
    refused(["convert", "-c", *secret, "-f", "raw", "-O", "qcow2", "-o", luks, "plain.raw", "c.qcow2"], "at the same time")
    refused(["create", "-f", "qcow2", "-o", luks, "c.qcow2", "1M"], "no secret 's'")
    tools.check(not os.path.exists(tools.path("c.qcow2")), "a refused command left a file")


def main():
    with Tools(sys.argv[1]) as tools:
        help_texts(tools)
        refusals(tools)
        output(tools)
        creation(tools)
        chains(tools)
        locks(tools)
        conversions(tools)
        bitmaps(tools)
        encryption(tools)
    tools.finish()


if __name__ == "__main__":
    main()
