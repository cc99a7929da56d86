"""What a policy has shown on held-out episodes, and the score of that."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.decisions.trend import standard_error
from tensor_optix.core.faults import EPISODE_LIMIT
from tensor_optix.core.types import EpisodeData, EvalMetrics, PlayedWindow


@dataclass(frozen=True)
class Tested:
    """What a policy did on episodes that no decision had seen."""

    windows: tuple[EpisodeData, ...]
    evidence: tuple[PlayedWindow, ...]

    @classmethod
    def of(cls, window: EpisodeData, seeds: Sequence[int], evaluator: BaseEvaluator) -> Self:
        """Return what a window of episodes with these seeds has shown."""
        record = PlayedWindow(
            seeds=tuple(seeds),
            returns=tuple(episode.total_return for episode in window.completed_episodes()),
            score=evaluator.score_validation(window).primary_score,
            episode_limit=window.metadata.get(EPISODE_LIMIT),
        )
        return cls((window,), (record,))

    @property
    def steps(self) -> int:
        """Steps that it took."""
        return sum(window.length for window in self.windows)

    @property
    def episodes(self) -> int:
        """Episodes that ended; a window in which none did counts as one."""
        return sum(max(len(window.returns), 1) for window in self.evidence)

    def score(self, evaluator: BaseEvaluator) -> EvalMetrics:
        """Return the score over all the episodes; of windows of several environments, the mean of their scores."""
        if all(window.n_envs == 1 for window in self.windows):
            return evaluator.score_validation(EpisodeData.concatenate(self.windows))
        scores = [window.score for window in self.evidence]
        newest = evaluator.score_validation(self.windows[-1])
        metrics = {**newest.metrics, "score_std_err": standard_error(scores), "episodes": float(self.episodes)}
        return replace(newest, primary_score=math.fsum(scores) / len(scores), metrics=metrics)

    def __add__(self, other: "Tested") -> "Tested":
        return Tested(self.windows + other.windows, self.evidence + other.evidence)
