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
    for _ in range(60):
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


# cipher-alg, cipher-mode, ivgen-alg, ivgen-hash-alg, hash-alg: each value of each, and each cipher in each of its modes.
COMBINATIONS = [
    ("aes-256", "xts", "plain64", "", "sha256"), ("aes-192", "xts", "plain", "", "sha1"), ("aes-128", "xts", "essiv", "sha256", "sha224"),
    ("aes-256", "cbc", "essiv", "sha256", "sha512"), ("aes-128", "cbc", "essiv", "md5", "sha384"), ("aes-256", "cbc", "plain64", "sha1", "md5"),
    ("aes-128", "ecb", "plain64", "", "ripemd160"), ("aes-256", "ctr", "plain64", "", "sha1"), ("aes-128", "ctr", "essiv", "", "sha256"),
    ("serpent-256", "xts", "plain64", "", "sha512"), ("serpent-192", "xts", "plain64", "", "ripemd160"), ("serpent-128", "cbc", "essiv", "sha256", "sha256"),
    ("serpent-256", "ecb", "plain", "", "sha256"), ("serpent-128", "ctr", "plain", "", "sha224"),
    ("twofish-256", "cbc", "plain", "", "sha384"), ("twofish-192", "xts", "essiv", "md5", "sha256"), ("twofish-128", "xts", "plain64", "", "md5"),
    ("twofish-128", "ecb", "plain64", "", "sha1"), ("twofish-256", "ctr", "plain64", "", "sha256"),
    ("cast5-128", "cbc", "plain64", "", "sha256"), ("cast5-128", "ecb", "plain", "", "sha1"), ("cast5-128", "ctr", "plain64", "", "ripemd160"),
]
WRONG = [("des", "cbc", "plain", ""), ("3des", "cbc", "plain", ""), ("cast5-128", "xts", "plain64", ""), ("cast5-128", "cbc", "essiv", "sha256"),
         ("aes-256", "cbc", "essiv", "sha1"), ("aes-256", "cbc", "essiv", "sha512"), ("aes-256", "ofb", "plain64", ""), ("aes-256", "xts", "benbi", ""),
         ("aes-256", "xts", "plain64", "whirlpool")]


def cipher_options(cipher, mode, generator, iv_hash, key_hash="sha256", prefix=""):
    values = {"cipher-alg": cipher, "cipher-mode": mode, "ivgen-alg": generator, "ivgen-hash-alg": iv_hash, "hash-alg": key_hash}
    return ",".join([f"{prefix}{QUICK}"] + [f"{prefix}{key}={value}" for key, value in values.items() if value])


def luks(name, secret="top"):
    return f"driver=luks,file.filename={name},key-secret={secret}"


def ciphers(tools):
    for number, combination in enumerate(COMBINATIONS):
        name, make, use = makers(tools)[number % 2]
        fresh(tools, "c.*")
        if number % 4 < 2:
            make("convert", *SECRETS, "-f", "raw", "-O", "luks", "-o", "key-secret=top," + cipher_options(*combination), "plain.raw", "c.luks")
            image, file = luks("c.luks"), "c.luks"
        else:
            options = "encrypt.format=luks,encrypt.key-secret=top," + cipher_options(*combination, prefix="encrypt.")
            make("convert", *SECRETS, "-f", "raw", "-O", "qcow2", "-o", options, "plain.raw", "c.qcow2")
            image, file = qcow2("c.qcow2", "top"), "c.qcow2"
        use("compare", *SECRETS, "--image-opts", image, "driver=raw,file.filename=plain.raw")
        use("convert", *SECRETS, "-n", "-f", "raw", "--target-image-opts", "other.raw", image)
        make("compare", *SECRETS, "--image-opts", image, "driver=raw,file.filename=other.raw")
        ours, theirs = tools.info(file), tools.info(file, "qemu")
        tools.check(ours.get("format-specific") == theirs.get("format-specific"),
                    f"info of {name}'s {combination}: {ours.get('format-specific')}, not {theirs.get('format-specific')}")
    for combination in WRONG:
        tools.refused(["create", "-q", *SECRETS, "-f", "luks", "-o", "key-secret=top," + cipher_options(*combination), "w.luks", "1M"], "w.luks")
        code, _, _ = tools.qemu("create", "-q", *SECRETS, "-f", "luks", "-o", "key-secret=top," + cipher_options(*combination), "w.luks", "1M")
        tools.check(code != 0, f"qemu-img makes {combination}")
        fresh(tools, "w.luks")
    tools.refused(["create", "-q", *SECRETS, "-f", "luks", "-o", "key-secret=top,cipher-alg=aes-512", "w.luks", "1M"], "'aes-512'", "twofish-192")


def raw_luks(tools):
    """The format luks by itself: everything but ciphers and key slots."""
    for name, make, use in makers(tools):
        fresh(tools, "l*.luks")
        text = make("create", *SECRETS, "-f", "luks", "-o", f"{QUICK},key-secret=top", "l.luks", "1M")
        tools.check("fmt=luks size=1048576" in text, f"{name}: create says {text!r}")
        for program in ("rhea", "qemu"):
            info = tools.info("l.luks", program)
            tools.check((info["format"], info["virtual-size"], info["encrypted"]) == ("luks", MIB, True), f"{program} info: {info}")
            tools.check(os.stat(tools.path("l.luks")).st_blocks < 1000, f"{name}: empty key slots take space")
        lines = [line for line in tools.rhea_ok("info", "l.luks").splitlines() if not line.startswith("disk size")]
        tools.check(lines == [line for line in tools.qemu_ok("info", "l.luks").splitlines() if not line.startswith("disk size")], f"info: {lines}")
        use("resize", *SECRETS, "--image-opts", luks("l.luks"), "3M")
        make("resize", *SECRETS, "-q", "--shrink", "--image-opts", luks("l.luks"), "2M")
        use("resize", *SECRETS, "-q", "--preallocation=falloc", "--image-opts", luks("l.luks"), str(SIZE))
        tools.check(tools.info("l.luks")["virtual-size"] == SIZE, "resized")
        use("convert", *SECRETS, "-n", "-f", "raw", "--target-image-opts", "plain.raw", luks("l.luks"))
        make("compare", *SECRETS, "--image-opts", luks("l.luks"), "driver=raw,file.filename=plain.raw")
        use("convert", *SECRETS, "--image-opts", luks("l.luks"), "-O", "raw", "back.raw")
        tools.same_bytes("plain.raw", "back.raw")
        shown = [json.loads(program("map", *SECRETS, "--output=json", "--image-opts", luks("l.luks"))) for program in (use, make)]
        tools.check(shown[0] == shown[1], f"map: {shown}")
        for program in (tools.rhea, tools.qemu):
            code, _, err = program("check", *SECRETS, "--image-opts", luks("l.luks"))
            tools.check(code == 63 and "no metadata that check could look at" in err, f"check: {code} {err}")
        # As a backing file, and behind its json: name.
        below = "json:" + json.dumps({"driver": "luks", "key-secret": "top", "file.filename": "l.luks"})
        make("create", *SECRETS, "-q", "-f", "qcow2", "-b", below, "-F", "luks", "over.qcow2")
        use("compare", *SECRETS, "-F", "raw", "over.qcow2", "plain.raw")
        fresh(tools, "over.qcow2")
        for mode in ("off", "metadata", "falloc", "full"):
            make("create", *SECRETS, "-q", "-f", "luks", "-o", f"{QUICK},key-secret=top,preallocation={mode}", "p.luks", "1M")
            full = os.stat(tools.path("p.luks")).st_blocks * 512 >= 3 * MIB - 65536
            tools.check(full == (mode in ("falloc", "full")), f"{name}: preallocation={mode} takes {os.stat(tools.path('p.luks')).st_blocks} blocks")
    refused = tools.refused
    refused(["map", "l.luks"], "l.luks: the image is encrypted", " key-secret=ID")
    refused(["map", "--object", "secret,id=s,data=x", "--image-opts", luks("l.luks", "s")], "l.luks", "passphrase")
    refused(["map", "--image-opts", luks("l.luks", "s")], "l.luks", "no secret 's'")
    refused(["create", "-q", "-f", "luks", "n.luks", "1M"], "n.luks", "key-secret=ID is missing")
    refused(["create", "-q", "-f", "luks", "-o", "key-secret=s", "n.luks", "1M"], "n.luks", "no secret 's'")
    refused(["create", "-q", *SECRETS, "-f", "luks", "-o", "key-secret=top,itertime=1", "n.luks", "1M"], "itertime")
    refused(["convert", *SECRETS, "-c", "-f", "raw", "-O", "luks", "-o", f"key-secret=top,{QUICK}", "plain.raw", "n.luks"], "compressed")


def slots_of(tools, image):
    data = tools.info(image)["format-specific"]["data"]
    return [slot["active"] for slot in data.get("encrypt", data)["slots"]]


def slots(tools):
    """amend: the same steps by each program; the other one opens what comes out."""
    secrets = ["--object", "secret,id=a,data=aaa", "--object", "secret,id=b,data=bbb", "--object", "secret,id=c,data=ccc"]
    for kind, prefix in (("luks", ""), ("qcow2", "encrypt.")):
        for name, make, use in makers(tools):
            image = f"s.{kind}"
            fresh(tools, image)
            form = "encrypt.format=luks," if prefix else ""
            make("create", "-q", *secrets, "-f", kind, "-o", f"{form}{prefix}{QUICK},{prefix}key-secret=a", image, "1M")

            def opened(secret):
                return f"driver={kind},file.filename={image},{prefix}key-secret={secret}"

            def options(text):
                return ",".join(prefix + part for part in text.split(","))

            def amend(secret, text, active, *more):
                program = use
                program("amend", *secrets, *more, "--image-opts", opened(secret), "-o", options(text))
                tools.check([i for i, on in enumerate(slots_of(tools, image)) if on] == active, f"{name} {kind} {text}: {slots_of(tools, image)}")

            def refusal(secret, text, pattern):
                tools.refused(["amend", *secrets, "--image-opts", opened(secret), "-o", options(text)], pattern)
                code, _, _ = tools.qemu("amend", *secrets, "--image-opts", opened(secret), "-o", options(text))
                tools.check(code == 1, f"qemu-img amends {text}")

            make("convert", *secrets, "-n", "-f", "raw", "--target-image-opts", "first.raw", opened("a"))
            amend("a", f"state=active,new-secret=b,{QUICK}", [0, 1])
            amend("b", f"state=active,new-secret=c,{QUICK},keyslot=5", [0, 1, 5])
            for secret in ("a", "b", "c"):
                for program in (make, use):
                    program("compare", *secrets, "--image-opts", opened(secret), "driver=raw,file.filename=first.raw")
            refusal("a", f"state=active,new-secret=b,{QUICK},keyslot=5", "key slot 5 is active")
            amend("a", f"state=active,new-secret=b,{QUICK},keyslot=5", [0, 1, 5], "--force")
            amend("a", "state=inactive,old-secret=b", [0])
            for program in (tools.rhea, tools.qemu):
                code, _, _ = program("map", *secrets, "--image-opts", opened("b"))
                tools.check(code == 1, f"{name} {kind}: an erased passphrase opens the image")
            for text, pattern in (("state=inactive", "keyslot="), ("state=inactive,keyslot=3", "key slot 3 is empty"), ("new-secret=b", "state= is missing"),
                                  ("state=inactive,keyslot=0", "lose all data"), ("state=inactive,old-secret=a", "lose all data"),
                                  ("state=inactive,old-secret=b", "no key slot opens"), ("state=inactive,keyslot=0,old-secret=b", "no"),
                                  ("state=inactive,keyslot=0,new-secret=b", "state=active"), (f"state=inactive,keyslot=0,{QUICK}", "state=active"),
                                  ("state=active", "new-secret="), ("state=active,new-secret=b,old-secret=a", "state=inactive"),
                                  ("state=active,new-secret=b,keyslot=8", "0 to 7"), ("state=on,new-secret=b", "'on'"),
                                  ("state=active,new-secret=z", "no secret 'z'"), ("cipher-alg=aes-128", "cipher-alg" if prefix else "state=")):
                refusal("a", text, pattern)
            amend("a", f"state=active,new-secret=b,{QUICK}", [0, 1])
            amend("b", "state=inactive,keyslot=0", [1])
            make("compare", *secrets, "--image-opts", opened("b"), "driver=raw,file.filename=first.raw")
            if kind == "qcow2":
                make("check", *secrets, "--image-opts", opened("b"))
            for number in range(2, 9):
                amend("b", f"state=active,new-secret=c,{QUICK}", sorted({1, *[i for i in range(8) if i < number and i != 1]}))
            refusal("b", f"state=active,new-secret=c,{QUICK}", "key slots are active")
            amend("b", "state=inactive,old-secret=c", [1])
            amend("b", "state=inactive,old-secret=b", [], "--force")
    tools.check("new-secret" in tools.rhea_ok("amend", "-f", "luks", "-o", "help"), "amend -o help")


def measure(tools):
    luks_options = "encrypt.format=luks,encrypt.key-secret=top"
    for arguments in (["-O", "luks", "-o", "key-secret=top", "--size", "1G"], ["-O", "luks", "-o", "key-secret=top,cipher-alg=aes-128", "--size", "1000"],
                      ["-O", "luks", "-o", "key-secret=top,cipher-alg=cast5-128,cipher-mode=cbc", "-f", "raw", "plain.raw"],
                      ["-O", "luks", "-o", "key-secret=top,preallocation=full", "-f", "raw", "plain.raw"],
                      ["-O", "qcow2", "-o", luks_options, "--size", "1G"], ["-O", "qcow2", "-o", luks_options, "-f", "raw", "plain.raw"],
                      ["-O", "qcow2", "-o", luks_options + ",cluster_size=4k", "--size", "1G"],
                      ["-O", "qcow2", "-o", luks_options + ",encrypt.cipher-alg=twofish-192", "--size", "10T"],
                      ["-O", "qcow2", "-o", luks_options + ",encrypt.cipher-alg=cast5-128,encrypt.cipher-mode=cbc,cluster_size=2M", "--size", "100M"],
                      ["-O", "qcow2", "-o", luks_options, "--image-opts", luks("m.luks")], ["-O", "raw", "--image-opts", luks("m.luks")]):
        if not os.path.exists(tools.path("m.luks")):
            tools.rhea_ok("create", "-q", *SECRETS, "-f", "luks", "-o", f"{QUICK},key-secret=top", "m.luks", "3M")
        ours = json.loads(tools.rhea_ok("measure", *SECRETS, "--output=json", *arguments) or "{}")
        theirs = json.loads(try_often(tools, "measure", *SECRETS, "--output=json", *arguments) or "{}")
        tools.check(ours == theirs, f"measure {arguments}: {ours}, not {theirs}")
    for arguments, word in ((["-O", "luks", "--size", "1G"], "key-secret"), (["-O", "luks", "-o", "key-secret=z", "--size", "1G"], "'z'"),
                            (["-O", "qcow2", "-o", "encrypt.format=luks", "--size", "1G"], "key-secret"),
                            (["-O", "qcow2", "-o", "encrypt.format=luks,encrypt.key-secret=z", "--size", "1G"], "'z'")):
        tools.refused(["measure", *arguments], word)


PARTS = {"chains": (chains, chain_refusals), "ciphers": (ciphers,), "luks": (raw_luks, measure), "slots": (slots,)}


def main():
    with Tools(sys.argv[1], need_qemu=True) as tools:
        write_pattern(tools.path("plain.raw"), SIZE, 5)
        write_pattern(tools.path("other.raw"), SIZE, 6, fill=0.3)
        write_pattern(tools.path("first.raw"), MIB, 7)
        for part in sys.argv[2:] or PARTS:
            for step in PARTS[part]:
                step(tools)
    tools.finish()


if __name__ == "__main__":
    main()
