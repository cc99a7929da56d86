"""A best that is the best: a candidate is tested again, on the incumbent's episodes and on fresh ones.

The highest of many noisy scores is too high, so no policy is crowned for the few episodes that brought it forward:

    1. it plays the episodes (seeds) that the incumbent's score rests on; behind on any prefix of them, it is out
    2. it plays as many that nobody has played
    3. it is crowned if its score over both still beats the incumbent's; that is its score from then on

The incumbent was crowned for what it did on its episodes, so playing them is a harder test for the candidate than for
the incumbent; that is meant: a crown changes hands for evidence. The starts that are hard are so for both. Nothing is
loaded: the learner keeps its weights. A first candidate skips 1. The cost is bounded: where the tests have taken more
than their share of the steps, a candidate plays one window of fresh episodes only.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import PlaysSeeds
from tensor_optix.core.trend import is_improvement
from tensor_optix.core.types import EpisodeData, EvalMetrics, PlayedWindow, PolicySnapshot

TEST_WINDOWS = 2
"""Validation windows of fresh episodes per candidate, and at most as many of the incumbent's."""
TEST_SHARE = 0.5
"""Tests may take this many steps per step of training."""


@dataclass(frozen=True)
class Tested:
    """What a policy did on episodes fixed by seeds."""

    windows: tuple[EpisodeData, ...]
    evidence: tuple[PlayedWindow, ...]

    @property
    def steps(self) -> int:
        """Steps that it took."""
        return sum(window.length for window in self.windows)

    def score(self, evaluator: BaseEvaluator) -> EvalMetrics:
        """Return the score over all the episodes."""
        return evaluator.score(EpisodeData.concatenate(self.windows), {})

    def __add__(self, other: "Tested") -> "Tested":
        return Tested(self.windows + other.windows, self.evidence + other.evidence)


@dataclass(frozen=True)
class Challenge:
    """How a candidate fared."""

    wins: bool
    tested: Tested
    metrics: EvalMetrics
    """Its score over all that it was tested on."""


def play(
    pipeline: PlaysSeeds,
    evaluator: BaseEvaluator,
    seeds: Iterable[Sequence[int]],
    *,
    max_steps: float = math.inf,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Tested:
    """Play a window per list of seeds with the pipeline's agent, as far as it gets.

    Args:
        pipeline: where they are played.
        evaluator: what scores them.
        seeds: one list per window.
        max_steps: no further window is begun beyond so many steps.
        is_stopped: True as soon as the user wants an end.
    """
    tested = Tested((), ())
    for window_seeds in seeds:
        if is_stopped() or tested.steps > max_steps:
            break
        window = pipeline.play(window_seeds)
        record = PlayedWindow(
            seeds=tuple(window_seeds),
            returns=tuple(episode.total_return for episode in window.completed_episodes()),
            score=evaluator.score(window, {}).primary_score,
        )
        tested += Tested((window,), (record,))
    return tested


def challenge(
    pipeline: PlaysSeeds,
    evaluator: BaseEvaluator,
    incumbent: PolicySnapshot | None,
    *,
    margin: float = 0.0,
    is_cheap: bool = False,
) -> Challenge:
    """Test the policy that the pipeline's agent holds against the incumbent.

    Args:
        pipeline: where the episodes are played.
        evaluator: what scores them.
        incumbent: the best so far, with the episodes behind its score; None before there is one.
        margin: by how much it must be beaten, in units of the score.
        is_cheap: True to play one window of fresh episodes and nothing else.
    """
    tested, lead = Tested((), ()), 0.0
    paired = () if incumbent is None or is_cheap else incumbent.evidence[-TEST_WINDOWS:]
    for theirs in paired:
        ours = play(pipeline, evaluator, [theirs.seeds])
        tested += ours
        lead += ours.evidence[0].score - theirs.score
        if not lead > 0.0:
            return Challenge(False, tested, tested.score(evaluator))
    tested += play(pipeline, evaluator, [pipeline.fresh_seeds() for _ in range(1 if is_cheap else TEST_WINDOWS)])
    metrics = tested.score(evaluator)
    best_score = incumbent.eval_metrics.primary_score if incumbent is not None else None
    return Challenge(is_improvement(metrics.primary_score, best_score, margin), tested, metrics)
