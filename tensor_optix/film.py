"""Pictures of an episode as a film: a GIF of bounded length and size, or an MP4 that is written while it is played."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tensor_optix.core.storage.atomic import replace_file, storage_errors
from tensor_optix.core.storage.line_log import CLIP
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.optional import require

CLIP_FRAMES, CLIP_WIDTH, CLIP_BYTES = 120, 320, 500_000
"""Of the clip that a report shows, whose page stays below 6 MB."""
GIF_FRAMES, GIF_WIDTH = 600, 480
"""Of a GIF that was asked for."""
_SHORTEST, _LONGEST = 20, 100
"""Milliseconds that a frame of a GIF is shown."""


class Film(Protocol):
    """Takes the frames of a film, (H, W, 3) uint8, and writes it."""

    def add(self, frame: np.ndarray) -> None:
        """Add a frame."""
        ...

    def finish(self) -> None:
        """Write what is not written yet."""
        ...


class Gif:
    """A GIF; of more frames than it may have, every second, fourth, ... is kept, and the pace is the same.

    Args:
        path: of the file.
        fps: frames per second of the environment.
        frames: at most.
        width: in pixels, at most.
        max_bytes: frames are left out until the file is as small; None = no bound.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """

    def __init__(
        self, path: Path, fps: float, *, frames: int = GIF_FRAMES, width: int = GIF_WIDTH, max_bytes: int | None = None
    ) -> None:
        self._image = require("PIL.Image", "A GIF", "enjoy")
        self._path, self._fps = path, fps
        self._most, self._width, self._max_bytes = frames, width, max_bytes
        self._kept: list[Any] = []
        self._seen, self._stride = 0, 1

    def add(self, frame: np.ndarray) -> None:
        """Keep a frame, if its turn has come."""
        if self._seen % self._stride == 0:
            if len(self._kept) == self._most:
                self._halve()
            if self._seen % self._stride == 0:
                self._kept.append(self._small(frame))
        self._seen += 1

    def finish(self) -> None:
        """Write the file, as a whole or not at all; nothing where there is no frame."""
        if not self._kept:
            return
        content = self._encoded()
        while self._max_bytes is not None and len(content) > self._max_bytes and len(self._kept) > 1:
            self._halve()
            content = self._encoded()
        with storage_errors("write", self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, content)

    def _halve(self) -> None:
        self._kept, self._stride = self._kept[::2], 2 * self._stride

    def _small(self, frame: np.ndarray) -> Any:
        image = self._image.fromarray(frame)
        if image.width > self._width:
            image = image.resize((self._width, max(round(image.height * self._width / image.width), 1)))
        return image.quantize(64)

    def _encoded(self) -> bytes:
        shown = min(max(round(1000 * self._stride / self._fps), _SHORTEST), _LONGEST)
        first, *rest = self._kept
        content = io.BytesIO()
        first.save(content, "GIF", save_all=True, append_images=rest, duration=shown, loop=0, optimize=True)
        return content.getvalue()


class Mp4:
    """An MP4 (H.264), written frame by frame.

    Args:
        path: of the file.
        fps: frames per second.

    Raises:
        MissingDependencyError: imageio-ffmpeg, which brings its own ffmpeg, is not installed.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._ffmpeg = require("imageio_ffmpeg", "An MP4", "enjoy")
        self._path, self._fps = path, fps
        self._writing: Any = None
        self._shape: tuple[int, ...] = ()

    def add(self, frame: np.ndarray) -> None:
        """Write a frame; one of another size than the first is left out."""
        with storage_errors("write", self._path):
            if self._writing is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._shape = frame.shape
                size = (frame.shape[1], frame.shape[0])
                # Players want an even number of pixels.
                self._writing = self._ffmpeg.write_frames(str(self._path), size, fps=self._fps, macro_block_size=2)
                self._writing.send(None)
            if frame.shape == self._shape:
                self._writing.send(np.ascontiguousarray(frame))

    def finish(self) -> None:
        """Close the file."""
        if self._writing is not None:
            self._writing.close()
            self._writing = None


class Films:
    """Several films of the same frames.

    Args:
        films: who gets them.
    """

    def __init__(self, films: Sequence[Film]) -> None:
        self._films = list(films)
        self._colour: np.ndarray | None = None
        self.are_blank = True
        """True as long as every pixel of every frame is of one colour."""

    def add(self, frame: np.ndarray) -> None:
        """Add a frame to each."""
        if self.are_blank:
            self._colour = frame[0, 0] if self._colour is None else self._colour
            self.are_blank = bool((frame == self._colour).all())
        for film in self._films:
            film.add(frame)

    def finish(self) -> None:
        """Write each."""
        for film in self._films:
            film.finish()


def check_films(record: Path | None) -> None:
    """Raise where a film could not be made: its kind is unknown, or a package is missing.

    Args:
        record: the file that was asked for; None = only the short film that a report shows.

    Raises:
        InvalidArgumentError: it is neither `.gif` nor `.mp4`.
        MissingDependencyError: the message has the install line.
    """
    for path in (Path(CLIP), record):
        if path is not None:
            film_at(path, fps=1.0)


def film_at(path: Path, fps: float) -> Film:
    """Return the film that the end of a file's name asks for.

    Raises:
        InvalidArgumentError: neither `.gif` nor `.mp4`.
    """
    if path.suffix.lower() == ".gif":
        return Gif(path, fps)
    if path.suffix.lower() == ".mp4":
        return Mp4(path, fps)
    raise InvalidArgumentError(f"--record writes a .gif or an .mp4, but got {str(path)!r}.")


def clip_at(path: Path, fps: float) -> Gif:
    """Return the short film that a report shows."""
    return Gif(path, fps, frames=CLIP_FRAMES, width=CLIP_WIDTH, max_bytes=CLIP_BYTES)
