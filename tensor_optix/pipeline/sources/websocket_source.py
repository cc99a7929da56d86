"""A WebSocket server as a feed."""

import contextlib
import logging
import socket
import ssl as tls
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from tensor_optix.core.types import Action
from tensor_optix.errors import FeedError, FeedFatalError, InvalidArgumentError
from tensor_optix.pipeline._items import HEARTBEAT, Heartbeat, Item, Malformed
from tensor_optix.pipeline.sources._frames import Frame, FrameCodec
from tensor_optix.support.optional import require

_MIN_SILENCE = 5.0
_CLOSE_SECONDS = 0.3
_UNAUTHORISED = (401, 403)
_UNAUTHORISED_CLOSE = (3000, 3003)
_TOO_BIG = 1009

_quiet = logging.getLogger("tensor_optix.websockets")
_quiet.setLevel(logging.WARNING)  # at DEBUG the library writes headers and paths, with whatever secrets they carry


class WebSocketSource:
    """Reads items from a WebSocket server, and sends it `{"action": ...}` for each action.

    A server that says nothing for `silence_timeout` is asked (ping); one that does not answer either is left, and
    connected anew: that finds a half-open connection, and takes no pause for a failure. Time in which the pipeline does
    not read, because its buffer is full, does not count. What does not fit the schema is handed on as malformed.

    With `is_replayable` the first frame sent on each connection is `{"after": n}`: the server shall go on with item
    n + 1 (null: wherever it likes).

    Args:
        url: "ws://..." or "wss://..."; its user, password and query never reach a log or an error.
        format: of the frames, "json" or "msgpack".
        schema: a type for msgspec that each frame must be of.
        to_item: makes `(observation, reward, terminated, truncated, info)`, `HEARTBEAT` or None of a decoded frame;
            needed where `schema` is not `Frame`.
        is_replayable: the server understands `{"after": n}`.
        subscribe: frames to send first on each connection.
        sends_actions: False where the server wants none.
        headers: of the request, such as Authorization.
        ssl: context of a "wss" connection; None = the system's trust.
        heartbeat: seconds between what the server sends at the most.
        silence_timeout: seconds without anything until the server is left; None = twice `heartbeat`, at least 5.
        open_timeout: seconds to connect.
        max_frame_bytes: of one frame, before it is decoded; a larger one ends the connection.
        dtype: of observations that are lists, where `observation_space` does not say.
        observation_space: of the items, where it is known.
        action_space: of the actions, where it is known: they are brought into it, and checked.

    Raises:
        InvalidArgumentError: no WebSocket address, an unknown format, or a time that is not positive.
        MissingDependencyError: websockets is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        format: str = "json",
        schema: object = Frame,
        to_item: Callable[[Any], Item | Heartbeat | None] | None = None,
        is_replayable: bool = False,
        subscribe: Sequence[str | bytes] = (),
        sends_actions: bool = True,
        headers: Mapping[str, str] | None = None,
        ssl: tls.SSLContext | None = None,
        heartbeat: float = 2.5,
        silence_timeout: float | None = None,
        open_timeout: float = 10.0,
        max_frame_bytes: int = 1 << 20,
        dtype: object = np.float32,
        observation_space: object = None,
        action_space: object = None,
    ) -> None:
        self._websockets = require("websockets.sync.client", "WebSocketSource", "live")
        self._errors = require("websockets.exceptions", "WebSocketSource", "live")
        self._url, self._host, self._port = _checked_url(url)
        for name, value in (
            ("heartbeat", heartbeat),
            ("silence_timeout", silence_timeout),
            ("open_timeout", open_timeout),
        ):
            if value is not None and not 0 < value < float("inf"):
                raise InvalidArgumentError(f"{name} must be a positive number of seconds, but got {value!r}.")
        self._codec = FrameCodec(
            format, schema, to_item, dtype if isinstance(observation_space, spaces.Box | None) else None
        )
        self.is_replayable, self._subscribe = is_replayable, tuple(subscribe)
        self.sends_actions, self._headers, self._ssl = sends_actions, headers, ssl
        self._silence = silence_timeout if silence_timeout is not None else max(2 * heartbeat, _MIN_SILENCE)
        self._open_timeout, self._max_frame_bytes = open_timeout, max_frame_bytes
        self.observation_space, self.action_space = observation_space, action_space
        self._lock = threading.RLock()  # a forgotten pipeline may be collected, and close this, in the reading thread
        self._handle: socket.socket | None = None
        self._connection: Any = None

    def __repr__(self) -> str:
        return f"WebSocketSource({redacted(self._url)!r})"

    def apply(self, action: Action) -> None:
        """Send an action; where there is no connection, it is dropped."""
        connection = self._connection
        if connection is not None and self.sends_actions:
            with contextlib.suppress(self._errors.ConnectionClosed, OSError):  # the reading side finds out
                connection.send(self._codec.encode({"action": action}))

    def close(self) -> None:
        """End the stream in progress, whatever it waits for."""
        with self._lock:
            if self._handle is not None:
                with contextlib.suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    def stream(self, after: int | None = None) -> Iterator[Item | Malformed | Heartbeat]:
        """Connect, and yield what the server sends.

        Raises:
            FeedError: the connection was refused, was lost, or is silent.
            FeedFatalError: the server does not let this user in, or is not who it should be.
        """
        try:
            with self._connected() as connection:
                if self.is_replayable:
                    connection.send(self._codec.encode({"after": after}))
                for frame in self._subscribe:
                    connection.send(frame)
                self._connection = connection
                yield from self._items(connection)
        except (OSError, EOFError, ValueError, self._errors.WebSocketException) as error:
            if self._code(error, "sent") == _TOO_BIG:
                yield Malformed(f"it has more than max_frame_bytes={self._max_frame_bytes}")
            # Not chained: the cause may quote the address, with the secrets in it.
            raise self._translated(error) from None
        finally:
            self._connection = None

    # --- one connection ---

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        with (
            self._tcp() as sock,
            self._websockets.connect(
                self._url,
                sock=sock,
                ssl=self._ssl,
                server_hostname=self._host if self._url.startswith("wss") else None,
                compression=None,
                additional_headers=self._headers,
                open_timeout=self._open_timeout,
                ping_interval=None,
                close_timeout=_CLOSE_SECONDS,
                max_size=self._max_frame_bytes,
                logger=_quiet,
            ) as connection,
        ):
            yield connection

    @contextlib.contextmanager
    def _tcp(self) -> Iterator[socket.socket]:
        """Yield a connected socket, which `close` can shut down at any stage by a handle of its own."""
        last: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind, protocol)
            with contextlib.closing(sock), contextlib.closing(sock.dup()) as handle:
                with self._lock:
                    self._handle = handle
                try:
                    sock.settimeout(self._open_timeout)
                    try:
                        sock.connect(address)
                    except OSError as error:
                        last = error
                        continue
                    sock.settimeout(None)  # the kernel's own holds under TLS too
                    # Or a server that reads nothing would block the acting thread for ever.
                    seconds, rest = divmod(self._silence, 1)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(int(seconds), int(rest * 1e6)))
                    yield sock
                    return
                finally:
                    with self._lock:
                        self._handle = None
        raise last if last is not None else OSError("the address has no host")

    def _items(self, connection: object) -> Iterator[Item | Malformed | Heartbeat]:
        while True:
            frame = self._received(connection)
            if frame is None:
                yield HEARTBEAT
            else:
                yield from self._codec.items(frame)

    def _received(self, connection: Any) -> bytes | None:
        """Return the next frame, or None where there is none but the server answers.

        Raises:
            FeedError: it was silent for too long, and did not answer.
        """
        # The waits are counted and not the clock: a process that stood still has not listened.
        step, silent, answered = self._silence / 8, 0.0, None
        while silent < self._silence:
            try:
                return connection.recv(timeout=step, decode=False)
            except TimeoutError:
                silent += step
            if answered is not None and answered.is_set():
                return None
            if answered is None and silent >= self._silence / 2:
                answered = connection.ping()
        raise FeedError(f"{self!r} said nothing for {self._silence} s, and did not answer.")

    @staticmethod
    def _code(error: BaseException, which: str) -> int | None:
        """Return the code with which a connection was closed: that which was "sent", or "rcvd"."""
        return getattr(getattr(error, which, None), "code", None)

    def _translated(self, error: BaseException) -> FeedError:
        if isinstance(error, FeedError):
            return error
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, self._errors.ConnectionClosed):
            code = self._code(error, "rcvd")
            kind = FeedFatalError if code in _UNAUTHORISED_CLOSE else FeedError
            return kind(f"{self!r} was closed{'' if code is None else f' by the server with code {code}'}.")
        if status is not None:
            kind = FeedFatalError if status in _UNAUTHORISED else FeedError
            hint = " Check the credentials." if kind is FeedFatalError else ""
            return kind(f"{self!r} refused the connection with status {status}.{hint}")
        if isinstance(error, tls.SSLError) and not isinstance(error, tls.SSLEOFError | tls.SSLZeroReturnError):
            return FeedFatalError(f"{self!r} cannot be trusted: {error.reason or type(error).__name__}.")
        if isinstance(error, ValueError):  # a redirect to another place, which the library does not follow
            return FeedFatalError(f"{self!r} cannot be used as it is: {type(error).__name__}.")
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        return FeedError(f"{self!r} cannot be reached: {reason}.")


def redacted(url: str) -> str:
    """Return an address without user, password, query and fragment."""
    parts = urllib.parse.urlsplit(url)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    return urllib.parse.urlunsplit((parts.scheme, host + (f":{parts.port}" if parts.port else ""), parts.path, "", ""))


def _checked_url(url: str) -> tuple[str, str, int]:
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = parts = None
    if parts is None or parts.scheme not in ("ws", "wss") or not host:
        raise InvalidArgumentError(
            "url must be 'ws://host[:port]/path' or 'wss://...'; what was given is no such address."
        )
    return url, host, port or (443 if parts.scheme == "wss" else 80)


def _timeval(seconds: int, microseconds: int) -> bytes:
    return np.array([seconds, microseconds], np.int_).tobytes()
