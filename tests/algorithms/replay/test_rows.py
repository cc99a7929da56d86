"""What a window brings to a replay memory: rows by environment, stacks of frames, and what does not fit."""

from typing import Any

import numpy as np
import pytest

from tensor_optix.algorithms.replay.rows import MOST_FRAMES, by_environment, check_like, rows_of, stack_depth
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import BadDataError


def window(length: int = 6, n_envs: int = 2, **fields: Any) -> EpisodeData:
    values: dict[str, Any] = {
        "observations": np.arange(2 * length, dtype=np.float32).reshape(length, 2),
        "actions": np.arange(length),
        "rewards": np.arange(length, dtype=np.float64),
        "terminated": np.arange(length) % 3 == 2,
        "truncated": np.zeros(length, bool),
        "episode_id": 4,
        "n_envs": n_envs,
    }
    return EpisodeData(**(values | fields))


def test_rows_are_those_of_each_environment_one_after_the_other() -> None:
    rows = rows_of(window())
    assert rows.keys() == {"observations", "actions", "rewards", "terminated"}
    assert rows["actions"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert rows["observations"].shape == (2, 3, 2)
    assert (rows["rewards"].dtype, rows["terminated"].dtype) == (np.float32, np.bool_)


def test_masks_are_stored_where_there_are_any() -> None:
    rows = rows_of(window(next_action_masks=np.ones((6, 4), np.int8)))
    assert rows["next_action_masks"].shape == (2, 3, 4)
    assert rows["next_action_masks"].dtype == np.bool_


def test_a_list_will_do() -> None:
    assert by_environment(window(), [1, 2, 3, 4, 5, 6]).tolist() == [[1, 2, 3], [4, 5, 6]]


def stacks(depth: int, steps: int = 8, envs: int = 2) -> np.ndarray:
    """(N, n, K, 3, 3): each observation is the newest K of a sequence of frames that all differ."""
    frames = np.random.default_rng(0).integers(0, 255, (envs, steps + depth, 3, 3))
    return np.stack([frames[:, n : n + depth] for n in range(steps)], axis=1)


class TestStackDepth:
    @pytest.mark.parametrize("depth", [2, 4, MOST_FRAMES])
    def test_stacks_are_found_by_what_they_share(self, depth: int) -> None:
        assert stack_depth(stacks(depth)) == depth

    def test_resets_in_between_do_not_hide_them(self) -> None:
        found = stacks(4)
        found[:, 3] = 0
        assert stack_depth(found) == 4

    @pytest.mark.parametrize(
        "observations",
        [
            np.random.default_rng(0).normal(size=(2, 8, 4, 3, 3)),
            np.zeros((2, 8, 4)),
            stacks(4)[:, :1],
            stacks(MOST_FRAMES + 1),
            stacks(1),
        ],
        ids=["channels", "vectors", "one step", "too deep", "one frame"],
    )
    def test_what_shares_nothing_or_is_too_deep_is_stored_whole(self, observations: np.ndarray) -> None:
        assert stack_depth(observations) == 1


class TestCheckLike:
    RINGS = {"observations": np.zeros((2, 10, 2), np.float32), "rewards": np.zeros((2, 10), np.float32)}

    def check(self, rows: dict[str, np.ndarray], n_envs: int = 2, stack: int = 1) -> None:
        check_like(window(), rows, self.RINGS, n_envs, stack)

    def test_rows_like_those_stored_pass_and_so_do_the_first_masks(self) -> None:
        self.check({"observations": np.zeros((2, 3, 2), np.float32), "next_action_masks": np.ones((2, 3, 4), bool)})

    def test_a_stack_is_compared_with_the_frame_that_is_stored_of_it(self) -> None:
        self.check({"next_observations": np.zeros((2, 3, 4, 2), np.float32)}, stack=4)
        with pytest.raises(BadDataError, match=r"shape \(3, 2\) and dtype float32 per step.*holds \(4, 2\)"):
            self.check({"observations": np.zeros((2, 3, 3, 2), np.float32)}, stack=4)

    def test_another_number_of_environments_is_refused_with_both(self) -> None:
        with pytest.raises(BadDataError, match="holds steps of 3 environments, but window 4 is of 2"):
            self.check({}, n_envs=3)

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("observations", np.zeros((2, 3, 5), np.float32)),
            ("next_observations", np.zeros((2, 3, 2), np.float64)),
            ("rewards", np.zeros((2, 3, 1), np.float32)),
        ],
    )
    def test_what_is_unlike_is_named_with_both_shapes(self, name: str, values: np.ndarray) -> None:
        with pytest.raises(BadDataError, match=f"The {name} of window 4 have shape.*but the replay memory holds"):
            self.check({name: values})
