"""A live feed whose level changes at known windows, and a run that learns it, is watched and wakes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.loop.history import HistoryRecord, read_history
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.optimizer import RLOptimizer
from tests.fakes.agents import Follower

STEPS = 8


class World(BasePipeline):
    """A live feed of a level that changes at known windows; a window is the same whoever asks for it."""

    is_live = True

    def __init__(self, levels: Mapping[int, float], windows: int) -> None:
        self.levels, self.windows, self.position = dict(levels), windows, 0
        self.acted: list[float] = []

    def episodes(self) -> Iterator[EpisodeData]:
        assert self.agent is not None
        while self.position < self.windows:
            n, self.position = self.position, self.position + 1
            rng = np.random.default_rng([7, n])
            level = [value for begins, value in sorted(self.levels.items()) if begins <= n][-1]
            seen = level + rng.normal(0.0, 0.1, (STEPS, 1))
            actions = np.array([self.agent.act(row) for row in seen])
            self.acted.append(float(actions[0]))
            yield EpisodeData(
                observations=seen,
                actions=actions,
                rewards=-np.abs(actions - seen[:, 0]) + rng.normal(0.0, 0.05, STEPS),
                terminated=np.zeros(STEPS, bool),
                truncated=np.zeros(STEPS, bool),
                episode_id=n,
            )

    def stream_state(self) -> dict[str, Any]:
        return {"position": self.position}

    def restore_stream(self, state: Mapping[str, Any]) -> None:
        self.position = state["position"]


class MeanReward(BaseEvaluator):
    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        return EvalMetrics(float(np.mean(episode_data.rewards)), {}, episode_data.episode_id)


class Counterfactual(MeanReward):
    """Knows what any action would have brought: nothing that is observed depends on it."""

    def score_actions(self, episode_data: EpisodeData, actions: Any) -> EvalMetrics:
        losses = np.abs(np.asarray(actions) - episode_data.observations[:, 0])
        return EvalMetrics(-float(losses.mean()), {}, episode_data.episode_id)


EVALUATORS = [MeanReward, Counterfactual]


ONE_CHANGE = {0: 1.0, 60: 4.0}


class Hooks(LoopCallback):
    def __init__(self, stop_after: int | None = None) -> None:
        self.dormant: list[int] = []
        self.degraded: list[int] = []
        self.stop_after, self.stop = stop_after, lambda: None

    def on_dormant(self, window_id: int) -> None:
        self.dormant.append(window_id)

    def on_degradation(self, window_id: int, eval_metrics: EvalMetrics) -> None:
        self.degraded.append(window_id)

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        if window_id == self.stop_after:
            self.stop()


class WatchRig:
    def __init__(
        self,
        path: Path,
        levels: Mapping[int, float] = ONE_CHANGE,
        *,
        windows: int = 130,
        evaluator: type[BaseEvaluator] = MeanReward,
        stop_after: int | None = None,
        agent: Follower | None = None,
        callbacks: Sequence[LoopCallback] = (),
        **options: Any,
    ) -> None:
        self.path, self.agent, self.hooks = path, agent or Follower(), Hooks(stop_after)
        self.world = World(levels, windows)
        self.optimizer = RLOptimizer(
            self.agent,
            self.world,
            evaluator=evaluator(),
            checkpoint_dir=path,
            plateau_threshold=3,
            dormant_threshold=6,
            max_interval_episodes=25,
            callbacks=[self.hooks, *callbacks],
            seed=0,
            **options,
        )
        self.hooks.stop = self.optimizer.stop
        self.report = self.optimizer.run()

    @property
    def history(self) -> list[HistoryRecord]:
        return list(read_history(self.path / "history.jsonl"))

    def events(self) -> list[tuple[int, str]]:
        return [(record.window_id, record.event) for record in self.history if record.event is not None]
