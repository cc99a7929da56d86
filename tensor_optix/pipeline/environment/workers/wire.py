"""What a process and its worker tell each other: a header of fixed form, and JSON values behind it.

A request is its kind and its length; what it carries comes from the user's own process. A reply is read by its form:
its numbers are fixed, and what an environment tells beside them is numbers, text, arrays, and lists, tuples and
dictionaries of them. Nothing of it is unpickled.
"""

import io
import socket
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from tensor_optix.core.types import Info
from tensor_optix.errors import TensorOptixError
from tensor_optix.support.nested import packed, unpacked

REQUEST = struct.Struct("<cI")
"""Kind, bytes that follow."""
REPLY = struct.Struct("<cBdqI")
"""Kind, flags, reward, number of the episode in progress, bytes that follow."""
TERMINATED, TRUNCATED, IS_FULL = 1, 2, 4
"""Flags; the last one: the worker's memory has grown too large, and it takes no further request."""
PLACE, MAKE, RESET, STEP, CALL, SET, CLOSE = (bytes([letter]) for letter in b"pmrscax")
"""Kinds of requests."""
DONE, RAISED = b"d", b"e"
"""Kinds of replies."""
MOST_BYTES = 1 << 30
LEFT_OUT = "tensor_optix_left_out"
"""In an info: names of what it had and what cannot be sent, with their types."""
_CHUNK = 1 << 16
_MOST_SECONDS = 1e9


class Reply(NamedTuple):
    """What a worker has answered."""

    kind: bytes
    flags: int
    reward: float
    number: int
    value: Any
    """What came behind the header, None where nothing did."""

    @property
    def has_ended(self) -> bool:
        """Whether an episode ended with the step."""
        return bool(self.flags & (TERMINATED | TRUNCATED))


class WireError(Exception):
    """What the other side says is not of the form."""


class ClosedError(WireError):
    """The other side is gone."""


class UnsendableError(Exception):
    """A value is of a kind that cannot be sent."""


def limit_waits(channel: socket.socket, seconds: float) -> None:
    """Let each wait of a channel end in `TimeoutError` after so many seconds.

    The kernel counts them. With `settimeout` Python would ask twice for each message, first whether it can be read.
    """
    whole, rest = divmod(min(max(seconds, 1e-3), _MOST_SECONDS), 1.0)
    timeval = struct.pack("ll", int(whole), int(rest * 1e6))
    for direction in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        channel.setsockopt(socket.SOL_SOCKET, direction, timeval)


def send_request(channel: socket.socket, kind: bytes, payload: bytes = b"") -> None:
    """Send a request; raises `OSError` where the other side is gone, `TimeoutError` where it does not read."""
    try:
        channel.sendall(REQUEST.pack(kind, len(payload)) + payload)
    except BlockingIOError as error:
        raise TimeoutError("timed out") from error


def read_request(channel: socket.socket) -> tuple[bytes, bytes]:
    """Return the next request and what it carries.

    Raises:
        ClosedError: the other side is gone.
    """
    kind, length = REQUEST.unpack(_exactly(channel, REQUEST.size))
    return kind, _exactly(channel, length) if length else b""


def send_reply(
    channel: socket.socket, kind: bytes, flags: int = 0, reward: float = 0.0, number: int = 0, value: object = None
) -> None:
    """Send a reply.

    Raises:
        UnsendableError: `value` holds something that cannot be sent; nothing was.
    """
    channel.sendall(reply_bytes(Reply(kind, flags, reward, number, value)))


def reply_bytes(reply: Reply) -> bytes:
    """Return a reply as it is sent.

    Raises:
        UnsendableError: its value holds something that cannot be sent.
    """
    payload = b"" if reply.value is None else _encoded(reply.value)
    return REPLY.pack(*reply[:-1], len(payload)) + payload


def read_reply(channel: socket.socket) -> Reply:
    """Return the next reply, in at most the timeout of the channel.

    Raises:
        ClosedError: the other side is gone.
        WireError: what it says is not of the form.
        TimeoutError: it does not answer.
    """
    return _reply(lambda size: _exactly(channel, size))


def reply_in(data: bytes) -> Reply:
    """Return the reply that these bytes are.

    Raises:
        WireError: they are none.
    """
    stream = io.BytesIO(data)

    def exactly(size: int) -> bytes:
        if len(part := stream.read(size)) < size:
            raise WireError("what it says is not whole")
        return part

    return _reply(exactly)


def _reply(exactly: Callable[[int], bytes]) -> Reply:
    kind, flags, reward, number, length = REPLY.unpack(exactly(REPLY.size))
    if kind not in (DONE, RAISED) or length > MOST_BYTES:
        raise WireError("what it says is not of the form")
    if not length:
        return Reply(kind, flags, reward, number, None)
    try:
        return Reply(kind, flags, reward, number, unpacked(msgspec.json.decode(exactly(length))))
    except (msgspec.DecodeError, UnicodeDecodeError, TensorOptixError, RecursionError) as error:
        raise WireError(f"what it says is not of the form: {error}") from None


def sendable(info: Info) -> dict[str, object]:
    """Return what of an info can be sent; what cannot is named."""
    kept: dict[str, object] = {}
    left_out: list[str] = []
    for name, value in info.items():
        try:
            _encoded([name, value])
        except UnsendableError:
            left_out.append(f"{name} ({type(value).__name__})")
        else:
            kept[name] = value
    return {**kept, LEFT_OUT: tuple(left_out)} if left_out else kept


def _encoded(value: object) -> bytes:
    try:
        return msgspec.json.encode(packed(value))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UnsendableError(str(error)) from error


def _exactly(channel: socket.socket, size: int) -> bytes:
    try:
        data = channel.recv(min(size, _CHUNK))
        if len(data) == size:
            return data
        parts = []
        while data:
            parts.append(data)
            size -= len(data)
            if not size:
                return b"".join(parts)
            data = channel.recv(min(size, _CHUNK))
    except BlockingIOError as error:
        raise TimeoutError("timed out") from error
    except ConnectionError as error:
        raise ClosedError("closed") from error
    raise ClosedError("closed")
