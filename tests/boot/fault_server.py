"""An NBD server in this process whose disks fail as a test wants: a host's I/O errors without privileges.

Protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md (fixed newstyle, simple replies). Each export is a
Disk; a request that meets one of its faults is answered with that errno and changes nothing.
"""

import collections
import socket
import struct
import threading

READ, WRITE, DISCONNECT, FLUSH = range(4)
OPTION_EXPORT_NAME, OPTION_ABORT, OPTION_GO = 1, 2, 7
REPLY_ACK, REPLY_INFO = 1, 3
REPLY_UNSUPPORTED, REPLY_UNKNOWN = 0x80000001, 0x80000006
MAGIC, OPTIONS, OPTION_REPLY, REQUEST, REPLY = 0x4E42444D41474943, 0x49484156454F5054, 0x3E889045565A9, 0x25609513, 0x67446698
EINVAL = 22
FLAGS = 1 | 4  # there are flags; FLUSH works


class Disk:
    """Its contents, and what fails. Faults come and go in any thread."""

    def __init__(self, data):
        self.data = bytearray(data)
        self._lock = threading.Lock()
        self._faults, self._hits = [], collections.Counter()

    def fail(self, command, first=0, end=None, error=5):
        """From now on a command that touches bytes first to end (FLUSH: in any case) fails with this errno."""
        with self._lock:
            self._faults.append((command, first, len(self.data) if end is None else end, error))

    def cure(self):
        with self._lock:
            self._faults.clear()

    def hits(self, command, error):
        """How many requests have failed so."""
        with self._lock:
            return self._hits[command, error]

    def fault(self, command, offset, length):
        with self._lock:
            for which, first, end, error in self._faults:
                if which == command and (command == FLUSH or (offset < end and first < offset + length)):
                    self._hits[command, error] += 1
                    return error
        return 0


class Server:
    """Serves {export name: Disk} at a Unix socket until the process ends."""

    def __init__(self, path, disks):
        self.disks = disks
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self._socket.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            with client:
                if disk := self._negotiate(client):
                    while self._request(client, disk):
                        pass
        except (EOFError, OSError):
            pass  # the emulator has gone

    def _negotiate(self, client):
        """The disk that the client chooses."""
        client.sendall(struct.pack(">QQH", MAGIC, OPTIONS, 3))
        no_zeroes = struct.unpack(">I", receive(client, 4))[0] & 2
        while True:
            _, option, length = struct.unpack(">QII", receive(client, 16))
            data = receive(client, length)
            if option == OPTION_EXPORT_NAME:
                disk = self.disks[data.decode()]
                client.sendall(struct.pack(">QH", len(disk.data), FLAGS) + (b"" if no_zeroes else bytes(124)))
                return disk
            if option == OPTION_ABORT:
                return None
            if option != OPTION_GO:
                answer(client, option, REPLY_UNSUPPORTED)
                continue
            name = data[4:4 + struct.unpack(">I", data[:4])[0]].decode()
            if name not in self.disks:
                answer(client, option, REPLY_UNKNOWN)
                continue
            disk = self.disks[name]
            answer(client, option, REPLY_INFO, struct.pack(">HQH", 0, len(disk.data), FLAGS))
            answer(client, option, REPLY_ACK)
            return disk

    @staticmethod
    def _request(client, disk):
        _, _, command, handle, offset, length = struct.unpack(">IHHQQI", receive(client, 28))
        if command == DISCONNECT:
            return False
        sent = receive(client, length) if command == WRITE else b""
        error = disk.fault(command, offset, length)
        if not error and (command not in (READ, WRITE, FLUSH) or offset + length > len(disk.data)):
            error = EINVAL
        if not error and command == WRITE:
            disk.data[offset:offset + length] = sent
        found = bytes(disk.data[offset:offset + length]) if command == READ and not error else b""
        client.sendall(struct.pack(">IIQ", REPLY, error, handle) + found)
        return True


def answer(client, option, reply, data=b""):
    client.sendall(struct.pack(">QIII", OPTION_REPLY, option, reply, len(data)) + data)


def receive(client, length):
    data = bytearray()
    while len(data) < length:
        part = client.recv(length - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
