"""When a vector resets its environments: what each mode says of final observations, masks, and the next step."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tensor_optix.errors import InvalidArgumentError
from tensor_optix.pipeline.environment.autoreset import autoreset_of
from tensor_optix.pipeline.environment.bad_steps import StepCheck, VectorStep
from tensor_optix.pipeline.environment.episodes import BAD_STEP, FAILED_STEP
from tensor_optix.pipeline.environment.observations import ObservationForm

SPACE = spaces.Box(-10.0, 10.0, (2,), np.float32)
CHECK = StepCheck(ObservationForm(SPACE))


def vector(mode: AutoresetMode) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 2, autoreset_mode=mode)


def step(masks: np.ndarray | None = None, **infos: Any) -> VectorStep:
    """A step of two environments, both of which have ended."""
    observations = np.array([[1, 2], [3, 4]], np.float32)
    return VectorStep(observations, [0.0, 0.0], [True, True], [False, False], infos, masks, {})


@pytest.mark.parametrize(
    ("mode", "spends", "leaves"),
    [
        (AutoresetMode.NEXT_STEP, True, False),
        (AutoresetMode.SAME_STEP, False, False),
        (AutoresetMode.DISABLED, False, True),
    ],
)
def test_each_mode_says_who_resets_and_when(mode: AutoresetMode, spends: bool, leaves: bool) -> None:
    env = vector(mode)
    autoreset = autoreset_of(env)
    assert (autoreset.spends_steps_on_resets, autoreset.leaves_resets_to_caller) == (spends, leaves)
    assert autoreset.resets_some
    env.close()


def test_a_vector_of_gymnasiums_own_is_reset_as_a_whole() -> None:
    assert not autoreset_of(gym.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point")).resets_some


@pytest.mark.parametrize("mode", [None, "NextStep"])
def test_a_vector_must_declare_its_mode(mode: Any) -> None:
    env = vector(AutoresetMode.NEXT_STEP)
    env.metadata = {**env.metadata, "autoreset_mode": mode}
    with pytest.raises(InvalidArgumentError, match=f"must declare .*autoreset_mode.*but has {mode!r}"):
        autoreset_of(env)
    env.close()


class TestFinals:
    def finals(self, mode: AutoresetMode, step: VectorStep, infos: dict[int, Any], ended: list[int]) -> Any:
        env = vector(mode)
        found = autoreset_of(env).finals(step, infos, ended, CHECK)
        env.close()
        return found

    def test_the_next_step_shows_them_by_itself(self) -> None:
        assert self.finals(AutoresetMode.NEXT_STEP, step(), {}, [0, 1]) == ({}, {}, {}, {})

    def test_where_the_caller_resets_the_step_has_them(self) -> None:
        masks = np.array([[True, False], [False, True]])
        observations, found, bad, _ = self.finals(AutoresetMode.DISABLED, step(masks), {}, [1])
        assert {i: one.tolist() for i, one in observations.items()} == {1: [3.0, 4.0]}
        assert (found[1].tolist(), bad) == ([False, True], {})
        masks[:] = True
        assert found[1].tolist() == [False, True]

    def test_without_masks_everything_is_allowed(self) -> None:
        assert self.finals(AutoresetMode.DISABLED, step(), {}, [0])[1] == {0: None}

    def test_where_the_same_step_resets_the_infos_have_them(self) -> None:
        final = np.array([None, np.array([7, 8], np.float32)], object)
        infos = {1: {"action_mask": np.array([0, 1], np.int8)}}
        observations, masks, bad, failed = self.finals(AutoresetMode.SAME_STEP, step(final_obs=final), infos, [1])
        assert {i: one.tolist() for i, one in observations.items()} == {1: [7.0, 8.0]}
        assert (masks[1].tolist(), bad, failed) == ([False, True], {}, {})

    def test_one_whose_environment_failed_has_none_and_is_not_looked_at(self) -> None:
        infos = {0: {FAILED_STEP: "hung in step: no answer in 1 s"}}
        found = self.finals(AutoresetMode.SAME_STEP, step(final_obs=np.full(2, None)), infos, [0])
        assert found == ({}, {}, {}, {0: "hung in step: no answer in 1 s"})

    @pytest.mark.parametrize(
        ("final", "info", "reason"),
        [
            (np.array([math.nan, 1.0], np.float32), {}, "finite"),
            (np.zeros(3, np.float32), {}, "float32[3]"),
            (np.zeros(2, np.float32), {BAD_STEP: "its reward is NaN"}, "its reward is NaN"),
        ],
    )
    def test_a_final_observation_that_cannot_be_used_is_named(self, final: Any, info: Any, reason: str) -> None:
        both = np.empty(2, object)
        both[0] = final
        observations, masks, bad, _ = self.finals(AutoresetMode.SAME_STEP, step(final_obs=both), {0: info}, [0])
        assert (observations, masks) == ({}, {})
        assert reason in bad[0]
