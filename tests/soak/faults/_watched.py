"""A live run that becomes dormant, wakes and tries a challenger, the same however often it is cut off."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tests.fakes.agents import Follower

STEPS, CHANGE = 8, 60


class Levels:
    """A numbered feed that can be asked again, of a level that changes once; it breaks off now and then."""

    is_replayable = True

    def stream(self, after: int | None = None) -> Iterator[Any]:
        for n in itertools.count(0 if after is None else after + 1):
            level = 1.0 if n < CHANGE * STEPS else 4.0
            seen = np.random.default_rng([7, n]).normal(level, 0.3, 1)
            yield seen, 0.0, False, False, {"sequence": n}
            if n % 700 == 699:
                raise ConnectionResetError


class Nearness(BaseEvaluator):
    """How near the bets were to what came."""

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        return self._of(episode_data, episode_data.actions)

    def _of(self, data: EpisodeData, actions: Any) -> EvalMetrics:
        losses = np.abs(np.asarray(actions).ravel() - data.next_observations[:, 0])
        return EvalMetrics(-float(losses.mean()), {}, data.episode_id)


class Shadowing(Nearness):
    """Can tell what other bets would have brought."""

    def score_actions(self, episode_data: EpisodeData, actions: Any) -> EvalMetrics:
        return self._of(episode_data, actions)


def build(kind: str) -> tuple[Follower, LivePipeline, dict[str, Any]]:
    """Return an agent, its feed, and the options of the run; of a trial by "turns", or with a "shadow"."""
    pipeline = LivePipeline(
        Levels(),
        episode_boundary_fn=LivePipeline.every_n_steps(STEPS),
        buffer_size=4 * STEPS,
        backoff=(0.001, 0.01),
    )
    evaluator = Shadowing() if kind == "shadow" else Nearness()
    options = {"plateau_threshold": 3, "dormant_threshold": 6, "max_interval_episodes": 25}
    return Follower(), pipeline, {"evaluator": evaluator, **options}
