import socket
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from tensor_optix.pipeline.environment.workers import wire

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        wire.limit_waits(end, 60.0)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_request_arrives_with_what_it_carries(ends: Ends) -> None:
    wire.send_request(ends[0], wire.STEP)
    wire.send_request(ends[0], wire.RESET, b"x" * 100_000)
    assert wire.read_request(ends[1]) == (wire.STEP, b"")
    assert wire.read_request(ends[1]) == (wire.RESET, b"x" * 100_000)


def test_two_replies_in_a_row_are_two(ends: Ends) -> None:
    info = {"a": np.float32(1.5), "b": (1, [np.arange(3)]), "c": {"d": float("nan")}, 2: None}
    wire.send_reply(ends[0], wire.DONE, wire.TRUNCATED, -1.5, 7, [info, None])
    wire.send_reply(ends[0], wire.DONE, number=8)
    first, second = wire.read_reply(ends[1]), wire.read_reply(ends[1])
    assert (first.flags, first.reward, first.number, first.has_ended) == (wire.TRUNCATED, -1.5, 7, True)
    assert repr(first.value) == repr([info, None])
    assert type(first.value[0]["a"]) is np.float32
    assert second == (wire.DONE, 0, 0.0, 8, None)


def test_what_cannot_be_sent_is_named_and_nothing_is_sent(ends: Ends) -> None:
    info = {"good": 1, "bad": object(), "text": "\ud800"}
    with pytest.raises(wire.UnsendableError):
        wire.send_reply(ends[0], wire.DONE, value=[info, None])
    wire.send_reply(ends[0], wire.DONE, value=wire.sendable(info))
    found = wire.read_reply(ends[1]).value
    assert found == {"good": 1, wire.LEFT_OUT: ("bad (object)", "text (str)")}


def reply(kind: bytes = wire.DONE, length: int | None = None, payload: bytes = b"") -> bytes:
    return wire.REPLY.pack(kind, 0, 0.0, 0, len(payload) if length is None else length) + payload


@pytest.mark.parametrize(
    "said",
    [
        reply(b"?"),
        reply(length=2**31),
        reply(payload=b"{"),
        reply(payload=b"\xff\xfe"),
        reply(payload=b'{"object": 1}'),
        reply(payload=b'{"array": {"dtype": "object", "shape": [1], "data": ""}}'),
        reply(payload=b"[" * 100_000),
        b"\x80\x04\x95" * 20,
    ],
)
def test_what_is_not_of_the_form_is_refused(ends: Ends, said: bytes) -> None:
    ends[0].sendall(said)
    with pytest.raises(wire.WireError, match="not of the form"):
        wire.read_reply(ends[1])


@pytest.mark.parametrize("said", [b"", reply()[:5], reply(length=10, payload=b"short")])
def test_who_goes_in_the_middle_is_gone(ends: Ends, said: bytes) -> None:
    ends[0].sendall(said)
    ends[0].close()
    with pytest.raises(wire.ClosedError):
        wire.read_reply(ends[1])
    with pytest.raises((wire.ClosedError, struct.error)):
        wire.read_request(ends[1])


@pytest.mark.parametrize("seconds", [0.01, 1e-9, -1.0])
def test_who_says_nothing_is_late(ends: Ends, seconds: float) -> None:
    wire.limit_waits(ends[1], seconds)
    with pytest.raises(TimeoutError):
        wire.read_reply(ends[1])


def test_who_does_not_finish_is_late(ends: Ends) -> None:
    ends[0].sendall(wire.reply_bytes(wire.Reply(wire.DONE, 0, 0.0, 0, None))[:-1])
    wire.limit_waits(ends[1], 0.01)
    with pytest.raises(TimeoutError):
        wire.read_reply(ends[1])


def test_who_does_not_read_is_late(ends: Ends) -> None:
    wire.limit_waits(ends[0], 0.01)
    with pytest.raises(TimeoutError):
        wire.send_request(ends[0], wire.RESET, b"x" * (1 << 24))


def test_a_wait_may_be_as_long_as_one_likes(ends: Ends) -> None:
    wire.limit_waits(ends[1], 1e300)
    wire.send_request(ends[0], wire.STEP)
    assert wire.read_request(ends[1]) == (wire.STEP, b"")
