"""A recorded session as a feed."""

import os
from collections.abc import Iterator
from pathlib import Path

from gymnasium import spaces

from tensor_optix.pipeline._items import Break, Recorded
from tensor_optix.pipeline.feed.session_reading import read_session, recorded_space


class ReplaySource:
    """Plays a session again that `LivePipeline(record=path)` has recorded, as fast as it is read.

    A `LivePipeline` on it gives the same windows as the recorded one, with the recorded times, and an agent with the
    same seed decides the same. It ends with the recording. A file whose last part is missing is read as far as it goes.

    Args:
        path: the file.

    Raises:
        FeedFatalError: (when it is read) there is no such file, or it is no recorded session.
    """

    is_finite = True
    is_replayable = False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()

    @property
    def observation_space(self) -> spaces.Space[object] | None:
        """Of the recorded observations, where they are no arrays; None otherwise, or before there is a recording."""
        return recorded_space(self.path)

    def stream(self) -> Iterator[Recorded | Break]:
        """Yield the recorded items, and where some were missing."""
        return read_session(self.path)

    def __repr__(self) -> str:
        return f"ReplaySource({os.fspath(self.path)!r})"
