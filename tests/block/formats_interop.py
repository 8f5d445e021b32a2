#!/usr/bin/env python3
"""Image formats against qemu-img, both ways: what it writes reads equal here, what is written here reads equal and checks there.

    formats_interop.py RHEA_IMG [--only NAME]

Skips (77) where qemu-img is absent.
"""
import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

# Name, format, options, can clusters be overwritten, has qemu-img a check for it.
CASES = [
    ('vdi', 'vdi', '', True, True),
    ('vdi-static', 'vdi', 'static=on', True, True),
    ('vpc', 'vpc', 'force_size=on', True, False),
    ('vpc-fixed', 'vpc', 'subformat=fixed,force_size=on', True, False),
    ('vhdx', 'vhdx', '', True, True),
    ('vhdx-1M', 'vhdx', 'block_size=1M,log_size=2M', True, True),
    ('vhdx-fixed', 'vhdx', 'subformat=fixed', True, True),
    ('qed', 'qed', '', True, True),
    ('qed-4k', 'qed', 'cluster_size=4096,table_size=2', True, True),
    ('vmdk', 'vmdk', '', True, True),
    ('vmdk-zeroed', 'vmdk', 'zeroed_grain=on,adapter_type=lsilogic', True, True),
    ('vmdk-compat6', 'vmdk', 'compat6=on', True, True),
    ('vmdk-flat', 'vmdk', 'subformat=monolithicFlat', True, False),
    ('vmdk-2g-sparse', 'vmdk', 'subformat=twoGbMaxExtentSparse', True, True),
    ('vmdk-2g-flat', 'vmdk', 'subformat=twoGbMaxExtentFlat', True, False),
    ('vmdk-stream', 'vmdk', 'subformat=streamOptimized', False, True),
]
SIZE = 24 << 20


class Failure(Exception):
    pass


class Run:
    def __init__(self, tool, folder):
        self.tool = tool
        self.folder = folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def command(self, *words):
        result = subprocess.run(words, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        if result.returncode != 0:
            raise Failure(f"{' '.join(words)}: exit {result.returncode}\n{result.stdout}")
        return result.stdout

    def ours(self, *words):
        return self.command(self.tool, *words)

    def write(self, fmt, image, offset, length, byte):
        """We write one request of equal bytes."""
        self.ours('bench', '-q', '-w', '-c', '1', '-f', fmt, '-o', str(offset), '-s', str(length), f'--pattern={byte}', image)

    def size(self, fmt, image):
        return json.loads(self.ours('info', '--output=json', '-f', fmt, image))['virtual-size']

    def qemu(self, *words):
        return self.command('qemu-img', *words)


def content(run):
    """A raw file with data, holes and text that compresses."""
    path = run.path('content.raw')
    noise = random.Random(4)
    with open(path, 'wb') as out:
        out.truncate(SIZE)
        for offset, size in ((0, 5000), (1 << 20, 3 << 20), (9_000_448, 70_000), (SIZE - 66_048, 66_048)):
            out.seek(offset)
            out.write(noise.randbytes(size))
        out.seek(16 << 20)
        out.write(b'compressible ' * 40_000)
    return path


def create_options(options):
    return ['-o', options] if options else []


def theirs_here(run, name, fmt, options, raw):
    """qemu-img converts: we read the same, and it checks here, too."""
    image = f'theirs-{name}.img'
    run.qemu('convert', '-f', 'raw', '-O', fmt, *create_options(options), raw, image)
    run.ours('convert', '-f', fmt, '-O', 'raw', image, 'back.raw')
    run.command('cmp', raw, 'back.raw')
    os.unlink(run.path('back.raw'))
    if fmt != 'vpc':
        run.ours('check', '-q', '-f', fmt, image)
    return image


def ours_there(run, name, fmt, options, raw, checked):
    """We create and copy: qemu-img reads the same and finds no error."""
    image = f'ours-{name}.img'
    run.ours('create', '-q', '-f', fmt, *create_options(options), image, str(SIZE))
    run.ours('convert', '-n', '--target-is-zero', '-f', 'raw', '-O', fmt, raw, image)
    if checked:
        run.qemu('check', '-f', fmt, image)
    run.qemu('compare', '-f', 'raw', '-F', fmt, raw, image)
    theirs = run.qemu('info', '-f', fmt, image)
    if f'({SIZE} bytes)' not in theirs:
        raise Failure(f'{image}: qemu-img sees another size:\n{theirs}')
    return image


def written_by_both(run, name, fmt, image, checked, raw):
    """qemu-io and we write in turn to the same image; a raw file gets the same writes."""
    shutil.copy(raw, run.path('model.raw'))
    noise = random.Random(name)
    for turn in range(4):
        writes = []
        for _ in range(6):
            offset = noise.randrange(SIZE // 512) * 512
            length = min(noise.choice((512, 4096, 70_144, 1_500_160)), SIZE - offset)
            writes.append((offset, length, noise.randrange(1, 256)))
        commands = [word for offset, length, byte in writes for word in ('-c', f'write -P {byte} {offset} {length}')]
        if turn % 2 == 0:
            for offset, length, byte in writes:
                run.write(fmt, image, offset, length, byte)
        else:
            run.command('qemu-io', '-f', fmt, *commands, image)
        run.command('qemu-io', '-f', 'raw', *commands, 'model.raw')
        if checked:
            run.qemu('check', '-f', fmt, image)
        run.qemu('compare', '-f', 'raw', '-F', fmt, 'model.raw', image)
    run.ours('convert', '-f', fmt, '-O', 'raw', image, 'model.raw')
    run.qemu('compare', '-f', 'raw', '-F', fmt, 'model.raw', image)


def backing(run, fmt, raw):
    """Overlays made here and there over the same base."""
    run.qemu('convert', '-f', 'raw', '-O', fmt, raw, 'base.img')
    run.qemu('create', '-q', '-f', fmt, '-b', 'base.img', '-F', fmt, 'theirs-over.img')
    run.ours('create', '-q', '-f', fmt, '-b', 'base.img', '-F', fmt, 'ours-over.img')
    shutil.copy(raw, run.path('model.raw'))
    run.command('qemu-io', '-f', 'raw', '-c', 'write -P 9 3000320 70144', 'model.raw')
    for image in ('theirs-over.img', 'ours-over.img'):
        run.qemu('compare', '-f', 'raw', '-F', fmt, raw, image)
        run.write(fmt, image, 3000320, 70144, 9)
        run.qemu('check', '-f', fmt, image)
        run.qemu('compare', '-f', 'raw', '-F', fmt, 'model.raw', image)


def geometry(run):
    """The sizes that a VHD image gets from its geometry."""
    for size in (512, 1 << 20, 10 << 20, 100 << 20, 504 << 20, 1 << 30, 8 << 30, 127 << 30, 128 << 30, 2040 << 30):
        run.qemu('create', '-q', '-f', 'vpc', 'theirs.vpc', str(size))
        run.ours('create', '-q', '-f', 'vpc', 'ours.vpc', str(size))
        sizes = [run.size('vpc', image) for image in ('theirs.vpc', 'ours.vpc')]
        theirs = [run.qemu('info', '-f', 'vpc', image).split('virtual size:')[1].splitlines()[0] for image in ('theirs.vpc', 'ours.vpc')]
        if sizes[0] != sizes[1] or theirs[0] != theirs[1]:
            raise Failure(f'vpc of {size} bytes: {sizes} {theirs}')


def nbd(run, raw):
    """The client against qemu-nbd, over a Unix socket and TCP."""
    shutil.copy(raw, run.path('export.raw'))
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    path = run.path('nbd.sock')
    places = [(['-k', path], f'nbd+unix:///disk?socket={path}'),
              (['-b', '127.0.0.1', '-p', str(port)], f'nbd://127.0.0.1:{port}/disk'),
              (['-k', path], f'nbd:unix:{path}:exportname=disk')]
    for words, url in places:
        server = subprocess.Popen(['qemu-nbd', '-f', 'raw', '-x', 'disk', '-t', *words, run.path('export.raw')])
        try:
            deadline = time.monotonic() + 20
            while True:
                try:
                    run.size('raw', url)
                    break
                except Failure:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
            run.ours('convert', '-f', 'raw', '-O', 'raw', url, 'back.raw')
            run.command('cmp', raw, 'back.raw')
            run.command('truncate', '-s', '2M', 'zeroes.raw')
            run.ours('convert', '-n', '-f', 'raw', '-O', 'raw', 'zeroes.raw', url)
            run.write('raw', url, 1000, 300_000, 77)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=20)
        with open(run.path('export.raw'), 'rb') as file:
            if file.read(2 << 20) != bytes(1000) + b'\x4d' * 300_000 + bytes((2 << 20) - 301_000):
                raise Failure(f'{url}: what was written is not there')
            with open(raw, 'rb') as before:
                before.seek(2 << 20)
                if file.read() != before.read():
                    raise Failure(f'{url}: other bytes have changed')
        shutil.copy(raw, run.path('export.raw'))
    # A connection that is refused, and a name without a server.
    for url in (f'nbd://127.0.0.1:{port}/disk', 'nbd+unix:///x?socket=/nonexistent', 'nbds://localhost/x', 'nbd+unix:///x'):
        result = subprocess.run([run.tool, 'info', '-f', 'raw', url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        if result.returncode != 1 or 'nbd' not in result.stdout:
            raise Failure(f'{url}: exit {result.returncode}: {result.stdout}')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('tool')
    parser.add_argument('--only', default='')
    args = parser.parse_args()
    if not all(shutil.which(name) for name in ('qemu-img', 'qemu-io', 'qemu-nbd')):
        print('qemu-img, qemu-io or qemu-nbd is not installed (qemu-utils)')
        return 77
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        run = Run(os.path.abspath(args.tool), folder)
        raw = content(run)

        def case(name, function):
            nonlocal failures
            if args.only and args.only not in name:
                return
            try:
                function()
            except (Failure, subprocess.TimeoutExpired) as failure:
                failures += 1
                print(f'{name}: {failure}')

        for name, fmt, options, overwrites, checked in CASES:
            def all_ways():
                theirs = theirs_here(run, name, fmt, options, raw)
                ours = ours_there(run, name, fmt, options, raw, checked)
                if overwrites:
                    written_by_both(run, name, fmt, ours, checked, raw)
                    written_by_both(run, name, fmt, theirs, checked, raw)
                for each in os.listdir(folder):
                    if each.startswith(('theirs-', 'ours-')):
                        os.unlink(run.path(each))
            case(name, all_ways)
        for fmt in ('qed', 'vmdk'):
            case(f'backing {fmt}', lambda: backing(run, fmt, raw))
        case('vpc geometry', lambda: geometry(run))
        case('nbd', lambda: nbd(run, raw))
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
