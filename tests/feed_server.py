"""A WebSocket server on loopback that misbehaves on purpose: the handshake alone is a library's."""

import contextlib
import logging
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from websockets.server import ServerProtocol

_quiet = logging.getLogger("tests.feed_server")
_quiet.setLevel(logging.WARNING)

END, RESET, HALF, STALL, MUTE = "end", "reset", "half", "stall", "mute"
"""How a script may go on: close the connection with a FIN, with a RST, close its own half, say nothing more (and read
nothing), or go on answering pings without data."""


def frame(payload: bytes, opcode: int = 1) -> bytes:
    size = len(payload)
    head = bytes([0x80 | opcode])
    if size < 126:
        return head + bytes([size]) + payload
    if size < 1 << 16:
        return head + bytes([126]) + struct.pack(">H", size) + payload
    return head + bytes([127]) + struct.pack(">Q", size) + payload


class FeedServer:
    """Serves each connection by `script(number of the connection, first message or None)`.

    The script yields bytes to send, numbers of seconds to wait, or one of the words above.
    """

    def __init__(
        self,
        script: Callable[[int, Any], Iterator[Any]],
        *,
        greets: bool = False,
        status: int | None = None,
        ssl: Any = None,
        handshakes: bool = True,
    ) -> None:
        self._script, self._greets, self.status, self._ssl, self._handshakes = script, greets, status, ssl, handshakes
        self.received: list[Any] = []
        self.connections = 0
        self.accepted: list[float] = []
        self.stalled: list[float] = []
        """When connections came, and when they were left half open: seconds, monotonic."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.url = f"{'ws' if ssl is None else 'wss'}://127.0.0.1:{self.port}/feed"
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> "FeedServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(sock)
            self.accepted.append(time.monotonic())
            number, self.connections = self.connections, self.connections + 1
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, raw: socket.socket, number: int) -> None:
        sock = raw
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._ssl is not None:
                sock = self._ssl.wrap_socket(raw, server_side=True)
                self._open.add(sock)
            self._converse(sock, number)
        except OSError:
            pass
        finally:
            self._open.discard(raw)
            self._open.discard(sock)
            sock.close()

    def _converse(self, sock: socket.socket, number: int) -> None:
        if not self._handshakes:
            self._closing.wait()
            return
        protocol = self._shaken_hands(sock)
        if protocol is None:
            return
        greeting = self._message(sock, protocol) if self._greets else None
        for what in self._script(number, greeting):
            if self._closing.is_set():
                return
            if isinstance(what, bytes):
                sock.sendall(what)
            elif isinstance(what, int | float):
                self._wait(sock, protocol, what)
            elif what == STALL:
                self.stalled.append(time.monotonic())
                self._closing.wait()
                return
            elif what == MUTE:
                sock.settimeout(None)
                while self._answers(sock, protocol):
                    pass
                return
            elif what == HALF:
                sock.shutdown(socket.SHUT_WR)
                self._closing.wait(0.2)
                return
            elif what == RESET:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            else:
                return

    def _message(self, sock: socket.socket, protocol: ServerProtocol) -> Any:
        while True:
            for event in protocol.events_received():
                return msgspec.json.decode(event.data)
            data = sock.recv(65536)
            if not data:
                raise OSError("gone")
            protocol.receive_data(data)

    def _shaken_hands(self, sock: socket.socket) -> ServerProtocol | None:
        protocol = ServerProtocol(logger=_quiet)
        request = None
        while request is None:
            data = sock.recv(65536)
            if not data:
                return None
            protocol.receive_data(data)
            request = next(iter(protocol.events_received()), None)
        if self.status is not None:
            protocol.send_response(protocol.reject(self.status, "no\n"))
            sock.sendall(b"".join(protocol.data_to_send()))
            return None
        protocol.send_response(protocol.accept(request))
        sock.sendall(b"".join(protocol.data_to_send()))
        return protocol

    def _wait(self, sock: socket.socket, protocol: ServerProtocol, seconds: float) -> None:
        """Wait; pings are answered meanwhile, unless it is for an instant."""
        if seconds < 0.005:
            time.sleep(seconds)
            return
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            with contextlib.suppress(TimeoutError):
                self._answers(sock, protocol)
        sock.settimeout(None)

    def _answers(self, sock: socket.socket, protocol: ServerProtocol) -> bool:
        """Answer what comes next; return whether anything still may."""
        data = sock.recv(65536)
        protocol.receive_data(data)
        for event in protocol.events_received():
            if event.opcode in (1, 2):
                codec = msgspec.json if event.opcode == 1 else msgspec.msgpack
                self.received.append(codec.decode(event.data))
        sock.sendall(b"".join(protocol.data_to_send()))
        return bool(data)


class Numbered:
    """Numbered items 0, 1, ... as frames, with faults: what a script sends of them on each connection.

    Args:
        count: of the items; the last frame stays, and the connection is muted.
        per_connection: mean number of items until the connection breaks.
        duplicates: share of the items that are sent twice.
        radius: items are shuffled among so many neighbours.
        skips: share of the items that are left out on a connection.
        per_frame: items in one frame.
        has_replay: begin after the number that the client asks for; without it, go on where the last connection was.
        endings: what a break looks like, each as likely as the others.
    """

    def __init__(
        self,
        count: int,
        per_connection: int,
        *,
        duplicates: float = 0.0,
        radius: int = 0,
        skips: float = 0.0,
        per_frame: int = 1,
        has_replay: bool = True,
        endings: tuple[str, ...] = (END, RESET),
        seed: int = 0,
    ) -> None:
        self.count, self._per_connection, self._per_frame = count, per_connection, per_frame
        self._duplicates, self._radius, self._skips = duplicates, radius, skips
        self._has_replay, self._endings = has_replay, endings
        self._rng = random.Random(seed)
        self._position = 0

    def __call__(self, connection: int, greeting: Any) -> Iterator[Any]:
        rng = self._rng
        if self._has_replay:
            after = greeting["after"]
            start = 0 if after is None else after + 1
        else:
            start = self._position  # what was sent and never arrived is lost
        end = min(start + max(int(rng.expovariate(1 / self._per_connection)), 1), self.count)
        is_last = end == self.count
        for block in range(start, end, 1000):
            numbers = list(range(block, min(block + 1000, end)))
            if self._skips and not is_last:
                numbers = [n for n in numbers if rng.random() >= self._skips]
            if self._duplicates:
                numbers = [n for n in numbers for _ in range(1 + (rng.random() < self._duplicates))]
            if self._radius:
                # The very first item of all is left where it is: that it is the first, nobody could know.
                places = [(i + rng.uniform(0, self._radius) * (n > 0), n) for i, n in enumerate(numbers)]
                numbers = [n for _, n in sorted(places)]
            parts = [self._encoded(n) for n in numbers]
            frames = [
                frame(b"[" + b",".join(parts[i : i + self._per_frame]) + b"]" if self._per_frame > 1 else parts[i])
                for i in range(0, len(parts), self._per_frame)
            ]
            self._position = min(block + 1000, end)
            yield b"".join(frames)
        yield MUTE if is_last else rng.choice(self._endings)

    @staticmethod
    def _encoded(n: int) -> bytes:
        return b'{"observation":[%d,%d.5],"reward":%d,"sequence":%d}' % (n & 0xFFFF, n >> 16, n & 0xFF, n)


if __name__ == "__main__":  # as a separate process: prints its address, and serves until its input ends
    options = msgspec.json.decode(sys.argv[1])
    with FeedServer(Numbered(**options), greets=options.get("has_replay", True)) as running:
        print(running.url, flush=True)
        sys.stdin.read()
