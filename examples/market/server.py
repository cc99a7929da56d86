"""Serves a market on a WebSocket: `python -m examples.market.server [--rate 10] [--drop 0.001]`."""

import argparse
import contextlib
import logging
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from examples.market.prices import Market, Tick

PORT = 8765
_MAX_AHEAD = 10_000_000
_BAD_REQUEST = 1007
_QUIET = logging.getLogger("examples.websockets")
_QUIET.setLevel(logging.CRITICAL)  # a connection that breaks off is what this server is for


class _Request(msgspec.Struct):
    after: int | None = None


class PriceServer:
    """A market that anybody on this machine can listen to, from any tick on; with bad luck, the line breaks off.

    A client first sends `{"after": n}`: it gets tick n + 1 and those that follow, one in a frame, as `WebSocketSource`
    reads them; null gives the present one, where time passes (`rate`), or else the first. Ticks that are no longer kept
    are left out, which the client sees by their numbers.

    Args:
        market: whose prices.
        port: on loopback; 0 = any that is free.
        rate: ticks per second; None = as fast as they are read.
        drop: chance that the connection breaks off after a tick, with or without a goodbye.
        keep: ticks that can be sent again.
        seed: of the bad luck.

    Raises:
        ValueError: `rate` is not positive, or `drop` no probability.
    """

    def __init__(
        self,
        market: Market,
        *,
        port: int = 0,
        rate: float | None = None,
        drop: float = 0.0,
        keep: int = 100_000,
        seed: int = 0,
    ) -> None:
        if not (rate is None or rate > 0) or not 0 <= drop <= 1:
            raise ValueError(f"rate must be positive and drop within [0, 1], but got rate={rate!r} and drop={drop!r}.")
        self.connections = self.drops = 0
        self._rate, self._drop = rate, drop
        self._ticks, self._made, self._kept = market.items(), 0, deque[bytes](maxlen=keep)
        self._lock = threading.Lock()
        self._luck = random.Random(seed)  # noqa: S311 - no secret
        self._closing = threading.Event()
        self._open: set[ServerConnection] = set()
        self._began = time.monotonic()
        self._server: Server = serve(self._converse, "127.0.0.1", port, compression=None, logger=_QUIET)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="price-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.set()
        with self._lock:
            left = list(self._open)
        for connection in left:
            _hang_up(connection)
        self._server.shutdown()
        self._thread.join()

    def _converse(self, connection: ServerConnection) -> None:
        with self._lock:
            self._open.add(connection)
            self.connections += 1
        try:
            self._send_ticks(connection, self._first(connection.recv()))
        except (msgspec.DecodeError, ValueError):
            connection.close(_BAD_REQUEST, "expected {'after': number or null}")
        except (ConnectionClosed, OSError):
            pass  # the client has gone, or had to
        finally:
            with self._lock:
                self._open.discard(connection)

    def _first(self, message: str | bytes) -> int:
        after = msgspec.json.decode(message, type=_Request).after
        if after is not None:
            if not -1 <= after <= self._made + _MAX_AHEAD:
                raise ValueError("no tick of this market")
            return after + 1
        return 0 if self._rate is None else int((time.monotonic() - self._began) * self._rate)

    def _send_ticks(self, connection: ServerConnection, number: int) -> None:
        while not self._closing.is_set():
            if self._rate is not None:
                self._closing.wait(self._began + number / self._rate - time.monotonic())
            number, frame = self._frame(number)
            connection.send(frame, text=True)
            number += 1
            if self._drop and self._luck.random() < self._drop:
                self.drops += 1
                if self._luck.random() < 0.5:
                    _hang_up(connection)
                return  # which says goodbye, where it can

    def _frame(self, number: int) -> tuple[int, bytes]:
        """Return a tick's number and frame; those of the oldest that is kept, where it is older."""
        with self._lock:
            while self._made <= number:
                self._kept.append(encoded(next(self._ticks)))
                self._made += 1
            place = max(number - self._made, -len(self._kept))
            return self._made + place, self._kept[place]


def _hang_up(connection: ServerConnection) -> None:
    with contextlib.suppress(OSError):
        connection.socket.shutdown(socket.SHUT_RDWR)


def encoded(tick: Tick) -> bytes:
    """Return the frame of a tick."""
    info = {"price": tick.price, "change": tick.change}
    return msgspec.json.encode({"sequence": tick.sequence, "observation": tick.features, "info": info})


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m examples.market.server", description=__doc__)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--seed", type=int, default=0, help="of the prices")
    parser.add_argument("--regime-length", type=float, default=300.0, help="ticks, on the average")
    parser.add_argument("--change-at", type=int, help="one change of regime, at this tick")
    parser.add_argument("--rate", type=float, default=10.0, help="ticks per second")
    parser.add_argument("--drop", type=float, default=0.0, help="chance per tick that a connection breaks off")
    args = parser.parse_args(argv)
    market = Market(args.seed, args.regime_length, args.change_at)
    with PriceServer(market, port=args.port, rate=args.rate, drop=args.drop, seed=args.seed) as server:
        print(f"{server.url}: {args.rate:g} ticks per second. Ctrl-C ends it.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
