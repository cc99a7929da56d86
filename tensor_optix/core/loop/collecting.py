"""Collecting the windows of a run, one after the other, whoever the learner is."""

import contextlib
from collections.abc import Iterator

from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.loop.learning import Learning
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.types import EpisodeData
from tensor_optix.support.undisturbed import UNDISTURBED


class Collecting:
    """Asks the training pipeline for windows.

    Args:
        pipeline: where the agent acts.
        learning: what leaves out windows that cannot be collected.
        progress: where time is counted.
    """

    def __init__(self, pipeline: BasePipeline, learning: Learning, progress: RunProgress) -> None:
        self._pipeline = pipeline
        self._learning = learning
        self._progress = progress
        self.seconds = 0.0
        """That collecting the window in hand took."""

    def windows(self) -> Iterator[EpisodeData]:
        """Yield windows until the pipeline has no more."""
        windows = iter(self._pipeline.episodes())
        acting = self._pipeline.agent
        while True:
            if self._pipeline.agent is not acting:  # a new learner: an iterator may hold the old one
                windows, acting = iter(self._pipeline.episodes()), self._pipeline.agent
            before = self._progress.seconds["collect"]
            with self._progress.timed("collect"), _undisturbed(self._pipeline):
                window = self._learning.collected(windows)
            self.seconds = self._progress.seconds["collect"] - before
            if window is None:
                return
            yield window


def _undisturbed(pipeline: BasePipeline) -> contextlib.AbstractContextManager[None]:
    """Return a block in which nothing trains between two actions; none for a pipeline of the user's own, which may."""
    is_ours = type(pipeline).__module__.startswith("tensor_optix.")
    return UNDISTURBED.block() if is_ours and not pipeline.is_live else contextlib.nullcontext()
