"""Collecting the windows of a run, one after the other, whoever the learner is."""

from collections.abc import Iterator

from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.loop.learning import Learning
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.types import EpisodeData


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
            with self._progress.timed("collect"):
                window = self._learning.collected(windows)
            self.seconds = self._progress.seconds["collect"] - before
            if window is None:
                return
            yield window
