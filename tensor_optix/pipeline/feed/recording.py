"""Sessions of a live feed in a file: what the loop saw, one JSON line per item, in zstandard frames.

The lines of a session: a header, then items in the order in which they were seen, `{"acted": time}` after one that was
held while the agent learned and began a window then, `{"late": true}` after one whose action came too late,
`{"break": true}` where some are missing, and `{"window": n}` after the item with which a window ended. A frame ends
with each window, so that a killed process loses the window in progress and nothing else; a later session in the same
file goes on where the last window ended.
"""

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tensor_optix.errors import BadDataError, FeedFatalError
from tensor_optix.pipeline._items import BREAK, Break, Recorded
from tensor_optix.support.optional import require

SESSION_FORMAT = "tensor-optix-session"
VERSION = 1
MAX_LINE_BYTES = 64 << 20
_MAX_WINDOW_BYTES = 1 << 27
_CHUNK = 1 << 18
_BLOCK_LINES = 4096


class Line(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """One line; which fields it has says what it is."""

    format: str | None = None
    version: int | None = None
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    observation: Any = None
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] | None = None
    time: float | None = None
    acted: float | None = None
    late: bool = False
    window: int | None = None
    is_break: bool = msgspec.field(default=False, name="break")


class SessionRecorder:
    """Appends a session to a file.

    Args:
        path: "*.jsonl.zst".

    Raises:
        MissingDependencyError: zstandard is not installed.
        OSError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        zstandard = require("zstandard", "LivePipeline(record=...)", "live")
        self._compressor = zstandard.ZstdCompressor(level=3)
        self._encoder = msgspec.json.Encoder(enc_hook=_plain)
        self._file = Path(path).open("ab")  # noqa: SIM115 - closed by close()
        self._lines: list[bytes] = []
        self._described: tuple[str, tuple[int, ...]] | None = None
        self._add(Line(format=SESSION_FORMAT, version=VERSION))

    def item(
        self,
        observation: np.ndarray,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: Mapping[str, object],
        arrival: float,
    ) -> None:
        """Add an item that has passed the checks."""
        form = (observation.dtype.str, observation.shape)
        dtype, shape = (None, None) if form == self._described else form
        self._described = form
        self._add(
            Line(
                dtype=dtype,
                shape=shape,
                observation=observation.tolist(),
                reward=reward,
                terminated=terminated,
                truncated=truncated,
                info=dict(info) if info else None,
                time=arrival,
            )
        )

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
        if self._lines:
            self._file.write(self._compressor.compress(b"\n".join(self._lines) + b"\n"))
            self._file.flush()
            self._lines.clear()


def read_session(path: str | os.PathLike[str]) -> Iterator[Recorded | Break]:
    """Yield what `SessionRecorder` recorded; a file cut off at its end is read as far as it goes.

    Raises:
        FeedFatalError: there is no such file, or it is no recorded session.
        MissingDependencyError: zstandard is not installed.
    """
    seen: list[Recorded | Break] = []  # since the last window but for the item that ended it, of which more may be said
    ended_by: Recorded | None = None
    form, is_first = None, False
    for number, line in enumerate(_lines(path), 1):
        if line.format is not None or number == 1:
            if (line.format, line.version) != (SESSION_FORMAT, VERSION):
                raise FeedFatalError(f"{path} is no recorded session of version {VERSION} (line {number}).")
            seen, form, is_first = (
                [],
                None,
                number > 1,
            )  # no later session builds on what came after the last window
            if ended_by is not None:
                seen.append(ended_by)
        elif line.window is not None:
            yield from seen[:-1]
            seen = seen[-1:]
            ended_by = seen[0] if seen and isinstance(seen[0], Recorded) else None
        elif line.is_break:
            seen.append(BREAK)
        elif line.observation is None:
            if seen and isinstance(seen[-1], Recorded):
                more = {"is_late": line.late} if line.acted is None else {"acted": line.acted}
                seen[-1] = seen[-1]._replace(**more)
        else:
            form = (line.dtype, line.shape) if line.dtype is not None else form
            recorded = Recorded(_item(path, number, line, form), line.time or 0.0, line.late)
            if is_first:
                _join(seen, recorded)
                is_first = False
            seen.append(recorded)
    yield from seen


def _join(seen: list[Recorded | Break], recorded: Recorded) -> None:
    """Prepare for the first item of a later session: numbered, it ended the last window, or is the next one."""
    before = seen[-1].item[4].get("sequence") if seen and isinstance(seen[-1], Recorded) else None
    sequence = recorded.item[4].get("sequence")
    if before is not None and sequence == before:
        seen.pop()
    elif before is None or sequence != before + 1:
        seen.append(BREAK)


def _item(path: object, number: int, line: Line, form: Any) -> tuple[object, float, bool, bool, dict[str, object]]:
    try:
        dtype, shape = form
        observation = np.asarray(line.observation, np.dtype(dtype))
        if observation.dtype.hasobject or observation.shape != tuple(shape):
            raise ValueError(f"an observation of shape {observation.shape}")
        info = {name: _revived(value) for name, value in (line.info or {}).items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise FeedFatalError(f"{path} is damaged at line {number}: {error}") from None
    return observation, line.reward, line.terminated, line.truncated, info


def _lines(path: str | os.PathLike[str]) -> Iterator[Line]:
    zstandard = require("zstandard", "ReplaySource", "live")
    decoder = msgspec.json.Decoder(Line)
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise FeedFatalError(f"The session {path} cannot be read: {error.strerror}.") from None
    number = 0
    with (
        file,
        zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).stream_reader(
            file, read_across_frames=True
        ) as reader,
    ):
        for number, raw in enumerate(_split(path, reader, zstandard.ZstdError), 1):
            try:
                yield decoder.decode(raw)
            except (msgspec.DecodeError, RecursionError) as error:
                raise FeedFatalError(f"{path} is no recorded session (line {number}: {error}).") from None
    if number == 0:
        raise FeedFatalError(f"{path} is no recorded session: it is empty, or no zstandard file.")


def _split(path: object, reader: io.RawIOBase, damage: type[Exception]) -> Iterator[bytes]:
    """Yield whole lines; the last frame may be torn, and what of it cannot be read is left out."""
    rest = b""
    while True:
        try:
            chunk = reader.read(_CHUNK)
        except damage:
            return
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > MAX_LINE_BYTES:
            raise FeedFatalError(f"{path} has a line of more than {MAX_LINE_BYTES} bytes.")


def _plain(value: object) -> Any:
    """Return what JSON has a word for, with a mark from which an array can be made again."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return {"__array__": [value.dtype.str, list(value.shape), value.tolist()]}
    if isinstance(value, np.generic):
        return {"__array__": [value.dtype.str, None, value.item()]}
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _revived(value: object) -> Any:
    if isinstance(value, list):
        return [_revived(part) for part in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"__array__"}:
        dtype, shape, content = value["__array__"]
        kind = np.dtype(dtype)
        if kind.hasobject:
            raise ValueError("an array of objects")
        return kind.type(content) if shape is None else np.asarray(content, kind).reshape(shape)
    return {name: _revived(part) for name, part in value.items()}
