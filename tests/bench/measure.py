"""What the benchmarks share: processes measured from outside, and the guests that they boot.

Nothing here prints. A Trouble is a sentence for the user; an error of one program or one boot is a
value in the result, so that the others go on.
"""

import dataclasses
import os
import re
import select
import signal
import stat
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROGRAMS = os.path.join(HERE, "programs")
FLAGS = ["-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11", "-ffp-contract=off", "-static"]
BUILD = os.path.join(ROOT, "build-bench")
SLACK_SECONDS = 30  # a guest's own limit for a program ends it before the host's does
BOOT_SECONDS = 120  # a guest's silence for this long before its first program is an error
MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)$")
LINE = re.compile(r"^bench (\S+) (begin|end|checksum|skip|error)[ =]?(.*)$")


class Trouble(Exception):
    """The run cannot go on; the text says why and what to do."""


@dataclasses.dataclass
class Result:
    """What a program did once: a time and a checksum, or why not."""
    seconds: float = 0.0
    checksum: str = ""
    skip: str = ""
    error: str = ""


@dataclasses.dataclass
class Usage:
    """What a process took: seconds of wall and user time, MiB resident at most; or its error. `beyond` is what was resident
    at most besides the guest's RAM, 0 where that was not measured."""
    wall: float = 0.0
    user: float = 0.0
    memory: float = 0.0
    error: str = ""
    beyond: float = 0.0


def measure(launch, command, status, seconds=300):
    """Runs a command to its end by the program of build_launch, and compares its exit status: a
    Usage."""
    done = subprocess.run([launch, str(seconds), *command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    errors = done.stderr.decode("utf-8", "replace").strip()[-300:]
    if done.returncode != 0:
        return Usage(error=errors)
    got, wall, user, memory = map(int, done.stdout.split())
    if got != status:
        killed = got == 128 + signal.SIGKILL and wall >= seconds * 1e9
        return Usage(error=f"no end within {seconds} s" if killed else
                     f"exit status {got}: {errors}")
    return Usage(wall / 1e9, user / 1e6, memory / 1024)


def resident(smaps, ram_mib):
    """(all, besides guest RAM) of the text of /proc/PID/smaps, in MiB. Guest RAM is a mapping of at least half its size that is not
    reserved only (QEMU's and Rhea's code memories are executable), with those that touch it as far as they fill it up: the
    kernel shows pieces with and without huge pages one by one."""
    mappings = []  # [begin, end, could be RAM, KiB resident]
    for line in smaps.splitlines():
        head = MAPPING.match(line)
        if head:
            plain = head[3].startswith("rw-p") and not head[4]
            mappings.append([int(head[1], 16), int(head[2], 16), plain, 0])
        elif line.startswith("Rss:"):
            mappings[-1][3] += int(line.split()[1])
    size = ram_mib << 20
    ram = set()
    for first, (begin, end, plain, _) in enumerate(mappings):
        if not plain or end - begin < size // 2:
            continue
        ram.add(first)
        above, below, grown = first + 1, first - 1, True
        while grown:  # one piece above, one below, and so on
            grown = False
            if above < len(mappings) and mappings[above][2] and mappings[above][0] == end and mappings[above][1] - begin <= size:
                end, grown = mappings[above][1], True
                ram.add(above)
                above += 1
            if below >= 0 and mappings[below][2] and mappings[below][1] == begin and end - mappings[below][0] <= size:
                begin, grown = mappings[below][0], True
                ram.add(below)
                below -= 1
    every = sum(mapping[3] for mapping in mappings)
    beyond = sum(mapping[3] for n, mapping in enumerate(mappings) if n not in ram)
    return every / 1024, beyond / 1024


def resident_beyond_ram(command, seconds=300):
    """Runs an emulator to its end and looks at it every 20 ms: MiB resident at most besides the RAM of its option -m. What it
    costs to look is why this run is not timed."""
    ram, most = int(command[command.index("-m") + 1]), 0.0
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        try:
            with open(f"/proc/{process.pid}/smaps", encoding="ascii", errors="replace") as file:
                most = max(most, resident(file.read(), ram)[1])
        except (OSError, ValueError):
            pass  # it has just ended
        time.sleep(0.02)
    if process.poll() is None:
        process.kill()
    process.wait()
    return most


def material(*names):
    """The folder with guest material of scripts/guest-material."""
    done = subprocess.run([os.path.join(ROOT, "scripts", "guest-material"), *names],
                          stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Trouble("there is no guest kernel: see what scripts/guest-material says above")
    return done.stdout.strip().splitlines()[-1]


def compile_program(target, sources, depends=()):
    """Compiles C sources into a static executable, unless it is newer than they are; its path."""
    if os.path.exists(target) and all(os.path.getmtime(name) < os.path.getmtime(target)
                                      for name in [*sources, *depends, __file__]):
        return target
    os.makedirs(os.path.dirname(target), exist_ok=True)
    compiler = os.environ.get("CC", "gcc")
    done = subprocess.run([compiler, *FLAGS, "-o", target + ".new", *sources],
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Trouble(f"{compiler} cannot compile {os.path.dirname(sources[0])}:\n"
                      f"{done.stderr.strip()}")
    os.replace(target + ".new", target)
    return target


def build(folder):
    """The executable of the guest programs, compiled into a folder."""
    files = sorted(os.path.join(PROGRAMS, name) for name in os.listdir(PROGRAMS))
    sources = [name for name in files if name.endswith(".c")]
    return compile_program(os.path.join(folder, "bench"), sources, files)


def build_launch(folder):
    """The program that measures another one, compiled into a folder."""
    return compile_program(os.path.join(folder, "launch"), [os.path.join(HERE, "launch.c")])


def list_programs(program):
    """(name, group, description) of each program, in order."""
    output = subprocess.run([program, "--list"], check=True, stdout=subprocess.PIPE, text=True)
    return [tuple(line.split("\t")) for line in output.stdout.splitlines()]


def initramfs(files):
    """A cpio archive (newc, Linux Documentation/driver-api/early-userspace/buffer-format.rst) with
    these executables, by name, and the folders and the console that a first process needs."""
    entries = [(name, stat.S_IFDIR | 0o755, b"", (0, 0)) for name in ("dev", "proc", "tmp")]
    entries.append(("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1)))
    entries += [(name, stat.S_IFREG | 0o755, data, (0, 0)) for name, data in files.items()]
    entries.append(("TRAILER!!!", 0, b"", (0, 0)))
    archive = bytearray()
    for number, (name, mode, data, device) in enumerate(entries, 1):
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0]
        archive += b"070701" + b"".join(b"%08X" % field for field in fields)
        archive += name.encode() + b"\0"
        archive += bytes(-len(archive) % 4) + data
        archive += bytes(-len(archive) % 4)
    return bytes(archive)


def parse_line(line):
    """(program, word, rest) of a line that the programs print, or None for any other line."""
    found = LINE.match(line.strip())
    return found.groups() if found else None


def parse_result(word, rest):
    """The Result that a line's word and rest tell of."""
    if word == "skip":
        return Result(skip=rest)
    if word == "error":
        return Result(error=rest)
    checksum, _, nanoseconds = rest.partition(" ns=")
    if not nanoseconds.isdigit():
        return Result(error=f"a line that cannot be read: {rest!r}")
    return Result(seconds=int(nanoseconds) / 1e9, checksum=checksum)


def slowest(results):
    """Of copies that ran at once: the first that has no time, or the one that took longest. All must have one checksum."""
    for result in results:
        if result.error or result.skip:
            return result
    if len({result.checksum for result in results}) > 1:
        return Result(error="copies that ran at once have different checksums")
    return max(results, key=lambda result: result.seconds)


def run_native(program, name, scale, seconds, copies=1):
    """Runs one program on this host, or copies of it at once: the Result of the slowest."""
    deadline = time.monotonic() + seconds
    started = [subprocess.Popen([program, name, str(scale)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
               for _ in range(copies)]
    return slowest([native_result(process, name, seconds, deadline) for process in started])


def native_result(process, name, seconds, deadline):
    """What a process with a program says, when it has ended."""
    try:
        output, _ = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Result(error=f"no end within {seconds} s")
    for line in output.splitlines():
        parsed = parse_line(line)
        if parsed and parsed[0] == name:
            return parse_result(*parsed[1:])
    if process.returncode < 0:
        return Result(error=f"killed by {signal.Signals(-process.returncode).name}")
    return Result(error=f"no result, exit status {process.returncode}")


class Lines:
    """The lines of a process's output, each waited for with a bound."""

    def __init__(self, process):
        self._file = process.stdout.fileno()
        self._pending = b""

    def next(self, seconds):
        """The next line, "" at the end; TimeoutError when there is none in time."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._file], [], [], left)[0]:
                raise TimeoutError
            data = os.read(self._file, 65536)
            if not data:
                return ""
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode("utf-8", "replace") + "\n"

    def pending(self):
        """What was read and is not a whole line yet."""
        return self._pending.decode("utf-8", "replace")


class Guest:
    """Linux with the programs as its first process, by one emulator, on some CPUs; of each program some copies run at once."""

    def __init__(self, emulator, kernel, archive, cpu, scale, seconds, cpus=1, copies=1):
        self._emulator, self._kernel, self._archive = emulator, kernel, archive
        self._cpu, self._scale, self._seconds = cpu, scale, seconds
        self._cpus, self._copies = cpus, copies
        self.clock_ratios = []  # guest's seconds for one of the host's, a boot

    def run(self, names, progress=lambda name: None):
        """Boots and runs these programs; yields (name, Result) as they end. When the guest hangs or
        dies within one, that is its error, and a new boot runs the rest."""
        left = list(names)
        while left:
            for name, result in self._boot(left, progress):
                left.remove(name)
                yield name, result

    def command(self, names):
        append = (f"console=ttyS0 quiet panic=-1 bench.scale={self._scale} "
                  f"bench.seconds={self._seconds} bench.copies={self._copies} bench.programs={','.join(names)}")
        return [self._emulator, "-M", "pc", "-accel", "tcg", "-cpu", self._cpu, "-smp", str(self._cpus), "-m", "512",
                "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot",
                "-kernel", self._kernel, "-initrd", self._archive, "-append", append]

    def _boot(self, names, progress):
        process = subprocess.Popen(self.command(names), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        lines, tail, running, first = Lines(process), [], None, None
        missing, parts = list(names), []
        try:
            while True:
                line = lines.next(self._seconds + SLACK_SECONDS if running else BOOT_SECONDS)
                if not line:
                    break
                parsed = parse_line(line)
                if not parsed:
                    tail = [*tail[-5:], line.strip()]
                    continue
                name, word, rest = parsed
                if word in ("begin", "end"):
                    first = first or (time.monotonic(), rest)
                    if word == "end":
                        self._compare_clocks(first, rest)
                        break
                    running, parts = name, []
                    progress(name)
                elif name in missing:
                    parts.append(parse_result(word, rest))
                    if len(parts) == self._copies or parts[-1].error:
                        missing.remove(name)
                        yield name, slowest(parts)
            why = "the guest ended" if process.wait(30) == 0 else f"exit status {process.returncode}"
        except (TimeoutError, subprocess.TimeoutExpired):
            why = "the guest hangs"
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()
        if running in missing:
            yield running, Result(error=f"{why}: {' | '.join(tail)[-200:]}")
        elif missing:
            for name in missing:
                yield name, Result(error=f"not begun, {why}: {' | '.join(tail)[-200:]}")

    def _compare_clocks(self, first, end):
        began, at = first
        guest = int(end.removeprefix("at=")) - int(at.removeprefix("at="))
        self.clock_ratios.append(guest / 1e9 / max(time.monotonic() - began, 1e-9))


def flat_image(folder):
    """Assembles the flat guest in real mode; its path."""
    source = os.path.join(ROOT, "tests", "guests", "flat", "flat.S")
    made, image = os.path.join(folder, "flat.o"), os.path.join(folder, "flat.bin")
    subprocess.run(["as", "--64", "--defsym", "MODE=16", "-o", made, source], check=True)
    subprocess.run(["ld", "-m", "elf_x86_64", "-Ttext", "0", "--oformat", "binary", "-o", image,
                    made], check=True)
    return image


def boots(folder, cpu="max", only=None):
    """Whole machines, power-on to power-off: (name, arguments, exit status, runs a round)."""
    where = material("kernel", "cloud-kernel", "initramfs")

    def linux(kernel):
        return ["-M", "pc", "-accel", "tcg", "-cpu", cpu, "-m", "512", "-nographic", "-no-reboot",
                "-kernel", os.path.join(where, kernel),
                "-initrd", os.path.join(where, "initramfs.cpio.gz"),
                "-append", "console=ttyS0 quiet rhea.run=uname,-a"]
    flat = ["-M", "pc", "-accel", "tcg", "-m", "128", "-bios", flat_image(folder), "-nodefaults",
            "-display", "none", "-serial", "stdio",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]
    all_boots = [("cloud-pvh", linux("cloud-vmlinux"), 0, 1),
                 ("generic-bzimage", linux("vmlinuz"), 0, 1), ("flat", flat, 33, 7)]
    chosen = [boot for boot in all_boots if only in (None, boot[0])]
    if not chosen:
        raise Trouble(f"there is no boot '{only}'; there are cloud-pvh, generic-bzimage and flat")
    return chosen


def run_boots(launch, chosen, emulators, rounds, progress):
    """All rounds of boots, by emulators' paths: (name, engine, list of Usage) for each pair; then one more of each that looks at
    the memory."""
    runs = []
    for name, options, status, share in chosen:
        usages = {engine: [] for engine in emulators}
        for number in range(rounds * share):
            for engine, path in emulators.items():
                progress(f"boot {name}, {number + 1} of {rounds * share}: {engine}")
                usages[engine].append(measure(launch, [path, *options], status))
        for engine, path in emulators.items():
            progress(f"boot {name}, memory: {engine}")
            beyond = resident_beyond_ram([path, *options])
            for usage in usages[engine]:
                usage.beyond = beyond
        runs += [(name, engine, some) for engine, some in usages.items()]
    progress("")
    return runs


class Progress:
    """One line on standard error that says what runs, where that is a terminal."""

    def __init__(self, file=sys.stderr):
        self._file = file if file.isatty() else None

    def __call__(self, text):
        if self._file:
            self._file.write("\r\x1b[K" + text[:100])
            self._file.flush()
