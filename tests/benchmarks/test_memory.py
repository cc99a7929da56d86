"""The worlds that need a memory are what they say, and their suite measures and renders."""

import gymnasium as gym
import numpy as np
import pytest

from benchmarks import _memory_worlds, memory
from benchmarks._memory_worlds import MaskedCartPole, TMaze
from benchmarks._suite import Options


@pytest.mark.parametrize("length", [1, 5, 20])
@pytest.mark.parametrize("seed", range(4))
def test_the_cue_names_the_arm_that_is_worth_something(length: int, seed: int) -> None:
    env = TMaze(length)
    first, _ = env.reset(seed=seed)
    assert first[0] in (-1.0, 1.0)
    for _ in range(length):
        observation, reward, terminated, truncated, _ = env.step(0)
        assert (observation[0], reward, terminated, truncated) == (0.0, 0.0, False, False)
    assert observation[1] == 1.0
    _, reward, terminated, _, _ = env.step(2 if first[0] > 0 else 1)
    assert (reward, terminated) == (1.0, True)


def test_the_wrong_arm_ends_it_for_nothing_and_walls_cost() -> None:
    env = TMaze(2)
    first, _ = env.reset(seed=0)
    assert env.step(1)[1:3] == (-0.1, False)
    for _ in range(2):
        env.step(0)
    assert env.step(1 if first[0] > 0 else 2)[1:3] == (0.0, True)


def test_nobody_stays_in_the_maze_for_ever() -> None:
    env = TMaze(3)
    env.reset(seed=0)
    truncated = [env.step(1)[3] for _ in range(16)]
    assert truncated == [False] * 15 + [True]


def test_velocities_are_masked_and_nothing_else() -> None:
    env, plain = MaskedCartPole(), gym.make("CartPole-v1").unwrapped
    seen, _ = env.reset(seed=3)
    known, _ = plain.reset(seed=3)
    for action in (0, 1, 1, 0):
        np.testing.assert_array_equal(seen, known[[0, 2]])
        assert env.observation_space.contains(seen)
        (seen, *one), (known, *other) = env.step(action), plain.step(action)
        assert one == other


def test_there_is_a_measurement_per_world_trainer_and_seed() -> None:
    keys = [measurement.key for measurement in memory.plan(Options(seeds=(7,)))]
    assert len(keys) == len(set(keys)) == 2 * len(memory.TRAINERS)
    only = [measurement.key for measurement in memory.plan(Options(seeds=(7,), only=(_memory_worlds.MAZE,)))]
    assert only == keys[: len(memory.TRAINERS)]


def test_a_measurement_is_rendered() -> None:
    task = memory.Task(env=_memory_worlds.MAZE, goal=2.0, windows=1, hyperparams={"sequence_length": 8, "n_epochs": 1})
    row = memory.measure(task, "recurrent_ppo", "gru", "torch", 0)
    assert row["env_steps"] == 2 * memory.ENVIRONMENTS * memory.WINDOW
    text = "\n".join(memory.render([{**row, "measured_at": "2026-01-01", "commit": "0"}]))
    assert "| TMaze-v0 (≥ 2) | recurrent_ppo gru, torch | 0 | 0/1 |" in text
