"""Presets: which one an environment gets, and that each of them fits its algorithm."""

import itertools

import pytest

from tensor_optix.factory import ALGORITHMS, hyperparam_table
from tensor_optix.presets import Preset, has_preset, preset_for

CLASSIC = [
    ("CartPole-v1", "ppo"),
    ("Acrobot-v1", "ppo"),
    ("Pendulum-v1", "ppo"),
    ("MountainCar-v0", "ppo"),
    ("LunarLander-v3", "ppo"),
    ("LunarLanderContinuous-v3", "ppo"),
    ("BipedalWalker-v3", "ppo"),
    ("Reacher-v5", "ppo"),
    ("Swimmer-v5", "ppo"),
    ("CartPole-v1", "dqn"),
    ("MountainCar-v0", "dqn"),
    ("Pendulum-v1", "sac"),
    ("MountainCarContinuous-v0", "sac"),
    ("HalfCheetah-v5", "sac"),
]
ATARI = [("ALE/Pong-v5", "ppo"), ("ALE/Pong-v5", "dqn")]


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_an_unknown_environment_gets_what_its_algorithm_starts_with(algorithm: str) -> None:
    unknown = preset_for("Nobody/Knows-v0", algorithm)
    assert unknown == preset_for("Nor/This-v3", algorithm)
    assert all(preset_for(*known) != Preset() or algorithm == "ppo" for known in CLASSIC if known[1] == algorithm)


@pytest.mark.parametrize(("env_id", "algorithm"), CLASSIC[:-1])
def test_a_known_environment_gets_its_own(env_id: str, algorithm: str) -> None:
    assert preset_for(env_id, algorithm) != preset_for("Nobody/Knows-v0", algorithm)


@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_every_atari_game_gets_that_of_its_kind(algorithm: str) -> None:
    assert preset_for("ALE/Pong-v5", algorithm) is preset_for("ALE/Breakout-v5", algorithm)
    assert preset_for("ALE/Pong-v5", algorithm) != preset_for("Nobody/Knows-v0", algorithm)


def test_observations_of_mujoco_are_normalised_for_ppo_whatever_the_body() -> None:
    ant = preset_for("Ant-v5", "ppo")
    assert (ant.normalize_observations, ant.normalize_rewards) == (True, True)
    assert ant is preset_for("InvertedPendulum-v5", "ppo")
    assert has_preset("Ant-v5", "ppo")
    assert not has_preset("Ant-v5", "sac"), "which algorithm gets there first is still measured"
    assert preset_for("Ant-v5", "sac") is preset_for("Nobody/Knows-v0", "sac")


def test_a_kind_without_a_preset_of_an_algorithm_gets_the_algorithms_own() -> None:
    assert preset_for("ALE/Pong-v5", "sac") is preset_for("Nobody/Knows-v0", "sac")


@pytest.mark.parametrize(
    ("env_id", "algorithm"), [*CLASSIC, *ATARI, *(("Nobody/Knows-v0", name) for name in sorted(ALGORITHMS))]
)
def test_a_preset_asks_for_nothing_that_its_algorithm_does_not_have(env_id: str, algorithm: str) -> None:
    preset = preset_for(env_id, algorithm)
    assert preset.hyperparams.keys() <= hyperparam_table(algorithm).keys()
    assert preset.window_size % preset.n_envs == 0
    assert preset.base_interval >= 1
    assert all(size >= 1 for size in preset.net_arch)
    assert preset.exploration_noise == "white" or algorithm == "sac"


def test_what_learns_from_replay_steps_one_environment() -> None:
    replayed = [preset_for(*key) for key in itertools.chain(CLASSIC, ATARI) if key[1] in ("dqn", "sac")]
    assert {preset.n_envs for preset in replayed} == {1}
