"""Attacks by what a feed sends, and by files that are given as recorded sessions; see `attack_corpus`."""

import json
import os
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import zstandard

from tensor_optix.errors import BadDataError
from tensor_optix.pipeline._items import ItemCheck, Malformed
from tensor_optix.pipeline.feed.recording import SESSION_FORMAT
from tensor_optix.pipeline.feed.session_reading import read_session, recorded_space
from tensor_optix.pipeline.feed.sorting import numbered, sorted_out
from tensor_optix.pipeline.sources._frames import Frame, FrameCodec
from tests.soak.attack_corpus import LOUD, Bench

_MAX_ITEM_BYTES = 1 << 20
_HEADER = {"format": SESSION_FORMAT, "version": 1}
ITEM = {"dtype": "<f4", "shape": [1], "observation": [0.0], "time": 1.0}
_DEEP = 100_000


def given(what: object) -> None:
    """Let the feed take what a source yielded, after one item that fits; what is set aside is the error."""
    taken = sorted_out(what, 0.0, _MAX_ITEM_BYTES)
    if isinstance(taken, Malformed):
        raise BadDataError(taken.reason)
    assert taken is not None
    item = taken.item  # type: ignore[union-attr]
    if isinstance(item[4], dict) and "sequence" in item[4]:
        number = numbered(item[4]["sequence"], item[4])
        if isinstance(number, Malformed):
            raise BadDataError(number.reason)
    check = ItemCheck()
    check((np.zeros(2), 0.0, False, False, {}))
    check(item)


def frame(data: bytes, format: str = "json") -> Callable[[Bench], None]:
    """Return the attack of a server that sends a frame."""

    def attack(bench: Bench) -> None:
        for what in FrameCodec(format, Frame, None, None).items(data):
            given(what)

    return attack


def sent(**changes: Any) -> Callable[[Bench], None]:
    """Return the attack of a server that sends a frame with other fields than a good one."""
    return frame(json.dumps({"observation": [1.0, 2.0]} | changes).encode())


def session(*lines: Any, header: Any = _HEADER) -> Callable[[Bench], None]:
    """Return the attack by a file of these lines."""
    return file(b"\n".join(_line(line) for line in (header, *lines)) + b"\n")


def file(content: bytes) -> Callable[[Bench], None]:
    """Return the attack by a file that holds this, compressed."""
    return raw(zstandard.ZstdCompressor().compress(content))


def raw(data: bytes) -> Callable[[Bench], None]:
    """Return the attack by a file of these bytes."""

    def attack(bench: Bench) -> None:
        path = bench.run / "session.jsonl.zst"
        path.write_bytes(data)
        for _ in read_session(path):
            pass

    return attack


def _line(line: Any) -> bytes:
    return line if isinstance(line, bytes) else json.dumps(line).encode()


def _space_of_a_session(bench: Bench) -> None:
    path = bench.run / "session.jsonl.zst"
    header = _HEADER | {"space": {"type": "Box", "low": "__import__('os')", "high": 1, "shape": [1 << 60]}}
    path.write_bytes(zstandard.ZstdCompressor().compress(_line(header) + b"\n"))
    recorded_space(path)


def _folder(bench: Bench) -> None:
    list(read_session(bench.run))


def _link_in_a_circle(bench: Bench) -> None:
    os.symlink("session", bench.run / "session")
    list(read_session(bench.run / "session"))


FEED_ATTACKS: dict[str, Callable[[Bench], None]] = {
    # T7: what a server sends
    "a frame that is a pickle": lambda b: frame(b.pickle)(b),
    "a frame of half a surrogate": frame(b'{"observation": ["\\ud800"]}'),
    "a frame of lists 100,000 deep": frame(b'{"observation":' + b"[" * _DEEP),
    "a frame of MessagePack lists 100,000 deep": frame(b"\x81\xa0" + b"\x91" * _DEEP, "msgpack"),
    "a frame of MessagePack that says it has 2^32 entries": frame(b"\xdd\xff\xff\xff\xff", "msgpack"),
    "a frame of an extension of MessagePack": frame(msgspec.msgpack.encode(msgspec.msgpack.Ext(5, b"x")), "msgpack"),
    "a frame without an observation": frame(b'{"reward": 1}'),
    "a frame whose reward is 1e999": frame(b'{"observation": [1, 2], "reward": 1e999}'),
    "a frame whose observation is NaN": frame(b'{"observation": [NaN, 1]}'),
    "a frame whose observation is 1e999": frame(b'{"observation": [1e999, 1]}'),
    "a frame whose observation has 400 digits": sent(observation=[10**400, 1]),
    "a frame whose observation is text": sent(observation=LOUD),
    "a frame whose observation is ragged": sent(observation=[[1], [1, 2]]),
    "a frame whose observation has another shape": sent(observation=[1.0, 2.0, 3.0]),
    "a frame whose observation is an object": sent(observation={LOUD: [1.0]}),
    "a frame whose observation has a million numbers": sent(observation=[0.0] * 10**6),
    "a frame whose flag is 2": sent(terminated=2),
    "a frame whose info is a list": sent(info=[1]),
    "a frame whose number is true": sent(sequence=True),
    "a frame whose number is negative": sent(sequence=-1),
    "a frame whose number is 2^62": sent(sequence=1 << 62),
    "a frame whose number is 1e30": sent(sequence=1e30),
    "a frame whose numbering is a list": sent(sequence=1, epoch=[1]),
    "an item of objects": lambda b: given((np.array([b.pickle, None]), 0.0, False, False, {})),
    "an item of dates": lambda b: given((np.array(["2026-01-01", "2026-01-02"], "M8[D]"), 0.0, False, False, {})),
    "an item whose reward is infinite": lambda b: given((np.zeros(2), float("inf"), False, False, {})),
    "an item that is a class": lambda b: given(Bench),
    # sessions
    "a session that is a pickle": lambda b: raw(b.pickle)(b),
    "a session that is no zstandard": raw(b"\x1f\x8b" + bytes(100)),
    "a session with a window of 2 GB": raw(b"\x28\xb5\x2f\xfd\x00\xa8" + bytes(64)),
    "a session that is empty": raw(b""),
    "a session that is a folder": _folder,
    "a session that is a link to itself": _link_in_a_circle,
    "a session of another version": session(header=_HEADER | {"version": 2}),
    "a session whose version is true": session(header=_HEADER | {"version": True}),
    "a session whose format speaks to the terminal": session(header=_HEADER | {"format": LOUD}),
    "a session with a field that there is not": session(ITEM | {LOUD: 1}),
    "a session of lists 100,000 deep": session(b'{"observation":' + b"[" * _DEEP),
    "a session with a line that is no JSON": session(ITEM, b"\xff\xfe"),
    "a session with an observation before its form": session({"observation": [0.0]}),
    "a session of objects": session(ITEM | {"dtype": "|O", "observation": [None]}),
    "a session of a type that there is not": session(ITEM | {"dtype": LOUD}),
    "a session of dates": session(ITEM | {"dtype": "<M8[s]", "observation": ["x"]}),
    "a session with a shape of 2^62": session(ITEM | {"shape": [1 << 62]}),
    "a session with another shape": session(ITEM, {"observation": [0.0, 1.0]}),
    "a session with text for numbers": session(ITEM, {"observation": [LOUD]}),
    "a session with a number of 400 digits": session(
        b'{"dtype": "<i8", "shape": [1], "observation": [1%s]}' % (b"0" * 400)
    ),
    "a session with an array of objects in an info": session(ITEM | {"info": {"a": {"__array__": ["|O", None, 1]}}}),
    "a session with an array of 2^60 in an info": session(
        ITEM | {"info": {"a": {"__array__": ["<f4", [1 << 60], [1]]}}}
    ),
    "a session with half an array in an info": session(ITEM | {"info": {"a": {"__array__": ["<f4"]}}}),
    "a session with a tuple that is none": session(ITEM | {"info": {"a": {"__tuple__": 1}}}),
    "a session with a space that is none": _space_of_a_session,
}
