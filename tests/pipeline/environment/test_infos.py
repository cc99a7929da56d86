"""Action masks: what is allowed reaches the agent and the windows, in every pipeline."""

import itertools
import logging
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from tensor_optix import BatchPipeline, RLOptimizer, VectorBatchPipeline
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import BadDataError
from tensor_optix.pipeline.environment.infos import infos_by_environment, mask_in, masks_in
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tensor_optix.pipeline.sources.environment_source import EnvironmentSource
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tests.fakes.environments import Mined, Sapper, allowed
from tests.helpers import NumpyAgent


def assert_masks_are_right(window: EpisodeData) -> None:
    for masks, observations in (
        (window.action_masks, window.observations),
        (window.next_action_masks, window.next_observations),
    ):
        assert masks.dtype == bool
        np.testing.assert_array_equal(masks, [allowed(*observation) for observation in observations])
    assert window.dones.sum() >= 4


@pytest.mark.parametrize("deterministic", [False, True])
def test_batch_pipeline(deterministic: bool) -> None:
    agent = Sapper()
    pipeline = BatchPipeline(Mined(), agent, window_size=23, deterministic=deterministic)
    for window in itertools.islice(pipeline.episodes(), 3):
        assert_masks_are_right(window)
    assert agent.modes() == {deterministic}


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_vector_pipeline(mode: AutoresetMode, kind: Any) -> None:
    env = kind([Mined] * 3, autoreset_mode=mode)
    pipeline = VectorBatchPipeline(env, Sapper(), window_size=23)
    for window in itertools.islice(pipeline.episodes(), 3):
        assert_masks_are_right(window)
    pipeline.teardown()


def test_validation_and_concatenated_windows() -> None:
    agent = Sapper()
    window = ValidationPipeline([Mined] * 4, agent, seed=0).play([1, 2, 3, 4])
    assert_masks_are_right(window)
    assert agent.modes() == {True}


@pytest.mark.parametrize("validation", [None, BatchPipeline])
def test_a_whole_run_keeps_off_the_mines(tmp_path: Any, validation: Any) -> None:
    agent = Sapper()
    pipeline = VectorBatchPipeline([Mined] * 2, window_size=10)
    val_pipeline = validation(Mined(), window_size=10) if validation else None
    report = RLOptimizer(agent, pipeline, val_pipeline, checkpoint_dir=tmp_path, max_episodes=4).run()
    assert report.best_score == 5
    assert agent.modes() == ({False} if validation is None else {False, True})


class Harmless(Mined):
    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.now += 1
        return (*self.look()[:1], 1.0, self.now == 5, False, self.look()[1])


@pytest.mark.parametrize("vectorised", [False, True])
def test_an_agent_without_masks_acts_as_before_with_one_warning(
    vectorised: bool, caplog: pytest.LogCaptureFixture
) -> None:
    agent = NumpyAgent()
    pipeline = VectorBatchPipeline([Harmless] * 2, agent, 20) if vectorised else BatchPipeline(Harmless(), agent, 20)
    with caplog.at_level(logging.WARNING):
        for window in itertools.islice(pipeline.episodes(), 3):
            assert window.action_masks is not None
    assert sum("masks are ignored" in record.getMessage() for record in caplog.records) == 1


def test_without_masks_windows_have_none() -> None:
    for pipeline in (
        BatchPipeline("CartPole-v1", NumpyAgent(), 9),
        VectorBatchPipeline(("CartPole-v1", 2), NumpyAgent()),
    ):
        window = next(iter(pipeline.episodes()))
        assert window.action_masks is window.next_action_masks is None


def test_where_only_some_steps_have_a_mask_everything_is_allowed_in_the_others() -> None:
    class Sometimes(Harmless):
        def look(self) -> tuple[np.ndarray, dict]:
            observation, info = super().look()
            return observation, info if self.now % 2 else {}

    for pipeline in (
        BatchPipeline(Sometimes(), NumpyAgent(), window_size=10),
        VectorBatchPipeline([Sometimes] * 2, NumpyAgent(), window_size=10),
    ):
        window = next(iter(pipeline.episodes()))
        assert window.action_masks.shape == (window.length, 4)
        for masks, rows in (
            (window.action_masks, window.observations),
            (window.next_action_masks, window.next_observations),
        ):
            for mask, (step, episode) in zip(masks, rows, strict=True):
                assert mask.tolist() == (allowed(step, episode).astype(bool).tolist() if step % 2 else [True] * 4)


def test_a_mask_that_is_not_one_flag_per_action_is_refused() -> None:
    with pytest.raises(BadDataError, match=r"shape \(2, 2\)"):
        mask_in({"action_mask": np.ones((2, 2))})
    assert mask_in({}) is None


def test_masks_of_a_vector_that_marks_none_of_them_are_everybodys() -> None:
    assert masks_in({"action_mask": np.array([[1, 0], [0, 1]])}, 2).tolist() == [[True, False], [False, True]]  # type: ignore[union-attr]
    missing = {"action_mask": np.array([None, None]), "_action_mask": np.zeros(2, bool)}
    assert masks_in(missing, 2) is None


def test_an_info_is_that_of_the_step_and_not_of_the_reset_after_it() -> None:
    mark = np.array([False, True])
    infos = {
        "x": np.array([1, 2]),
        "_x": np.array([True, True]),
        "final_obs": np.array([None, 7], object),
        "_final_obs": mark,
        "final_info": {"x": np.array([0, 9]), "_x": mark},
        "_final_info": mark,
    }
    assert infos_by_environment(infos, 2) == {0: {"x": 1}, 1: {"x": 9}}
    assert infos_by_environment({}, 2) == {}


class Reusing(gym.Env):
    """Hands out one info, and what is in it, again and again; ten steps an episode."""

    observation_space = spaces.Box(0.0, 100.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.now = 0
        self.info: dict[str, Any] = {}
        self.place, self.inner = np.zeros(2), {"list": [0]}

    def look(self) -> tuple[np.ndarray, dict]:
        if self.now % 10:
            self.info.update(now=self.now, place=self.place, inner=self.inner)
            self.place[:], self.inner["list"][0] = self.now, self.now
        return np.full(1, self.now % 100, np.float32), self.info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.info.clear()
        self.now = 0
        return self.look()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.now += 1
        observation, info = self.look()
        return observation, 1.0, self.now == 9, False, info


@pytest.mark.parametrize(
    "make",
    [
        lambda: BatchPipeline(Reusing(), NumpyAgent(), window_size=20),
        lambda: VectorBatchPipeline([Reusing, Reusing], NumpyAgent(), window_size=20),
        lambda: ValidationPipeline([Reusing, Reusing], NumpyAgent()),
        lambda: LivePipeline(EnvironmentSource(Reusing()), NumpyAgent(), LivePipeline.every_n_steps(20)),
    ],
)
def test_an_info_that_is_handed_out_again_keeps_what_each_step_said(make: Any) -> None:
    pipeline = make()
    window = next(iter(pipeline.episodes()))
    pipeline.teardown()
    for info, now in zip(window.infos, np.asarray(window.next_observations)[:, 0], strict=True):
        if info:  # a live window has a reset's among them
            assert (info["now"], info["place"].tolist(), info["inner"]) == (now, [now, now], {"list": [now]})
    assert sum(bool(info) for info in window.infos) >= 15
