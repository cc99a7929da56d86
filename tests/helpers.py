"""Small agents, pipelines and environments that tests are written with. Numpy only."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.types import EpisodeData, EpisodeSummary, EvalMetrics, HyperparamSet


class NumpyAgent(BaseAgent):
    """One weight, which each `learn` raises by the learning rate; it acts 0 or 1 by its own generator."""

    def __init__(self, learning_rate: float = 0.1, seed: int = 0) -> None:
        self.weight = 0.0
        self.params: dict[str, Any] = {"learning_rate": learning_rate}
        self.rng = np.random.default_rng(seed)
        self.learned: list[int] = []
        self.loaded: list[str] = []

    def act(self, observation: Any) -> int:
        return int(self.rng.integers(2))

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        self.learned.append(episode_data.episode_id)
        self.weight += self.params["learning_rate"]
        return {"loss": 1.0}

    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet(dict(self.params))

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        self.params = dict(hp.params)

    def save_weights(self, path: str) -> None:
        np.save(path + ".npy", np.array(self.weight))

    def load_weights(self, path: str) -> None:
        self.loaded.append(Path(path).parent.parent.name)
        self.weight = float(np.load(path + ".npy"))


class FlatAgent(NumpyAgent):
    """Wants observations flat."""

    takes_flat_observations = True


class Momentum(NumpyAgent):
    """Bets that a change is followed by its like, or by its opposite: whichever it has learned."""

    def act(self, observation: Any) -> int:
        return 1 if self.weight * observation[0] > 0 else 2

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        changes = np.asarray(episode_data.observations)[:, 0]
        self.weight += self.params["learning_rate"] * (float(np.mean(changes[1:] * changes[:-1])) - self.weight)
        return {}


class ScriptedPipeline(BasePipeline):
    """Yields one window per score: a single completed episode with that return; None completes no episode."""

    def __init__(self, scores: Sequence[float | None], agent: BaseAgent | None = None) -> None:
        self.agent = agent
        self.scores = list(scores)
        self.position = 0
        self.closed = False

    def episodes(self) -> Iterator[EpisodeData]:
        while self.position < len(self.scores):
            score = self.scores[self.position]
            self.position += 1
            yield window_of(score, self.position - 1)

    def teardown(self) -> None:
        self.closed = True


class ScoreEvaluator(BaseEvaluator):
    """Scores a window by the return of its last completed episode, with nothing else in the metrics."""

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        completed = episode_data.completed_episodes()
        score = completed[-1].total_return if completed else float("nan")
        return EvalMetrics(score, {}, episode_data.episode_id, has_evidence=bool(completed))


def window_of(score: float | None, window_id: int = 0, length: int = 2) -> EpisodeData:
    """A window of `length` steps that completes one episode of return `score`, or none."""
    terminated = np.zeros(length, bool)
    terminated[-1] = score is not None
    rewards = np.zeros(length, np.float32)
    rewards[-1] = score or 0.0
    return EpisodeData(
        observations=np.zeros((length, 1), np.float32),
        actions=np.zeros(length, np.int64),
        rewards=rewards,
        terminated=terminated,
        truncated=np.zeros(length, bool),
        episode_id=window_id,
        next_observations=np.zeros((length, 1), np.float32),
        completed=() if score is None else (EpisodeSummary(float(score), length),),
    )


class TabularAgent(NumpyAgent):
    """Chooses among n actions with the same given probabilities for every observation, and tells them."""

    def __init__(self, probs: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.probs = np.asarray(probs, np.float64)
        self.windows: list[EpisodeData] = []

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        if deterministic:
            return np.full(len(observations), self.probs.argmax())
        return self.rng.choice(self.probs.size, size=len(observations), p=self.probs)

    def action_probs(self, observations: Any) -> np.ndarray | None:
        return np.tile(self.probs, (len(observations), 1))

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        self.windows.append(episode_data)
        return super().learn(episode_data)


class ConstantAgent(NumpyAgent):
    """Always acts the same, and tells no probabilities."""

    def __init__(self, action: Any) -> None:
        super().__init__()
        self.action = action

    def act(self, observation: Any) -> Any:
        return self.action


HANG_S = 60.0
"""A deadline, in seconds, so late that only a hang can miss it: not even eight busy processes on two cores."""


def until(holds: Callable[[], Any], seconds: float = HANG_S) -> None:
    """Wait until something holds, or fail at the deadline."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"what was waited for has not come in {seconds} s")
        time.sleep(0.002)
