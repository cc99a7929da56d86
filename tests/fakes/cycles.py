"""One update, save, load, resume: what every model and every optimizer must go through, and bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.types import EpisodeData, HyperparamSet

Make = Callable[[int], Any]
"""Makes an agent from a seed; what else the process has drawn must not matter."""

PPO = HyperparamSet({"n_epochs": 2, "minibatch_size": 16, "learning_rate": 1e-2})
REPLAY = {"learning_starts": 16, "batch_size": 16, "replay_capacity": 256}
DQN = HyperparamSet({**REPLAY, "target_update_freq": 2, "learning_rate": 1e-2, "epsilon": 0.0, "epsilon_min": 0.0})
SAC = HyperparamSet({**REPLAY, "updates_per_step": 0.1, "learning_rate": 1e-2, "tau": 0.05})


def window(
    shape: tuple[int, ...] = (4,), seed: int = 0, *, action_dim: int | None = None, dtype: Any = np.float32
) -> EpisodeData:
    """Return 32 steps of random numbers: actions of two, or `action_dim` numbers."""
    rng, length = np.random.default_rng(seed), 32
    both = (
        rng.standard_normal((2, length, *shape)) if dtype is not np.uint8 else rng.integers(0, 256, (2, length, *shape))
    )
    actions = rng.integers(0, 2, length) if action_dim is None else rng.uniform(-1, 1, (length, action_dim))
    return EpisodeData(
        observations=(both[0] > 0 if dtype is bool else both[0].astype(dtype)),
        actions=actions if action_dim is None else actions.astype(np.float32),
        rewards=rng.standard_normal(length).astype(np.float32),
        terminated=rng.random(length) < 0.1,
        truncated=rng.random(length) < 0.1,
        next_observations=(both[1] > 0 if dtype is bool else both[1].astype(dtype)),
    )


def assert_goes_through(make: Make, path: Path, windows: tuple[EpisodeData, EpisodeData]) -> None:
    """Raise unless the same seed repeats, what is saved loads elsewhere, and a resumed agent goes on bit for bit."""
    first, second = windows
    agent, other, fresh = make(0), make(1), make(2)
    before = weights_of(agent)
    other.load_weights(saved(agent, path / "start"))  # initial weights are the user's to draw
    for each in (agent, other):
        each.seed(7)
        assert np.isfinite(list(map(float, each.learn(first).values()))).all()
    assert agent.first_non_finite() is None
    assert_same(weights_of(agent), weights_of(other), "the same seed")
    assert any(not np.array_equal(before[name], array) for name, array in weights_of(agent).items())
    agent.save_training_state(str(path / "state"))
    other.learn(second)  # whatever it has drawn, it goes on from the state
    for each in (other, fresh):
        each.load_training_state(str(path / "state"))
        assert_same(state_of(agent), state_of(each), "loaded")
    for each in (agent, other):
        each.learn(second)
    assert_same(state_of(agent), state_of(other), "resumed")
    fresh.load_weights(saved(agent, path / "weights"))
    observations = np.asarray(second.observations)
    np.testing.assert_array_equal(
        fresh.act_batch(observations, deterministic=True), agent.act_batch(observations, deterministic=True)
    )
    agent.restore(agent.snapshot())
    agent.restart_optimizer()
    agent.learn(first)
    assert agent.first_non_finite() is None


def state_of(agent: Any) -> dict[str, np.ndarray]:
    """Return weights, moments, and where the generators of the models are."""
    weights, moments = agent.snapshot()
    named = {f"{name}.{key}": array for name, (arrays, _) in moments.items() for key, array in arrays.items()}
    return {**weights, **named, **agent._backend.random_state(agent._models)}


def saved(agent: Any, path: Path) -> str:
    agent.save_weights(str(path))
    return str(path)


def weights_of(agent: Any) -> dict[str, np.ndarray]:
    return agent.snapshot()[0]


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], what: str) -> None:
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=f"{what}: {name}")
