"""Worlds in which the true value of every policy is known: the policy after n windows of learning has the value vₙ.

Everything but agent and episodes is the library's own: the loop tests, keeps and hands back as it does with real ones.
One step stands for as many as an episode has; the steps of training per episode are the world's.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.types import EpisodeData, EpisodeSummary, HyperparamSet

Values = Callable[[np.random.Generator, int], np.ndarray]
Draw = Callable[[np.random.Generator, float], float]


@dataclass(frozen=True)
class World:
    """How good the policies of a run are, and how their returns vary."""

    name: str
    windows: int
    episodes_per_window: int
    """Episodes of training in a window."""
    values: Values
    """Draws the true values (windows + 1,) of a run's policies."""
    draw: Draw
    """Draws a return, given the policy's true value."""


class ScriptedAgent(BaseAgent):
    """The policy with the number `n`, which each window raises by one."""

    def __init__(self) -> None:
        self.n = 0

    def act(self, observation: Any) -> int:
        """Return the only action."""
        return 0

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        """Become the next policy."""
        self.n += 1
        return {}

    def get_hyperparams(self) -> HyperparamSet:
        """Return nothing: nothing can be tuned."""
        return HyperparamSet({})

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        """Take nothing."""

    def save_weights(self, path: str) -> None:
        """Save the number."""
        Path(f"{path}.txt").write_text(str(self.n))

    def load_weights(self, path: str) -> None:
        """Be the policy that was saved."""
        self.n = int(Path(f"{path}.txt").read_text())


class _Episodes(BasePipeline):
    """Plays episodes of one step, whose returns depend on the policy and on the seed of the episode alone."""

    def __init__(self, world: World, values: np.ndarray, agent: BaseAgent | None, episodes: int, seed: int) -> None:
        self.agent = agent
        self._world, self._values = world, values
        self._episodes, self._seeds = episodes, np.random.default_rng(seed)
        self._number = 0

    def episodes(self) -> Iterator[EpisodeData]:
        """Yield windows without end."""
        while True:
            yield self.play(self.fresh_seeds())

    def fresh_seeds(self) -> list[int]:
        """Return one new seed per episode."""
        return [int(seed) for seed in self._seeds.integers(2**31, size=self._episodes)]

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        """Play one episode per seed."""
        n = self.agent.n if isinstance(self.agent, ScriptedAgent) else 0
        returns = [self._world.draw(np.random.default_rng([seed, n]), float(self._values[n])) for seed in seeds]
        self._number += 1
        ends = np.ones(len(returns), bool)
        return EpisodeData(
            observations=np.zeros((len(returns), 1), np.float32),
            actions=np.zeros(len(returns), np.int64),
            rewards=np.array(returns, np.float32),
            terminated=ends,
            truncated=~ends,
            episode_id=self._number - 1,
            next_observations=np.zeros((len(returns), 1), np.float32),
            completed=tuple(EpisodeSummary(value, 1) for value in returns),
        )


class ScriptedPipeline(_Episodes):
    """The training episodes of a world, which makes its own held-out ones.

    Args:
        world: what is played.
        values: (windows + 1,) true value of each policy.
        agent: who acts.
        seed: of the episodes.
    """

    def __init__(self, world: World, values: np.ndarray, agent: ScriptedAgent, seed: int) -> None:
        super().__init__(world, values, agent, world.episodes_per_window, seed)

    def validation_pipeline(self, n_episodes: int, seed: int | None) -> BasePipeline:
        """Return held-out episodes of the same world."""
        return _Episodes(self._world, self._values, self.agent, n_episodes, seed or 0)


def _bernoulli(rng: np.random.Generator, value: float) -> float:
    return float(rng.random() < value)


def _heavy(rng: np.random.Generator, value: float) -> float:
    """Return a return with Student's t noise of 2.5 degrees of freedom, whose standard deviation is 40."""
    return value + 40.0 * float(rng.standard_t(2.5)) / 5.0**0.5


def _rare_disaster(rng: np.random.Generator, value: float) -> float:
    """Return about 8, or -200 with the probability that makes `value` the mean."""
    return -200.0 if rng.random() < (8.0 - value) / 208.0 else 8.0 + float(rng.normal(0.0, 2.0))


def _steps(rng: np.random.Generator, value: float) -> float:
    """Return an episode's length up to 500: the time until an exponential failure, such that `value` is the mean."""
    if value >= 499.5:
        return 500.0
    low, high = 1.0, 1e6
    for _ in range(50):
        scale = (low * high) ** 0.5
        low, high = (scale, high) if scale * (1.0 - np.exp(-500.0 / scale)) < value else (low, scale)
    return min(500.0, float(rng.exponential(high)))


def _saturating(low: float, high: float, wander: float = 0.0) -> Values:
    """Rises from `low` to `high` within a third to two thirds of the run, with slow fluctuations of the logit."""

    def values(rng: np.random.Generator, n: int) -> np.ndarray:
        rise = np.clip(np.arange(n) / (n * rng.uniform(0.33, 0.67)), 0.0, 1.0)
        level = low + (high - low) * rise ** rng.uniform(0.5, 1.5)
        return _fluctuating(rng, level, low, high, wander)

    return values


def _rise_and_fall(low: float, high: float, end: float) -> Values:
    """Rises to `high`, stays there for 20 windows, falls to `end` and stays."""

    def values(rng: np.random.Generator, n: int) -> np.ndarray:
        top = int(rng.integers(n // 5, n // 2))
        rise, fall = rng.integers(10, n // 5 + 1), rng.integers(5, 20)
        at = np.arange(n)
        up = np.clip((at - top + rise) / rise, 0.0, 1.0)
        down = np.clip((at - top - 20) / fall, 0.0, 1.0)
        return low + (high - low) * up - (high - end) * down

    return values


def _fluctuating(rng: np.random.Generator, level: np.ndarray, low: float, high: float, spread: float) -> np.ndarray:
    if not spread:
        return level
    noise = np.zeros(level.size)
    for i in range(1, level.size):
        noise[i] = 0.9 * noise[i - 1] + float(rng.normal(0.0, spread * 0.19**0.5))
    width = high - low
    share = np.clip((level - low) / width, 0.02, 0.98)
    return low + width / (1.0 + np.exp(-(np.log(share / (1.0 - share)) + noise)))


WORLDS = (
    World("success rate", 100, 20, _saturating(0.02, 0.9, 0.3), _bernoulli),
    World("slippery", 75, 40, _saturating(0.1, 0.72, 0.3), _bernoulli),
    World("rise and fall", 150, 20, _rise_and_fall(0.05, 0.95, 0.3), _bernoulli),
    World("rise and fall, long", 400, 20, _rise_and_fall(0.05, 0.95, 0.6), _bernoulli),
    World("rise and fall of lengths", 150, 4, _rise_and_fall(25.0, 500.0, 150.0), _steps),
    World("heavy-tailed", 100, 10, _saturating(-1200.0, -150.0, 0.3), _heavy),
    World("rare disasters", 100, 30, _saturating(-190.0, 7.5, 0.3), _rare_disaster),
)
