"""Environments whose `reset` takes less than Gymnasium's are reset with what it takes, and what that costs is said."""

import itertools
import logging
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.errors import ContractError
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.environment.resets import EnvironmentReset
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tensor_optix.pipeline.sources.environment_source import EnvironmentSource
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline
from tests.helpers import NumpyAgent


class Bare(gym.Env):
    """As environments were written before they could be seeded by `reset`; five steps an episode."""

    observation_space = spaces.Box(-10.0, 10.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self) -> tuple[np.ndarray, dict]:  # type: ignore[override]
        self.now = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.now += 1
        return np.full(1, self.now, np.float32), 1.0, self.now == 5, False, {}


class Seeded(Bare):
    def reset(self, seed: int | None = None) -> tuple[np.ndarray, dict]:  # type: ignore[override]
        self.given = seed
        return super().reset()


class Open(Bare):
    def reset(self, **arguments: Any) -> tuple[np.ndarray, dict]:
        self.given = arguments
        return super().reset()


def test_an_environment_gets_the_arguments_that_it_takes() -> None:
    seeded, everything = Seeded(), Open()
    EnvironmentReset(seeded)(seed=3, options={})
    EnvironmentReset(everything)(seed=3, options=None)
    assert seeded.given == 3
    assert everything.given == {"seed": 3, "options": None}
    EnvironmentReset(everything)(seed=4)
    assert everything.given == {"seed": 4}


class Picky(Bare):
    """Its signature takes anything, and what is in it does not."""

    def reset(self, **arguments: Any) -> tuple[np.ndarray, dict]:
        if arguments:
            raise TypeError(f"reset() got an unexpected keyword argument {next(iter(arguments))!r}")
        return super().reset()


class Broken(Bare):
    def reset(self, **arguments: Any) -> tuple[np.ndarray, dict]:
        raise TypeError("of its own")


def test_an_environment_that_refuses_what_it_seems_to_take_is_reset_without(caplog: pytest.LogCaptureFixture) -> None:
    reset = EnvironmentReset(Picky())
    assert "takes no seed" not in caplog.text
    for seed in (1, 2):
        assert reset(seed=seed, options=None)[0] == 0.0
    assert caplog.text.count("Picky.reset takes no seed") == 1
    with pytest.raises(TypeError, match="of its own"):
        EnvironmentReset(Broken())(seed=1)


@pytest.mark.parametrize(
    ("env", "warns", "says"), [(Bare(), True, True), (Bare(), False, False), (Seeded(), True, False)]
)
def test_without_a_seed_it_is_said_what_does_not_repeat(
    env: gym.Env, warns: bool, says: bool, caplog: pytest.LogCaptureFixture
) -> None:
    EnvironmentReset(env, warns)
    assert ("Bare.reset takes no seed" in caplog.text) is says


@pytest.mark.parametrize(("env", "missing"), [(Bare(), "seed and options"), (Seeded(), "options")])
def test_wrappers_that_pass_on_more_than_it_takes_are_refused_with_what_to_write(env: gym.Env, missing: str) -> None:
    wrapped = gym.wrappers.TimeLimit(env, 3)
    with pytest.raises(ContractError, match=rf"{type(env).__name__}\.reset must take {missing}, .*def reset\(self, \*"):
        EnvironmentReset(wrapped)


@pytest.mark.parametrize(
    "make",
    [
        lambda kind, agent: BatchPipeline(kind(), agent, 12, seed=0),
        lambda kind, agent: VectorBatchPipeline([kind, kind], agent, 12, seed=0),
        lambda kind, agent: LivePipeline(EnvironmentSource(kind(), seed=0), agent, LivePipeline.every_n_steps(12)),
    ],
)
@pytest.mark.parametrize("kind", [Bare, Picky])
def test_pipelines_play_it_and_say_it_once(make: Any, kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        pipeline = make(kind, NumpyAgent())
        for window in itertools.islice(pipeline.episodes(), 2):
            assert {episode.length for episode in window.completed} == {5}
        pipeline.teardown()
    assert caplog.text.count("takes no seed") == 1


def test_validation_plays_it_too() -> None:
    pipeline = VectorBatchPipeline([Bare, Bare], NumpyAgent(), 12, seed=0)
    validation = pipeline.validation_pipeline(3, 0)
    assert validation is not None
    assert [episode.length for episode in next(validation.episodes()).completed] == [5] * 3
