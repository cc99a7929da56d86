"""Frames of a server, in JSON or MessagePack, and the items that are made of them."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from tensor_optix.core.types import Observation
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.pipeline._items import HEARTBEAT, Heartbeat, Item, Malformed

FRAME_FORMATS = ("json", "msgpack")
_SHOWN = 200


class Frame(msgspec.Struct):
    """What the server sends where no `schema` is given: one such object per frame, or a list of them.

    `{"heartbeat": ...}` without an observation says that the server is there.
    """

    observation: Observation = msgspec.UNSET
    """Numbers, in lists as deep as the observation has dimensions, or an object of such by name."""
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = {}
    sequence: int | None = None
    """Number of the item, where the server numbers them; it goes into `info`."""
    epoch: int | str | None = None
    """Name of the numbering, which changes when the server begins again at another number; it goes into `info`."""
    heartbeat: object = msgspec.UNSET


class FrameCodec:
    """Makes items of frames, and frames of messages.

    Args:
        format: one of `FRAME_FORMATS`.
        schema: type of a frame.
        to_item: makes an item, a heartbeat or None of a decoded frame.
        dtype: of observations that are lists; None = as their numbers are.

    Raises:
        InvalidArgumentError: an unknown format, or a schema of the user's own without `to_item`.
    """

    def __init__(
        self, format: str, schema: object, to_item: Callable[[Any], Item | Heartbeat | None] | None, dtype: Any
    ) -> None:
        if format not in FRAME_FORMATS:
            raise InvalidArgumentError(f"format must be one of {FRAME_FORMATS}, but got {format!r}.")
        if schema is not Frame and to_item is None:
            raise InvalidArgumentError("schema needs to_item=, which makes an item of what was decoded.")
        codec = msgspec.json if format == "json" else msgspec.msgpack
        self._decode = codec.Decoder(schema if to_item is not None else Frame | list[Frame]).decode
        self._encode = codec.Encoder(enc_hook=_plain).encode
        self._is_text = format == "json"
        self._to_item, self._dtype = to_item, None if dtype is None else np.dtype(dtype)

    def encode(self, message: object) -> str | bytes:
        """Return the frame of a message: text where the format is JSON."""
        encoded = self._encode(message)
        return encoded.decode() if self._is_text else encoded

    def items(self, frame: bytes) -> Iterator[Item | Malformed | Heartbeat]:
        """Yield what is in a frame; what does not fit the schema as malformed."""
        try:
            decoded = self._decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield Malformed(f"its frame does not fit the schema: {str(error)[:_SHOWN]}", frame[:_SHOWN])
            return
        if self._to_item is not None:
            yield self._users_item(self._to_item, decoded)
        elif isinstance(decoded, list):
            for part in decoded:
                yield self._item(part)
        else:
            yield self._item(decoded)

    @staticmethod
    def _users_item(to_item: Callable[[Any], Item | Heartbeat | None], decoded: object) -> Item | Malformed | Heartbeat:
        try:
            item = to_item(decoded)
        except Exception as error:
            return Malformed(f"to_item raised {type(error).__name__}: {str(error)[:_SHOWN]}")
        return HEARTBEAT if item is None else item

    def _item(self, decoded: Frame) -> Item | Malformed | Heartbeat:
        if decoded.observation is msgspec.UNSET:
            return HEARTBEAT if decoded.heartbeat is not msgspec.UNSET else Malformed("its frame has no observation")
        info = decoded.info
        if decoded.sequence is not None:
            info["sequence"] = decoded.sequence
            if decoded.epoch is not None:
                info["epoch"] = decoded.epoch
        try:
            observation = self._observation(decoded.observation)
        except (ValueError, TypeError, OverflowError) as error:
            return Malformed(f"its observation is no array: {str(error)[:_SHOWN]}")
        return observation, decoded.reward, decoded.terminated, decoded.truncated, info

    def _observation(self, value: object) -> Observation:
        if isinstance(value, dict):
            return {name: self._observation(part) for name, part in value.items()}
        array = np.array(value)
        if array.dtype.kind not in "biuf":
            raise ValueError("it is not made of numbers")
        if not isinstance(value, list):
            return value
        with np.errstate(over="ignore"):  # what is too large for the dtype is infinite, and refused as such
            return array if self._dtype is None else array.astype(self._dtype)


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be sent")
