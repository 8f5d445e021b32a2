#!/usr/bin/env python3
"""Encrypted images under rhea-img and qemu-img: what one makes, the other opens, changes and describes alike.

Usage: img_crypto.py RHEA_IMG [PART...]     (PART: a name of PARTS; default: all)
"""

import json
import os
import sys

from img_harness import MIB, Tools, write_pattern

SIZE = 2 * MIB + 512 * 3
SECRETS = ["--object", "secret,id=top,data=open sesame", "--object", "secret,id=base,data=below"]
QUICK = "iter-time=10"


def qcow2(name, secret, backing=None):
    """--image-opts of an image; `backing`: the secret of its backing file."""
    below = f",backing.encrypt.key-secret={backing}" if backing else ""
    return f"driver=qcow2,file.filename={name},encrypt.key-secret={secret}{below}"


def try_often(tools, *arguments):
    """qemu-img measures PBKDF2 by a clock that is too coarse for short times now and then."""
    for _ in range(30):
        code, out, err = tools.qemu(*arguments)
        if "accurate CPU usage" not in err:
            break
    tools.check(code == 0, f"qemu-img {' '.join(map(str, arguments))}: status {code}: {err.strip()}")
    return out


def makers(tools):
    """(name, make, use): one program makes images, the other uses them."""
    def qemu(*arguments):
        return try_often(tools, *arguments)
    return (("rhea", tools.rhea_ok, qemu), ("qemu", qemu, tools.rhea_ok))


def fresh(tools, pattern):
    for leftover in tools.folder.glob(pattern):
        leftover.unlink()


def chains(tools):
    """Encrypted backing files: named by options or by the json: name in the header."""
    luks = f"encrypt.format=luks,encrypt.{QUICK},encrypt.key-secret="
    named = json.dumps({"driver": "qcow2", "encrypt": {"key-secret": "base"}, "file": {"driver": "file", "filename": "base.qcow2"}})
    for name, make, use in makers(tools):
        fresh(tools, "*.qcow2")
        whole = qcow2("top.qcow2", "top", "base")
        make("convert", *SECRETS, "-f", "raw", "-O", "qcow2", "-o", luks + "base", "plain.raw", "base.qcow2")
        make("create", *SECRETS, "-q", "-f", "qcow2", "-o", luks + "top", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
        make("create", *SECRETS, "-q", "-f", "qcow2", "-b", "json:" + named, "-F", "qcow2", "json.qcow2")
        for program in (make, use):
            program("compare", *SECRETS, "--image-opts", whole, "driver=raw,file.filename=plain.raw")
            program("compare", *SECRETS, "-f", "qcow2", "-F", "raw", "json.qcow2", "plain.raw")
            program("convert", *SECRETS, "-f", "qcow2", "-O", "raw", "json.qcow2", "back.raw")
            tools.same_bytes("plain.raw", "back.raw")
            for image, files in (("top.qcow2", 2), ("json.qcow2", 2)):  # without any secret
                infos = json.loads(program("info", "--backing-chain", "--output=json", image))
                tools.check(len(infos) == files and infos[1].get("encrypted") is True, f"{name}: info --backing-chain {image}: {infos}")
        # Writes go to the overlays, and from there into the encrypted file below.
        use("convert", *SECRETS, "-n", "-f", "raw", "--target-image-opts", "other.raw", whole)
        make("compare", *SECRETS, "--image-opts", whole, "driver=raw,file.filename=other.raw")
        use("commit", *SECRETS, "--image-opts", whole)
        for image in (qcow2("base.qcow2", "base"), whole):
            make("check", *SECRETS, "--image-opts", image)
        make("compare", *SECRETS, "--image-opts", qcow2("base.qcow2", "base"), "driver=raw,file.filename=other.raw")
        make("compare", *SECRETS, "--image-opts", whole, "driver=raw,file.filename=other.raw")
        # A layer more, and the lowest gets its data (qemu-img does not find files of such chains by name).
        middle = "json:" + json.dumps({"driver": "qcow2", "file.filename": "top.qcow2", "encrypt.key-secret": "top",
                                       "backing.encrypt.key-secret": "base"})
        make("create", *SECRETS, "-q", "-f", "qcow2", "-b", middle, "-F", "qcow2", "third.qcow2")
        use("convert", *SECRETS, "-n", "-f", "raw", "-O", "qcow2", "plain.raw", "third.qcow2")
        tools.rhea_ok("commit", *SECRETS, "-b", "base.qcow2", "third.qcow2")
        make("compare", *SECRETS, "--image-opts", qcow2("base.qcow2", "base"), "driver=raw,file.filename=plain.raw")
        make("compare", *SECRETS, "-F", "raw", "third.qcow2", "plain.raw")
        # Rebase: from an encrypted file onto another, and away from all.
        make("convert", *SECRETS, "-f", "raw", "-O", "qcow2", "-o", luks + "top", "other.raw", "else.qcow2")
        elsewhere = "json:" + json.dumps({"driver": "qcow2", "file.filename": "else.qcow2", "encrypt.key-secret": "top"})
        use("rebase", *SECRETS, "-f", "qcow2", "-b", elsewhere, "-F", "qcow2", "json.qcow2")
        make("compare", *SECRETS, "-f", "qcow2", "-F", "raw", "json.qcow2", "plain.raw")
        os.unlink(tools.path("base.qcow2"))
        make("compare", *SECRETS, "-f", "qcow2", "-F", "raw", "json.qcow2", "plain.raw")
        use("rebase", *SECRETS, "-f", "qcow2", "-b", "", "json.qcow2")
        os.unlink(tools.path("else.qcow2"))
        make("compare", "-f", "qcow2", "-F", "raw", "json.qcow2", "plain.raw")


def chain_refusals(tools):
    luks = f"encrypt.format=luks,encrypt.{QUICK},encrypt.key-secret=base"
    tools.rhea_ok("convert", *SECRETS, "-f", "raw", "-O", "qcow2", "-o", luks, "plain.raw", "base.qcow2")
    tools.rhea_ok("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
    tools.rhea_ok("create", "-q", "-f", "qcow2", "-b", "top.qcow2", "-F", "qcow2", "third.qcow2")
    for arguments in (["map", "top.qcow2"], ["commit", "top.qcow2"], ["rebase", "-b", "", "top.qcow2"],
                      ["convert", "-O", "raw", "top.qcow2", "x.raw"]):
        tools.refused(arguments, "base.qcow2: the image is encrypted", " backing.encrypt.key-secret=ID", "'top.qcow2'", "secret,id=ID")
    tools.refused(["map", "third.qcow2"], "base.qcow2: the image is encrypted", " backing.backing.encrypt.key-secret=ID", "'third.qcow2'")
    tools.refused(["map", "base.qcow2"], "base.qcow2: the image is encrypted", " encrypt.key-secret=ID")
    tools.refused(["map", *SECRETS, "--image-opts", "driver=qcow2,file.filename=top.qcow2,backing.encrypt.key-secret=top"], "base.qcow2",
                  "passphrase")
    tools.rhea_ok("check", "top.qcow2")  # looks at the image alone


PARTS = {"chains": (chains, chain_refusals)}


def main():
    with Tools(sys.argv[1], need_qemu=True) as tools:
        write_pattern(tools.path("plain.raw"), SIZE, 5)
        write_pattern(tools.path("other.raw"), SIZE, 6, fill=0.3)
        for part in sys.argv[2:] or PARTS:
            for step in PARTS[part]:
                step(tools)
    tools.finish()


if __name__ == "__main__":
    main()
