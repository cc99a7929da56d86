"""What goes to a job and what comes back, and how it crosses a pipe. Nothing that is read can run code.

    frame = length of the header (8 bytes, little-endian) | header (JSON) | the bytes of each tensors file

The header holds the kind of the frame, the values, and the name and length of each tensors file.
"""

import io
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from tensor_optix.errors import BadDataError

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class Payload:
    """An item of a job, or its result.

    Args:
        values: JSON values; NaN and infinities are kept.
        tensors: safetensors files by name.
    """

    values: Any = None
    tensors: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """A message between a driver and its worker."""

    kind: str
    """To the worker `"job"`, `"waited"`, `"cancel"`; from it `"ready"`, `"told"`, `"paused"`, `"result"`, `"error"`."""
    payload: Payload = field(default_factory=Payload)
    about: Mapping[str, Any] = field(default_factory=dict)
    """Which job, which item."""

    def to_bytes(self) -> bytes:
        """Return the frame as it crosses a pipe.

        Raises:
            BadDataError: values that are not JSON, or tensors that are not bytes.
        """
        tensors = _checked(self.payload.tensors)
        sizes = [[name, len(content)] for name, content in tensors.items()]
        about = {"kind": self.kind, "about": dict(self.about), "tensors": sizes}
        header = f'{json.dumps(about)[:-1]}, "values": {_encoded(self.payload.values)}}}'.encode()
        return b"".join((_LENGTH.pack(len(header)), header, *tensors.values()))


def read_frame(stream: BinaryIO) -> Frame | None:
    """Return the next frame; None where the other end has gone.

    Args:
        stream: blocking, in binary mode.
    """
    prefix = stream.read(_LENGTH.size)
    if len(prefix) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(prefix)
    encoded = stream.read(length)
    if len(encoded) < length:
        return None
    header = json.loads(encoded)
    tensors = dict[str, bytes]()
    for name, size in header["tensors"]:
        tensors[name] = stream.read(size)
        if len(tensors[name]) < size:
            return None
    return Frame(header["kind"], Payload(header["values"], tensors), header["about"])


def frame_of(content: bytes) -> Frame:
    """Return the frame that is in these bytes.

    Raises:
        BadDataError: it is not there as a whole.
    """
    frame = read_frame(io.BytesIO(content))
    if frame is None:
        raise BadDataError(f"A frame must be whole, but it broke off after {len(content)} bytes.")
    return frame


def crossed(payload: Payload) -> Payload:
    """Return a payload as it arrives at the other end of a pipe: a tuple is a list by then.

    Raises:
        BadDataError: it could not be sent.
    """
    return Payload(json.loads(_encoded(payload.values)), dict(_checked(payload.tensors)))


def _encoded(values: object) -> str:
    try:
        return json.dumps(values)
    except (TypeError, ValueError) as error:
        raise BadDataError(f"Payload.values must be JSON (numbers, text, lists, dicts): {error}.") from error


def _checked(tensors: Mapping[str, bytes]) -> Mapping[str, bytes]:
    if not all(isinstance(content, bytes) for content in tensors.values()):
        raise BadDataError("Payload.tensors must be bytes by name: safetensors.numpy.save(arrays) makes them.")
    return tensors
