"""What DQN and SAC share: when gradient steps are due, how many, and what is saved of it."""

import logging
import math
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.algorithms import _replay_learner
from tensor_optix.algorithms._replay_learner import ReplayLearner, check_saved_learner, check_window
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import (
    BadDataError,
    CheckpointCorruptError,
    CheckpointMismatchError,
    HyperparamError,
    InvalidArgumentError,
)
from tests.fakes.device_memory import memory_of

PARAMS: dict[str, Any] = {"batch_size": 4, "replay_capacity": 100, "learning_starts": 10, "updates_per_step": 1.0}
RNG = np.random.default_rng(0)


def window(length: int = 8, **fields: Any) -> EpisodeData:
    observations = np.arange(2 * length, dtype=np.float32).reshape(length, 2)
    values: dict[str, Any] = {
        "observations": observations,
        "actions": np.zeros(length, np.int64),
        "rewards": np.ones(length, np.float32),
        "terminated": np.zeros(length, bool),
        "truncated": np.zeros(length, bool),
        "next_observations": observations + 2.0,
    }
    return EpisodeData(**(values | fields))


class Steps:
    """Makes gradient steps, each of whose loss is its number."""

    def __init__(self) -> None:
        self.blocks: list[tuple[int, ...]] = []

    def __call__(self, batches: dict[str, np.ndarray]) -> dict[str, float]:
        begun = sum(block[0] for block in self.blocks)
        self.blocks.append(batches["rewards"].shape)
        return {"loss": begun + (self.blocks[-1][0] - 1) / 2}


def learn(learner: ReplayLearner, steps: Steps, length: int = 8, **params: Any) -> Any:
    learner.remember(window(length), PARAMS | params)
    return learner.update(PARAMS | params, RNG, steps)


class TestDue:
    def test_nothing_before_there_is_enough_and_then_a_step_for_each_step(self) -> None:
        learner, steps = ReplayLearner(), Steps()
        assert learn(learner, steps) == {}
        assert learn(learner, steps) == {"loss": 3.5, "n_updates": 8.0}
        assert (learner.gradient_steps, len(learner)) == (8, 16)
        assert steps.blocks == [(8, 4)]

    def test_windows_before_the_start_owe_nothing(self) -> None:
        learner, steps = ReplayLearner(), Steps()
        for _ in range(3):
            assert learn(learner, steps, learning_starts=32) == {}
        learn(learner, steps, learning_starts=32)
        assert learner.gradient_steps == 8

    def test_fractions_are_carried_over(self) -> None:
        learner, steps = ReplayLearner(), Steps()
        made = [learn(learner, steps, learning_starts=1, updates_per_step=0.3125) for _ in range(5)]
        assert [found and found["n_updates"] for found in made] == [2.0, 3.0, 2.0, 3.0, 2.0]  # 2.5 a window

    def test_a_fraction_of_a_step_is_none(self) -> None:
        assert learn(ReplayLearner(), Steps(), learning_starts=1, updates_per_step=0.1) == {}

    def test_learning_starts_with_a_batch_at_least_and_a_full_memory_at_most(self) -> None:
        assert learn(ReplayLearner(), Steps(), learning_starts=1, batch_size=9) == {}
        assert learn(ReplayLearner(), Steps(), learning_starts=10**6, replay_capacity=8) != {}

    def test_metrics_are_means_over_all_steps_however_they_are_cut(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_replay_learner, "_SAMPLED_BYTES", 1)
        learner, steps = ReplayLearner(), Steps()
        learn(learner, steps)
        assert learn(learner, steps) == {"loss": 3.5, "n_updates": 8.0}
        assert steps.blocks == [(1, 4)] * 8


class TestSizes:
    def test_a_batch_fits_the_memory(self) -> None:
        with pytest.raises(HyperparamError, match="batch_size=101, replay_capacity=100"):
            ReplayLearner().check(PARAMS | {"batch_size": 101})

    def test_a_memory_in_use_keeps_its_size(self) -> None:
        learner = ReplayLearner()
        learner.check(PARAMS | {"replay_capacity": 50})
        learn(learner, Steps())
        with pytest.raises(HyperparamError, match=r"it is 100, but got 50\. Make a new agent"):
            learner.check(PARAMS | {"replay_capacity": 50})

    def test_what_the_memory_takes_is_told_once(self, caplog: pytest.LogCaptureFixture) -> None:
        learner = ReplayLearner()
        with caplog.at_level(logging.INFO):
            for _ in range(2):
                learner.announce(PARAMS, spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(2))
        assert [record.message for record in caplog.records] == ["Replay memory: 100 transitions, 0.00 GiB."]

    @pytest.mark.parametrize(("frames", "fits"), [((4, 84, 84), True), ((84, 84, 4), False)])
    def test_frames_count_once_where_they_are_stacked(
        self, monkeypatch: pytest.MonkeyPatch, frames: tuple[int, ...], fits: bool
    ) -> None:
        monkeypatch.setattr(_replay_learner, "free_memory", lambda: 2 << 20)
        images = spaces.Box(0, 255, frames, np.uint8)  # 100 of them take 2.7 MiB, of single frames 0.7 MiB
        if fits:
            ReplayLearner().announce(PARAMS, images, spaces.Discrete(2))
            return
        with pytest.raises(InvalidArgumentError, match=r"GiB of memory are free\. Lower replay_capacity"):
            ReplayLearner().announce(PARAMS, images, spaces.Discrete(2))


class TestSaved:
    def test_a_restored_learner_owes_and_samples_what_the_saved_one_would_have(self) -> None:
        first, again = ReplayLearner(), ReplayLearner()
        for _ in range(3):
            learn(first, Steps(), updates_per_step=0.3)
        again.restore(*first.state(with_memory=True))
        assert (again.gradient_steps, len(again)) == (first.gradient_steps, len(first))
        seen: list[np.ndarray] = []
        for learner in (first, again):
            rng = np.random.default_rng(5)
            learner.remember(window(), PARAMS)
            learner.update(PARAMS, rng, lambda batches: (seen.append(batches["observations"]), {})[1])
        assert np.array_equal(*seen)

    def test_what_is_restored_takes_the_place_of_what_is_on_the_device(self) -> None:
        first, again, seen = ReplayLearner(), ReplayLearner(memory_of("torch")), list[np.ndarray]()
        for learner, offset in ((first, 0), (again, 100)):
            for _ in range(2):
                learner.remember(window(observations=np.full((8, 2), offset, np.float32)), PARAMS)
        again.restore(*first.state(with_memory=True))
        for learner in (first, again):
            learner.remember(window(), PARAMS)
            learner.update(
                PARAMS, np.random.default_rng(5), lambda found: (seen.append(np.asarray(found["observations"])), {})[1]
            )
        assert np.array_equal(*seen)

    def test_without_its_memory_it_is_filled_again(self) -> None:
        first, again = ReplayLearner(), ReplayLearner()
        for _ in range(2):
            learn(first, Steps())
        arrays, values = first.state(with_memory=False)
        assert arrays == {}
        again.restore(arrays, values)
        assert (again.gradient_steps, len(again)) == (8, 0)
        assert learn(again, Steps()) == {}

    def test_a_state_that_is_damaged_changes_nothing(self) -> None:
        learner = ReplayLearner()
        for _ in range(2):
            learn(learner, Steps())
        arrays, values = learner.state(with_memory=True)
        with pytest.raises(CheckpointCorruptError, match="owed"):
            learner.restore(arrays, {**values, "owed": -1.0})
        assert (learner.gradient_steps, len(learner)) == (8, 16)

    def test_a_file_does_not_decide_how_much_memory_is_reserved(self) -> None:
        learner = ReplayLearner()
        learn(learner, Steps())
        arrays, values = learner.state(with_memory=True)
        check_saved_learner(arrays, values, PARAMS, 100)
        with pytest.raises(CheckpointMismatchError, match="has capacity 100, the agent's has 99"):
            check_saved_learner(arrays, values, PARAMS, 99)
        with pytest.raises(CheckpointMismatchError, match="and no memory"):
            check_saved_learner(arrays, {**values, "memory": None}, PARAMS, 100)
        check_saved_learner({}, {**values, "memory": None}, PARAMS, 1)


@pytest.mark.parametrize("name", ["observations", "next_observations", "rewards", "actions"])
def test_a_window_that_is_not_finite_is_named(name: str) -> None:
    check_window(window(next_observations=None))
    bad = np.array(getattr(window(), name), np.float64)
    bad[0] = math.nan
    with pytest.raises(BadDataError, match=f"The {name} of window 0 are not all finite"):
        check_window(window(**{name: bad}))
