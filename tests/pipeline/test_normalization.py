"""Normalised pipelines: one policy per window, statistics saved and restored with it, validation leaves no trace."""

import itertools
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix import (
    BackoffOptimizer,
    BatchPipeline,
    CheckpointRegistry,
    RLOptimizer,
    VectorBatchPipeline,
    make_agent,
)
from tensor_optix.core.normalizers import ObsNormalizer, RewardNormalizer
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import CheckpointMismatchError, ContractError, SpaceError
from tests.helpers import FlatAgent, NumpyAgent, ScoreEvaluator


class Drifting(gym.Env):
    """Observation = (seed, step) + 100; reward = step; episodes of seven steps."""

    observation_space = spaces.Box(0.0, 1e9, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.steps = self.left = 0

    def observe(self) -> np.ndarray:
        return np.array([100.0 + self.left, 100.0 + self.steps], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.left = 7
        return self.observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        self.left -= 1
        return self.observe(), float(self.steps), self.left == 0, False, {}


class Watched(NumpyAgent):
    """Remembers what it acted on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.ndarray] = []

    def act(self, observation: Any) -> int:
        self.seen.append(np.array(observation))
        return 0

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> np.ndarray:
        self.seen.extend(np.array(observations))
        return np.zeros(len(observations), np.int64)


def make(vectorised: bool, agent: Any = None, **arguments: Any) -> Any:
    if vectorised:
        return VectorBatchPipeline([Drifting] * 2, agent or Watched(), window_size=20, **arguments)
    return BatchPipeline(Drifting(), agent or Watched(), window_size=20, **arguments)


def windows_of(pipeline: Any, n: int) -> list[EpisodeData]:
    return list(itertools.islice(pipeline.episodes(), n))


both = pytest.mark.parametrize("vectorised", [False, True])


@both
def test_a_window_is_collected_and_built_with_the_statistics_of_the_windows_before_it(vectorised: bool) -> None:
    raw = windows_of(make(vectorised), 4)
    agent = Watched()
    found = windows_of(make(vectorised, agent, normalize_observations=True), 4)
    expected = ObsNormalizer((2,))
    for window, plain in zip(found, raw, strict=True):
        np.testing.assert_array_equal(window.observations, expected.normalize(plain.observations))
        np.testing.assert_array_equal(window.next_observations, expected.normalize(plain.next_observations))
        assert window.observations.dtype == np.float32
        np.testing.assert_array_equal(window.rewards, plain.rewards)
        expected.update(plain.observations)
    acted_on = np.array(sorted(map(tuple, agent.seen)))
    np.testing.assert_array_equal(acted_on, np.array(sorted(tuple(o) for w in found for o in w.observations)))


@both
def test_statistics_stand_still_from_the_beginning_of_a_window_to_that_of_the_next(vectorised: bool) -> None:
    pipeline = make(vectorised, normalize_observations=True)
    stream = pipeline.episodes()
    counts = []
    for _ in range(3):
        next(stream)
        counts.append(pipeline.observation_normalizer.stats.count)
    rows = 40 if vectorised else 20
    assert counts == [0, rows, 2 * rows]
    next(pipeline.episodes())  # a new iterator forgets no window
    assert pipeline.observation_normalizer.stats.count == 3 * rows


@both
def test_rewards_are_scaled_by_statistics_that_have_seen_them_and_completed_keeps_the_raw_returns(
    vectorised: bool,
) -> None:
    raw = windows_of(make(vectorised), 3)
    found = windows_of(make(vectorised, normalize_rewards=RewardNormalizer(gamma=0.9, clip=1.5)), 3)
    n_envs = 2 if vectorised else 1
    expected = RewardNormalizer(gamma=0.9, clip=1.5)
    for window, plain in zip(found, raw, strict=True):
        expected.update(plain.rewards.reshape(n_envs, -1), plain.dones.reshape(n_envs, -1))
        np.testing.assert_array_equal(window.rewards, expected.normalize(plain.rewards))
        assert window.completed == plain.completed
        np.testing.assert_array_equal(window.observations, plain.observations)
    assert max(episode.total_return for window in found for episode in window.completed or ()) > 100


@both
def test_validation_shares_the_statistics_reads_only_and_sees_raw_rewards(vectorised: bool) -> None:
    make_pipeline: Any = VectorBatchPipeline if vectorised else BatchPipeline
    source: Any = ("CartPole-v1", 2) if vectorised else "CartPole-v1"
    pipeline = make_pipeline(source, NumpyAgent(), 30, seed=0, normalize_observations=True, normalize_rewards=True)
    windows_of(pipeline, 3)
    before = pipeline.state_dict()
    validation = pipeline.validation_pipeline(3, seed=1)
    window = validation.play([1, 2, 3])
    raw_starts = np.array([gym.make("CartPole-v1").reset(seed=seed)[0] for seed in (1, 2, 3)])
    starts = np.flatnonzero(np.concatenate([[True], window.dones[:-1]]))
    np.testing.assert_array_equal(window.observations[starts], pipeline.observation_normalizer.normalize(raw_starts))
    assert (window.rewards == 1.0).all()
    assert pipeline.state_dict() == before
    assert validation.state_dict() == {}


FAST = {"n_epochs": 2}


def run(path: Path, vectorised: bool, **arguments: Any) -> tuple[Any, Any, list[EpisodeData]]:
    """Train a PPO agent for a few windows; return the optimizer, the pipeline and what was learned from."""
    learned: list[EpisodeData] = []
    agent = make_agent("CartPole-v1", framework="torch", hyperparams=FAST, seed=0, net_arch=[8])
    original = agent.learn
    agent.learn = lambda window: (learned.append(window), original(window))[1]  # type: ignore[method-assign]
    source: Any = ("CartPole-v1", 2) if vectorised else "CartPole-v1"
    make_pipeline: Any = VectorBatchPipeline if vectorised else BatchPipeline
    pipeline = make_pipeline(source, window_size=64, normalize_observations=True, normalize_rewards=True)
    optimizer = RLOptimizer(agent, pipeline, checkpoint_dir=path, max_episodes=5, seed=3, val_episodes=2, **arguments)
    optimizer.run()
    return optimizer, pipeline, learned


@both
@pytest.mark.usefixtures("short_last_tests")
def test_the_training_stream_is_bit_identical_with_and_without_validation(tmp_path: Path, vectorised: bool) -> None:
    quiet: dict[str, Any] = {"restore_best": False, "base_interval": 1, "optimizer": BackoffOptimizer({})}
    _, _, with_validation = run(tmp_path / "a", vectorised, **quiet)
    _, _, without = run(tmp_path / "b", vectorised, val_pipeline=None, **quiet)
    assert len(with_validation) == len(without) == 5
    for first, second in zip(with_validation, without, strict=True):
        for name in ("observations", "next_observations", "actions", "rewards", "terminated", "truncated"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


@both
@pytest.mark.usefixtures("short_last_tests")
def test_the_statistics_come_back_with_the_best_policy_at_the_end_of_a_run(tmp_path: Path, vectorised: bool) -> None:
    optimizer, pipeline, learned = run(tmp_path, vectorised)
    best = optimizer.registry.best
    steps = learned[0].length * best.window_id  # those of the windows before the one that it was judged after
    assert pipeline.observation_normalizer.stats.count == steps
    fresh = BatchPipeline("CartPole-v1", window_size=64, normalize_observations=True, normalize_rewards=True)
    registry = CheckpointRegistry(tmp_path)
    registry.attach("pipeline", fresh)
    registry.load_best(make_agent("CartPole-v1", framework="torch", seed=9, net_arch=[8]))
    assert fresh.state_dict() == pipeline.state_dict()
    registry.close()


class Scored(ScoreEvaluator):
    """Scores windows 9, 1, 1, ..., whatever is in them."""

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> Any:
        metrics = super().score(episode_data, train_diagnostics)
        return type(metrics)(9.0 if episode_data.episode_id == 1 else 1.0, {}, episode_data.episode_id)


def test_rollback_brings_the_statistics_back(tmp_path: Path) -> None:
    pipeline = BatchPipeline(Drifting(), window_size=20, normalize_observations=True)
    counts: list[int] = []

    class Counting(Watched):
        def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
            assert pipeline.observation_normalizer is not None
            counts.append(pipeline.observation_normalizer.stats.count)
            return super().learn(episode_data)

    RLOptimizer(
        Counting(), pipeline, None, Scored(), checkpoint_dir=tmp_path, max_episodes=5, rollback_on_degradation=True
    ).run()
    # Window 1 is the best, normalised by 20 rows; windows 2, 3, 4 are rolled back to those, and take in the one before.
    assert counts == [0, 20, 40, 40, 40]
    assert pipeline.observation_normalizer is not None
    assert pipeline.observation_normalizer.stats.count == 20


def test_what_is_no_normaliser_and_states_of_others_are_refused() -> None:
    for argument in ("normalize_observations", "normalize_rewards"):
        with pytest.raises(ContractError, match=argument):
            BatchPipeline(Drifting(), **{argument: 3})  # type: ignore[arg-type]
    pipeline = BatchPipeline(Drifting(), normalize_observations=True)
    with pytest.raises(CheckpointMismatchError, match="normalises"):
        pipeline.load_state_dict({})

    class Texts(Drifting):
        observation_space = spaces.Text(3)  # type: ignore[assignment]

    with pytest.raises(SpaceError, match="normalize_observations"):
        BatchPipeline(Texts(), normalize_observations=True)


@pytest.mark.parametrize("space", [spaces.Discrete(2), spaces.Dict(x=spaces.Box(-1, 1, (2,)))], ids=str)
def test_structures_are_normalised_for_agents_that_want_them_flat_only(space: Any) -> None:
    class Sampled(Drifting):
        observation_space = space

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return space.sample(), {}

        def step(self, action: Any) -> Any:
            return space.sample(), 0.0, False, False, {}

    window = next(BatchPipeline(Sampled(), FlatAgent(), window_size=4, normalize_observations=True).episodes())
    assert window.observations.dtype == np.float32
    with pytest.raises(SpaceError, match="takes_flat_observations = True"):
        BatchPipeline(Sampled(), NumpyAgent(), normalize_observations=True).setup()


def test_a_given_normaliser_is_used() -> None:
    own = ObsNormalizer((2,), clip=0.5)
    pipeline = make(False, normalize_observations=own)
    assert pipeline.observation_normalizer is own
    assert np.abs(np.concatenate([w.observations for w in windows_of(pipeline, 2)])).max() == 0.5
