"""Reading what a session's file holds, without holding it: memory is bounded by a window, whatever the file."""

import io
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from gymnasium import spaces

from tensor_optix.errors import CheckpointCorruptError, FeedFatalError
from tensor_optix.pipeline._items import BREAK, Break, Recorded
from tensor_optix.pipeline.environment.space_json import space_from_json
from tensor_optix.pipeline.feed.recorded_values import revived
from tensor_optix.pipeline.feed.recording import SESSION_FORMAT, VERSION, Line
from tensor_optix.support.optional import require
from tensor_optix.support.trees import Tree

MAX_LINE_BYTES = 64 << 20
_MAX_WINDOW_BYTES = 1 << 27
_CHUNK = 1 << 18


def read_session(path: str | os.PathLike[str]) -> Iterator[Recorded | Break]:
    """Yield what `SessionRecorder` recorded; a file cut off at its end is read as far as it goes.

    The file is read twice at a time, once ahead: what came after the last window of a session counts only where no
    later session follows. So nothing has to be remembered, however many lines there are.

    Raises:
        FeedFatalError: there is no such file, or it is no recorded session.
        MissingDependencyError: zstandard is not installed.
    """
    lines, reading = enumerate(_lines(path), 1), _Reading(path)
    for count, counts in _stretches(path):
        for number, line in itertools.islice(lines, count):
            if counts:
                yield from reading.take(number, line)
    if reading.last is not None:
        yield reading.last


def _stretches(path: str | os.PathLike[str]) -> Iterator[tuple[int, bool]]:
    """Yield (number of lines, whether they count) of each stretch; one ends with a window, a session or the file."""
    count = 0
    for number, line in enumerate(_lines(path), 1):
        if line.format is not None and number > 1:
            yield count, False
            count = 0
        count += 1
        if line.window is not None:
            yield count, True
            count = 0
    yield count, True


class _Reading:
    """Makes items of the lines that count; the last one is held back, as the next line may say more about it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.last: Recorded | Break | None = None
        self._path = path
        self._form: Tree = None
        self._begins_session = False

    def take(self, number: int, line: Line) -> Iterator[Recorded | Break]:
        """Yield what can be given on now that the next line has been read."""
        if line.format is not None:
            self._form, self._begins_session = None, number > 1
            if not isinstance(self.last, Recorded):
                self.last = None  # how a later session goes on is seen from its first item
        elif line.window is not None:
            return
        elif line.is_break:
            yield from self._next(BREAK)
        elif line.observation is None and line.whole is msgspec.UNSET:
            if isinstance(self.last, Recorded):
                more = {"is_late": line.late} if line.acted is None else {"acted": line.acted}
                self.last = self.last._replace(**more)
        else:
            self._form = (line.dtype, line.shape) if line.dtype is not None else self._form
            recorded = Recorded(_item(self._path, number, line, self._form), line.time or 0.0, line.late)
            if self._begins_session:
                self._begins_session = False
                yield from self._join(recorded)
            yield from self._next(recorded)

    def _next(self, what: Recorded | Break) -> Iterator[Recorded | Break]:
        if self.last is not None:
            yield self.last
        self.last = what

    def _join(self, recorded: Recorded) -> Iterator[Recorded | Break]:
        """Prepare for the first item of a later session: numbered, it ended the last window, or is the next one."""
        before = self.last.item[4].get("sequence") if isinstance(self.last, Recorded) else None
        sequence = recorded.item[4].get("sequence")
        if before is not None and sequence == before:
            self.last = None
        elif before is None or sequence != before + 1:
            yield from self._next(BREAK)


def _item(path: object, number: int, line: Line, form: Tree) -> tuple[object, float, bool, bool, dict[str, object]]:
    try:
        observation = _array(line, form) if line.whole is msgspec.UNSET else revived(line.whole)
        info = {name: revived(value) for name, value in (line.info or {}).items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise FeedFatalError(f"{path} is damaged at line {number}: {error}") from None
    return observation, line.reward, line.terminated, line.truncated, info


def _array(line: Line, form: Tree) -> np.ndarray:
    dtype, shape = form
    observation = np.asarray(line.observation, np.dtype(dtype))
    if observation.dtype.hasobject or observation.shape != tuple(shape):
        raise ValueError(f"an observation of shape {observation.shape}")
    return observation


def recorded_space(path: str | os.PathLike[str]) -> spaces.Space[object] | None:
    """Return the observation space that a session names; None where it names none, or cannot be read.

    Raises:
        FeedFatalError: what it names is none.
    """
    try:
        header = next(_lines(path), None)
    except FeedFatalError:
        return None  # whoever reads the items is told why
    if header is None or header.space is None:
        return None
    try:
        return space_from_json(header.space)
    except CheckpointCorruptError as error:
        raise FeedFatalError(f"{path} is damaged: {error}") from None


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
                line = decoder.decode(raw)
            except (msgspec.DecodeError, RecursionError) as error:
                raise FeedFatalError(f"{path} is no recorded session (line {number}: {error}).") from None
            is_header = line.format is not None or number == 1
            if is_header and (line.format, line.version) != (SESSION_FORMAT, VERSION):
                raise FeedFatalError(f"{path} is no recorded session of version {VERSION} (line {number}).")
            yield line
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
