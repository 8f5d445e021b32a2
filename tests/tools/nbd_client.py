"""A small NBD client for tests: fixed newstyle, simple and structured replies, one request at a time or many."""

import socket
import struct
import time

REQUEST, SIMPLE, STRUCTURED = 0x25609513, 0x67446698, 0x668E33EF
READ, WRITE, DISCONNECT, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
FUA, NO_HOLE, DONT_FRAGMENT, REQ_ONE, FAST_ZERO = 1, 2, 4, 8, 16
SEND_DONT_FRAGMENT = 1 << 7  # among NbdClient.flags


class NbdError(Exception):
    """What a server answered, or that it went away (number None)."""

    def __init__(self, number, text=""):
        super().__init__(f"NBD error {number} {text}")
        self.number = number


class NbdClient:
    def __init__(self, path, export="", structured=False, context=False, patience=30):
        deadline = time.monotonic() + patience
        while True:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(patience)
            try:
                self.socket.connect(path)
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self.structured = False
        self.handle = 0
        magic, option_magic, flags = struct.unpack(">QQH", self._read(18))
        assert magic == 0x4E42444D41474943 and option_magic == 0x49484156454F5054 and flags & 1
        self.socket.sendall(struct.pack(">I", flags & 3))
        if structured:
            self.option(8, b"")
            self.structured = True
        if context:
            name = export.encode()
            query = b"base:allocation"
            self.option(10, struct.pack(">I", len(name)) + name + struct.pack(">II", 1, len(query)) + query)
        name = export.encode()
        replies = self.option(7, struct.pack(">I", len(name)) + name + struct.pack(">H", 0))
        for kind, data in replies:
            if kind == 3 and data[:2] == b"\0\0":
                self.size, self.flags = struct.unpack(">QH", data[2:12])

    def _read(self, length):
        data = bytearray()
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise NbdError(None, "the server went away")
            data += part
        return bytes(data)

    def option(self, code, data):
        """Sends an option; the replies up to the acknowledgement, as (type, data)."""
        self.socket.sendall(struct.pack(">QII", 0x49484156454F5054, code, len(data)) + data)
        replies = []
        while True:
            magic, echoed, kind, length = struct.unpack(">QIII", self._read(20))
            assert magic == 0x3E889045565A9 and echoed == code
            payload = self._read(length)
            if kind & 0x80000000:
                raise NbdError(kind, payload.decode("utf-8", "replace"))
            if kind == 1:
                return replies
            replies.append((kind, payload))

    def send(self, kind, offset=0, length=0, flags=0, payload=b""):
        self.handle += 1
        self.socket.sendall(struct.pack(">IHHQQI", REQUEST, flags, kind, self.handle, offset, length) + payload)
        return self.handle

    def receive(self, length=0):
        """One whole reply: (handle, data or list of extents)."""
        data, extents = bytearray(length), []
        while True:
            magic = struct.unpack(">I", self._read(4))[0]
            if magic == SIMPLE:
                error, handle = struct.unpack(">IQ", self._read(12))
                if error:
                    raise NbdError(error)
                return handle, self._read(length)
            assert magic == STRUCTURED, hex(magic)
            flags, kind, handle, size = struct.unpack(">HHQI", self._read(16))
            payload = self._read(size)
            if kind & 0x8000:
                raise NbdError(struct.unpack(">I", payload[:4])[0], payload[6:].decode("utf-8", "replace"))
            if kind == 1:
                data = bytearray(payload[8:])
            elif kind == 5:
                extents = [struct.unpack(">II", payload[at:at + 8]) for at in range(4, size, 8)]
            if flags & 1:
                return handle, extents or bytes(data)

    def call(self, kind, offset=0, length=0, flags=0, payload=b""):
        self.send(kind, offset, length, flags, payload)
        return self.receive(length if kind == READ else 0)[1]

    def read(self, offset, length):
        return self.call(READ, offset, length)

    def write(self, offset, data, flags=0):
        return self.call(WRITE, offset, len(data), flags, data)

    def flush(self):
        return self.call(FLUSH)

    def close(self):
        try:
            self.send(DISCONNECT)
        except OSError:
            pass
        self.socket.close()
