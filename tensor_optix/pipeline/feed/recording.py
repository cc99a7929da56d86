"""Sessions of a live feed in a file: what the loop saw, one JSON line per item, in zstandard frames.

The lines of a session: a header, then items in the order in which they were seen, `{"acted": time}` after one that was
held while the agent learned and began a window then, `{"late": true}` after one whose action came too late,
`{"break": true}` where some are missing, and `{"window": n}` after the item with which a window ended. A frame ends
with each window, so that a killed process loses the window in progress and nothing else; a later session in the same
file goes on where the last window ended.
"""

import contextlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from gymnasium import spaces

from tensor_optix.core.storage.reading import BINARY, NO_FOLLOW
from tensor_optix.core.types import Observation
from tensor_optix.errors import BadDataError
from tensor_optix.pipeline.environment.space_json import space_to_json
from tensor_optix.pipeline.feed.recorded_values import plain, with_tuples
from tensor_optix.support.optional import require

logger = logging.getLogger(__name__)

SESSION_FORMAT = "tensor-optix-session"
VERSION = 1
_BLOCK_LINES = 4096


class Line(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """One line; which fields it has says what it is."""

    format: str | None = None
    version: int | None = None
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    observation: Observation = None
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] | None = None
    time: float | None = None
    acted: float | None = None
    late: bool = False
    window: int | None = None
    is_break: bool = msgspec.field(default=False, name="break")
    whole: Any = msgspec.UNSET
    """An observation that is no array, whose own form is in it."""
    space: dict[str, Any] | None = None
    """Of such observations, in the header."""


class SessionRecorder:
    """Appends a session to a file, which is this user's alone.

    A disk that takes nothing ends no run: what it refuses is lost, said once, and declared in the file as a break as
    soon as there is room again.

    Args:
        path: "*.jsonl.zst"; its folder is made.
        observation_space: of the items; None where it is not known.

    Raises:
        MissingDependencyError: zstandard is not installed.
        OSError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], observation_space: object = None) -> None:
        zstandard = require("zstandard", "LivePipeline(record=...)", "live")
        self._compressor = zstandard.ZstdCompressor(level=3)
        self._encoder = msgspec.json.Encoder(enc_hook=plain)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.fdopen(os.open(path, flags | NO_FOLLOW | BINARY, 0o600), "ab", buffering=0)
        self._path = Path(path)
        self._has_gap = False
        self.lost = 0
        """Lines that the disk did not take."""
        self._lines: list[bytes] = []
        self._described: tuple[str, tuple[int, ...]] | None = None
        is_array = isinstance(observation_space, spaces.Box)  # whose items say enough themselves
        space = None if is_array else space_to_json(observation_space)
        self._add(Line(format=SESSION_FORMAT, version=VERSION, space=space))

    def item(
        self,
        observation: Observation,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: Mapping[str, object],
        arrival: float,
    ) -> None:
        """Add an item that has passed the checks."""
        flags = {"terminated": terminated, "truncated": truncated}
        rest = {"reward": reward, **flags, "info": dict(info) if info else None, "time": arrival}
        if not isinstance(observation, np.ndarray):
            self._add(Line(whole=with_tuples(observation), **rest))
            return
        form = (observation.dtype.str, observation.shape)
        dtype, shape = (None, None) if form == self._described else form
        self._described = form
        self._add(Line(dtype=dtype, shape=shape, observation=observation.tolist(), **rest))

    def acted(self, time: float) -> None:
        """Say when the last item was acted on, from which the seconds of a window count."""
        self._add(Line(acted=time))

    def late(self) -> None:
        """Say that the action for the last item came too late."""
        self._add(Line(late=True))

    def broken(self) -> None:
        """Say that items are missing here."""
        self._add(Line(is_break=True))

    def window(self, number: int) -> None:
        """Say that a window ends here, and put everything on the disk."""
        self._add(Line(window=number))
        self._flush()

    def close(self) -> None:
        """End the file."""
        if not self._file.closed:
            self._flush()
            self._file.close()

    def _add(self, line: Line) -> None:
        try:
            self._lines.append(self._encoder.encode(line))
        except (TypeError, ValueError, OverflowError) as error:
            raise BadDataError(
                f"An item cannot be recorded: {error}. Keep infos to numbers, text and arrays."
            ) from error
        if len(self._lines) >= _BLOCK_LINES:
            self._flush()

    def _flush(self) -> None:
        if not self._lines:
            return
        gap = [self._encoder.encode(Line(is_break=True))] if self._has_gap else []
        left = memoryview(self._compressor.compress(b"\n".join([*gap, *self._lines]) + b"\n"))
        end = self._file.seek(0, os.SEEK_END)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            if not self._has_gap:
                logger.warning(
                    "%s takes nothing (%s): the session goes on unrecorded until there is room again.",
                    self._path,
                    error.strerror or error,
                )
            self._has_gap, self._described = True, None
            self.lost += len(self._lines)
        else:
            self._has_gap = False
        finally:
            self._lines.clear()
