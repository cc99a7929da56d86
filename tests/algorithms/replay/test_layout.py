"""What a saved replay memory must be like: checked before its arrays are read."""

from typing import Any

import numpy as np
import pytest

from tensor_optix.algorithms.replay.layout import check_ids, check_layout, check_progress
from tensor_optix.algorithms.replay.side_store import SideStore
from tensor_optix.errors import CheckpointCorruptError, CheckpointMismatchError

VALUES: dict[str, Any] = {"capacity": 8, "written": 3, "stack": 1, "finals": (4, 6), "starts": (0, 0)}


def saved(**changes: Any) -> dict[str, np.ndarray]:
    """Two environments, three steps each; two final observations are kept beside the ring."""
    arrays: dict[str, Any] = {
        "ring.observations": np.zeros((2, 3, 5), np.float32),
        "ring.actions": np.zeros((2, 3), np.int64),
        "ring.rewards": np.zeros((2, 3), np.float32),
        "ring.terminated": np.zeros((2, 3), bool),
        "ring.final": np.array([[-1, 4, -1], [5, -1, -1]], np.int32),
        "following": np.zeros((2, 5), np.float32),
        "finals": np.zeros((2, 5), np.float32),
    } | changes
    return {name: array for name, array in arrays.items() if array is not None}


class TestLayout:
    def test_a_whole_memory_passes(self) -> None:
        check_layout(saved(), VALUES, 8)
        check_layout(saved(**{"ring.next_action_masks": np.ones((2, 3, 4), bool)}), VALUES, 8)

    def test_an_empty_one_passes(self) -> None:
        check_layout({}, {"capacity": 8}, 8)

    def test_frames_are_stored_singly(self) -> None:
        check_layout(
            saved(**{"ring.start": np.full((2, 3), -1, np.int32), "following": np.zeros((2, 4, 5), np.float32)}),
            VALUES | {"stack": 4},
            8,
        )

    def test_a_full_ring_has_its_capacity_of_all_environments(self) -> None:
        arrays = {
            name: np.repeat(a, 2, axis=1)[:, :4] if name.startswith("ring.") else a for name, a in saved().items()
        }
        check_layout(arrays, VALUES | {"written": 1000}, 8)
        with pytest.raises(CheckpointMismatchError, match="not whole"):
            check_layout(saved(), VALUES | {"written": 1000}, 8)

    def test_another_capacity_is_refused_with_both(self) -> None:
        with pytest.raises(CheckpointMismatchError, match="has capacity 8, this one 16"):
            check_layout(saved(), VALUES, 16)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"ring.rewards": None}, "it has the arrays"),
            ({"following": None}, "it has the arrays"),
            ({"ring.surprise": np.zeros((2, 3))}, "it has the arrays"),
            ({"surprise": np.zeros(3)}, "it has the arrays"),
            ({"ring.start": np.zeros((2, 3), np.int32)}, "it has the arrays"),
            ({"ring.observations": np.zeros(6, np.float32)}, "its observations have shape"),
            ({"ring.observations": np.zeros((9, 3, 5), np.float32)}, "its observations have shape"),
            ({"ring.actions": np.zeros((2, 4))}, r"its actions have shape \(2, 4\), not \(2, 3, \.\.\.\)"),
            ({"ring.final": np.full((2, 3), -1, np.int64)}, "its final are of int64"),
            ({"ring.rewards": np.zeros((2, 3))}, "its rewards are of float64"),
            ({"ring.rewards": np.zeros((2, 3, 1), np.float32)}, "its rewards are of"),
            ({"ring.terminated": np.zeros((2, 3), np.int8)}, "its terminated are of int8"),
            ({"following": np.zeros((2, 4), np.float32)}, r"what follows has shape \(2, 4\)"),
            ({"following": np.zeros((2, 5))}, "what follows has shape"),
            ({"finals": np.zeros((3, 5), np.float32)}, "it has 3 finals, and ids from 4 to 6"),
            ({"finals": None}, "it has 0 finals"),
            ({"finals": np.zeros((2, 5))}, "its finals are of float64"),
        ],
    )
    def test_what_is_not_whole_is_named(self, change: dict[str, Any], reason: str) -> None:
        with pytest.raises(CheckpointMismatchError, match=f"not whole: {reason}"):
            check_layout(saved(**change), VALUES, 8)

    def test_no_file_may_claim_more_beside_the_ring_than_the_ring_can_refer_to(self) -> None:
        arrays = saved(finals=np.broadcast_to(np.float32(0.0), (18, 5)))
        with pytest.raises(CheckpointMismatchError, match="it has 18 finals"):
            check_layout(arrays, VALUES | {"finals": (0, 18)}, 8)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"capacity": 0}, "capacity"),
            ({"capacity": "8"}, "capacity"),
            ({"stack": 17}, "stack"),
            ({"written": -1}, "written"),
            ({"finals": (1,)}, "finals"),
            ({"surprise": 1}, "surprise"),
        ],
    )
    def test_a_value_out_of_its_bounds_is_named(self, change: dict[str, Any], named: str) -> None:
        with pytest.raises(CheckpointCorruptError, match=named):
            check_layout(saved(), VALUES | change, 8)


class TestIds:
    def test_ids_of_what_is_kept_pass_and_minus_one_is_none(self) -> None:
        check_ids(saved(), VALUES)
        check_ids({}, {})

    @pytest.mark.parametrize("bad", [3, 6, -2, SideStore.IDS - 1])
    def test_an_id_of_nothing_is_refused(self, bad: int) -> None:
        ring = np.array([[-1, 4, bad]], np.int32)
        with pytest.raises(CheckpointMismatchError, match="its ring refers to finals that are not there"):
            check_ids({"ring.final": ring}, VALUES)

    def test_ids_that_have_started_over_pass(self) -> None:
        first = SideStore.IDS - 1
        check_ids({"ring.final": np.array([[first, 0]], np.int32)}, {"finals": (first, first + 2)})


class TestProgress:
    def test_it_comes_back(self) -> None:
        progress = check_progress({"memory": {"capacity": 8}, "gradient_steps": 3, "owed": 0.5})
        assert (progress.memory, progress.gradient_steps, progress.owed) == ({"capacity": 8}, 3, 0.5)
        assert check_progress({"memory": None, "gradient_steps": 0, "owed": 0.0}).memory is None

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"gradient_steps": -1}, "gradient_steps"),
            ({"owed": 1e9}, "owed"),  # the next window would make as many steps
            ({"owed": -0.5}, "owed"),
            ({"memory": 3}, "memory"),
            ({"x": 1}, "x"),
        ],
    )
    def test_a_field_that_is_wrong_is_named(self, change: dict[str, Any], named: str) -> None:
        with pytest.raises(CheckpointCorruptError, match=f"saved replay learner.*{named}"):
            check_progress({"memory": None, "gradient_steps": 0, "owed": 0.0} | change)
