#!/usr/bin/env python3
"""rhea-img and qemu-img on each other's images: every format and creation option, both ways.

Usage: img_interop.py RHEA_IMG [FORMAT]
"""

import json
import sys

from img_harness import MIB, Tools, write_pattern

SIZE = 9 * MIB + 512 * 7  # no multiple of any cluster size

# Format -> creation options to try.
OPTIONS = {
    "qcow2": ["", "compat=0.10", "compat=1.1,lazy_refcounts=on", "cluster_size=512", "cluster_size=4k", "cluster_size=2M",
              "refcount_bits=1", "refcount_bits=64", "extended_l2=on", "extended_l2=on,cluster_size=128k",
              "compression_type=zstd", "preallocation=metadata", "preallocation=falloc", "preallocation=full",
              "data_file=DATA,data_file_raw=on", "data_file=DATA"],
    "raw": ["", "preallocation=falloc"],
    "vmdk": ["", "subformat=streamOptimized", "subformat=monolithicFlat", "subformat=twoGbMaxExtentSparse", "adapter_type=lsilogic",
             "zeroed_grain=on", "hwversion=6"],
    "vdi": ["", "static=on"],
    "vpc": ["force_size=on", "subformat=fixed,force_size=on"],
    "vhdx": ["", "subformat=fixed", "block_size=1M", "log_size=2M"],
    "qed": ["", "cluster_size=4k", "table_size=2"],
}
READ_ONLY_SUBFORMATS = ("streamOptimized",)


def options_of(text, image):
    text = text.replace("DATA", image + ".data")
    return ["-o", text] if text else []


def supported(tools, fmt, options):
    """Can rhea-img make this? What it refuses by name is no failure of this test; docs say what that is."""
    code, _, err = tools.rhea("create", "-f", fmt, *options, tools.path("probe"), "1M")
    for leftover in tools.folder.glob("probe*"):
        leftover.unlink()
    return code == 0 or not ("not in this version" in err or "cannot be created" in err)


def check_ours(tools, fmt, image):
    """An image that rhea-img wrote, in qemu-img's eyes."""
    code, out, err = tools.qemu("check", "-f", fmt, image)
    tools.check(code in (0, 63), f"qemu-img check {image}: status {code}: {out} {err}")
    tools.qemu_ok("compare", "-f", "raw", "-F", fmt, "source.raw", image)


def check_theirs(tools, fmt, image, source="source.raw"):
    """An image that qemu-img wrote, in ours."""
    code, out, err = tools.rhea("check", "-f", fmt, image)
    tools.check(code in (0, 63), f"rhea-img check {image}: status {code}: {out} {err}")
    tools.rhea_ok("compare", "-f", "raw", "-F", fmt, source, image)
    tools.rhea_ok("convert", "-f", fmt, "-O", "raw", image, "back.raw")
    tools.rhea_ok("compare", "-f", "raw", "-F", "raw", source, "back.raw")
    ours, theirs = tools.info(image), tools.info(image, "qemu")
    for key in ("format", "virtual-size", "cluster-size", "backing-filename", "dirty-flag"):
        tools.check(ours.get(key) == theirs.get(key), f"info {image}: {key} is {ours.get(key)}, not {theirs.get(key)}")
    if "format-specific" in theirs and fmt in ("qcow2", "vmdk"):
        tools.check(ours.get("format-specific") == theirs["format-specific"],
                    f"info {image}: {ours.get('format-specific')}, not {theirs['format-specific']}")
    if fmt in ("qcow2", "raw"):
        compare_maps(tools, image)


def ranges(text):
    """What map says, as sorted ranges of (start, end, data, zero, offset); neighbours of one kind joined."""
    joined = []
    for entry in json.loads(text):
        start, length = entry["start"], entry["length"]
        kind = (entry["data"], entry["zero"], entry["depth"], entry["present"])
        offset = entry.get("offset")
        if joined:
            last = joined[-1]
            follows = last[3] is None if offset is None else last[3] is not None and last[3] + last[1] - last[0] == offset
            if last[2] == kind and last[1] == start and follows:
                last[1] = start + length
                continue
        joined.append([start, start + length, kind, offset])
    return joined


def compare_maps(tools, image):
    ours, theirs = tools.rhea_ok("map", "--output=json", image), tools.qemu_ok("map", "--output=json", image)
    if ours and theirs:
        tools.check(ranges(ours) == ranges(theirs), f"map {image}:\n  ours   {ranges(ours)[:6]}\n  theirs {ranges(theirs)[:6]}")


def one_option(tools, fmt, text):
    ours, theirs = "ours." + fmt, "theirs." + fmt
    ours_options, their_options = options_of(text, "ours." + fmt), options_of(text, "theirs." + fmt)
    for leftover in list(tools.folder.glob("ours*")) + list(tools.folder.glob("theirs*")):
        leftover.unlink()
    tools.qemu_ok("convert", "-f", "raw", "-O", fmt, *their_options, "source.raw", theirs)
    check_theirs(tools, fmt, theirs)
    if not supported(tools, fmt, options_of(text, "probe")):
        print(f"{fmt} {text}: refused by rhea-img, reading only")
        return
    tools.rhea_ok("convert", "-f", "raw", "-O", fmt, *ours_options, "source.raw", ours)
    check_ours(tools, fmt, ours)
    if any(name in text for name in READ_ONLY_SUBFORMATS):
        return
    # Written into an image that qemu-img made: other contents, then both look.
    tools.rhea_ok("convert", "-n", "-f", "raw", "-O", fmt, "other.raw", theirs)
    code, out, err = tools.qemu("check", "-f", fmt, theirs)
    tools.check(code in (0, 63), f"qemu-img check {theirs} after our writes: status {code}: {out} {err}")
    tools.qemu_ok("compare", "-f", "raw", "-F", fmt, "other.raw", theirs)
    check_theirs(tools, fmt, theirs, "other.raw")


def compressed(tools):
    for kind in ("zlib", "zstd"):
        tools.rhea_ok("convert", "-c", "-O", "qcow2", "-o", f"compression_type={kind}", "source.raw", "c.qcow2")
        check_ours(tools, "qcow2", "c.qcow2")
        tools.qemu_ok("convert", "-c", "-O", "qcow2", "-o", f"compression_type={kind}", "source.raw", "c.qcow2")
        check_theirs(tools, "qcow2", "c.qcow2")
        tools.rhea_ok("convert", "-n", "-O", "qcow2", "other.raw", "c.qcow2")
        tools.qemu_ok("check", "c.qcow2")
        tools.qemu_ok("compare", "-f", "raw", "other.raw", "c.qcow2")


def chains(tools):
    """Backing chains, snapshots, rebase, commit, resize: made by one, used by the other."""
    for make, use, other in ((tools.qemu_ok, tools.rhea_ok, "rhea"), (tools.rhea_ok, tools.qemu_ok, "qemu")):
        for leftover in tools.folder.glob("chain-*"):
            leftover.unlink()
        make("convert", "-O", "qcow2", "source.raw", "chain-base.qcow2")
        make("create", "-f", "qcow2", "-b", "chain-base.qcow2", "-F", "qcow2", "chain-top.qcow2")
        use("compare", "-f", "raw", "-F", "qcow2", "source.raw", "chain-top.qcow2")
        compare_maps(tools, "chain-top.qcow2")
        # Convert on top of a base that holds a part of it.
        make("convert", "-O", "qcow2", "-B", "chain-base.qcow2", "-F", "qcow2", "chain-top.qcow2", "chain-copy.qcow2")
        use("compare", "-f", "raw", "-F", "qcow2", "source.raw", "chain-copy.qcow2")
        # Other contents in the overlay, then a snapshot of it.
        use("convert", "-n", "-O", "qcow2", "other.raw", "chain-top.qcow2")
        make("compare", "-f", "raw", "-F", "qcow2", "other.raw", "chain-top.qcow2")
        make("snapshot", "-c", "first", "chain-top.qcow2")
        use("convert", "-n", "-O", "qcow2", "source.raw", "chain-top.qcow2")
        use("snapshot", "-c", "second", "chain-top.qcow2")
        for program in (make, use):
            text = program("snapshot", "-l", "chain-top.qcow2")
            tools.check("first" in text and "second" in text, f"{other}: snapshot list {text!r}")
            program("check", "chain-top.qcow2")
        use("convert", "-l", "first", "-O", "raw", "chain-top.qcow2", "chain-first.raw")
        tools.same_bytes("other.raw", "chain-first.raw")
        use("snapshot", "-a", "first", "chain-top.qcow2")
        make("compare", "-f", "raw", "-F", "qcow2", "other.raw", "chain-top.qcow2")
        make("snapshot", "-d", "first", "chain-top.qcow2")
        use("snapshot", "-d", "second", "chain-top.qcow2")
        make("check", "chain-top.qcow2")
        use("check", "chain-top.qcow2")
        # Rebase to nothing keeps the contents.
        use("create", "-f", "qcow2", "-b", "chain-base.qcow2", "-F", "qcow2", "chain-thin.qcow2")
        use("rebase", "-b", "", "chain-thin.qcow2")
        make("compare", "-f", "raw", "-F", "qcow2", "source.raw", "chain-thin.qcow2")
        make("check", "chain-thin.qcow2")
        # Commit moves the overlay's contents down.
        use("commit", "chain-top.qcow2")
        make("compare", "-f", "raw", "-F", "qcow2", "other.raw", "chain-base.qcow2")
        make("compare", "-f", "raw", "-F", "qcow2", "other.raw", "chain-top.qcow2")
        make("check", "chain-base.qcow2")
        make("check", "chain-top.qcow2")
        # Resize both ways.
        use("resize", "chain-thin.qcow2", "+3M")
        make("check", "chain-thin.qcow2")
        use("resize", "--shrink", "chain-thin.qcow2", "2M")
        make("check", "chain-thin.qcow2")
        tools.check(tools.info("chain-thin.qcow2")["virtual-size"] == 2 * MIB, "size after the resize")
        # Amend.
        use("amend", "-o", "lazy_refcounts=on", "chain-thin.qcow2")
        use("amend", "-o", "compat=0.10", "chain-thin.qcow2")
        make("check", "chain-thin.qcow2")
        tools.check(tools.info("chain-thin.qcow2", other)["format-specific"]["data"]["compat"] == "0.10", "amended compat")


def same_answers(tools):
    """measure, compare's exit codes, dd."""
    tools.qemu_ok("convert", "-O", "qcow2", "source.raw", "m.qcow2")
    for arguments in (["-O", "qcow2", "--size", "1G"], ["-O", "raw", "--size", "1G"], ["-O", "qcow2", "m.qcow2"],
                      ["-O", "qcow2", "-o", "cluster_size=4k,refcount_bits=64", "--size", "10G"],
                      ["-O", "qcow2", "-o", "extended_l2=on", "source.raw"]):
        ours = json.loads(tools.rhea_ok("measure", "--output=json", *arguments) or "{}")
        theirs = json.loads(tools.qemu_ok("measure", "--output=json", *arguments))
        for key in ("required", "fully-allocated"):
            tools.check(ours.get(key) == theirs[key], f"measure {arguments}: {key} {ours.get(key)}, not {theirs[key]}")
    tools.rhea_ok("compare", "-f", "raw", "-F", "raw", "source.raw", "other.raw", status=1)
    tools.rhea_ok("compare", "source.raw", "absent.raw", status=2)
    tools.rhea_ok("dd", "-f", "raw", "-O", "qcow2", "bs=64k", "count=20", "skip=3", "if=source.raw", "of=dd.qcow2")
    with open(tools.path("source.raw"), "rb") as source, open(tools.path("part.raw"), "wb") as part:
        source.seek(3 * 65536)
        part.write(source.read(20 * 65536))
    tools.qemu_ok("compare", "-f", "raw", "-F", "qcow2", "part.raw", "dd.qcow2")


def main():
    with Tools(sys.argv[1], need_qemu=True) as tools:
        wanted = sys.argv[2:] or [*OPTIONS, "chains"]
        write_pattern(tools.path("source.raw"), SIZE, 1)
        write_pattern(tools.path("other.raw"), SIZE, 2, fill=0.3)
        known = tools.rhea_ok("--help")
        for fmt in wanted:
            if fmt == "chains":
                compressed(tools)
                chains(tools)
                same_answers(tools)
                continue
            if not tools.check(f" {fmt}" in known, f"rhea-img does not know {fmt}"):
                continue
            for text in OPTIONS[fmt]:
                one_option(tools, fmt, text)
    tools.finish()


if __name__ == "__main__":
    main()
