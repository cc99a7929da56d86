"""Does a model fit the spaces, and a window the model? What is refused names both sides."""

import math
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.adapters._checks import (
    NoTensorError,
    check_action_masks,
    check_actions,
    check_output,
    check_pair_output,
    refuse_non_finite_window,
)
from tensor_optix.errors import BadDataError, ModelShapeError, SpaceError

BOX, DISCRETE = spaces.Box(-1.0, 1.0, (3,), np.float32), spaces.Discrete(4)


def dense(inputs: int, outputs: int) -> Any:
    return lambda rows: rows @ np.zeros((inputs, outputs), rows.dtype)


class TestModels:
    @pytest.mark.parametrize(
        ("output", "told"),
        [
            ((np.zeros(2), None), "a tuple of ndarray, NoneType"),
            ([np.zeros(2)], "a list of ndarray"),
            ({"logits": np.zeros(2)}, "a dict of 'logits': ndarray"),
            (None, "NoneType"),
        ],
    )
    def test_what_is_no_tensor_is_named_with_what_to_return(self, output: object, told: str) -> None:
        def predict(rows: np.ndarray) -> np.ndarray:
            raise NoTensorError(output, "torch.Tensor")

        rule = rf"must return one torch\.Tensor, but returned {told}\. Return the tensor alone"
        with pytest.raises(ModelShapeError, match=f"The actor {rule}"):
            check_output("actor", predict, BOX, (4,), DISCRETE)
        with pytest.raises(ModelShapeError, match=f"The critic {rule}"):
            check_pair_output("critic", predict, 5, "3 + 2")

    def test_a_model_that_fits_is_asked_with_rows_of_the_space(self) -> None:
        asked = []

        def predict(rows: np.ndarray) -> np.ndarray:
            asked.append((rows.shape, rows.dtype))
            return np.zeros((2, 4))

        check_output("actor", predict, BOX, (4,), DISCRETE)
        assert asked == [((2, 3), np.float32)]

    def test_an_output_of_another_size_is_named_with_both(self) -> None:
        with pytest.raises(
            ModelShapeError, match=r"actor returns shape \(2, 5\) .* but \(2, 4\) is needed for .*Discrete\(4\)"
        ):
            check_output("actor", dense(3, 5), BOX, (4,), DISCRETE)

    def test_an_input_of_another_size_is_named_with_what_the_model_says(self) -> None:
        with pytest.raises(ModelShapeError, match=r"critic cannot take observations of shape \(2, 3\).*Box") as raised:
            check_output("critic", dense(7, 1), BOX, (1,), DISCRETE)
        assert isinstance(raised.value.__cause__, ValueError)

    @pytest.mark.parametrize("error", [IndexError, KeyError, TypeError])
    def test_a_model_that_asks_for_members_by_name_is_told_of_the_wrapper(self, error: type[Exception]) -> None:
        def predict(rows: np.ndarray) -> np.ndarray:
            raise error("image")

        with pytest.raises(ModelShapeError, match=r"wrap it: TorchDictModel or TFDictModel\(env.observation_space"):
            check_output("actor", predict, BOX, (4,), DISCRETE)

    def test_observations_must_be_one_array(self) -> None:
        with pytest.raises(SpaceError, match=r"Observations must be one array.*Dict.*Make them one"):
            check_output("actor", dense(3, 4), spaces.Dict({"a": BOX}), (4,), DISCRETE)

    def test_a_critic_of_pairs_takes_observation_and_action_and_returns_one_number(self) -> None:
        check_pair_output("critic1", dense(5, 1), 5, "3 + 2")
        with pytest.raises(
            ModelShapeError, match=r"critic1 cannot take \[observation ‖ action\] of 3 \+ 2 = 5 numbers"
        ):
            check_pair_output("critic1", dense(3, 1), 5, "3 + 2")
        with pytest.raises(
            ModelShapeError, match=r"critic1 returns shape \(2, 2\) for 2 pairs, but \(2, 1\) is needed"
        ):
            check_pair_output("critic1", dense(5, 2), 5, "3 + 2")


class TestWindows:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_an_array_that_is_not_finite_is_named_with_its_window(self, value: float) -> None:
        window = {"observations": np.zeros((2, 3)), "rewards": np.array([0.0, value])}
        with pytest.raises(BadDataError, match="The rewards of window 7 are not all finite"):
            refuse_non_finite_window(window, 7)

    def test_whole_numbers_are_always_finite(self) -> None:
        refuse_non_finite_window({"observations": np.full((2, 3), 255, np.uint8), "actions": np.array([1, 2])}, 7)


class TestActions:
    def test_actions_as_the_policy_draws_them_pass(self) -> None:
        check_actions(np.array([0, 3]), 2, n=4)
        check_actions(np.array([0.5, -0.5]).reshape(1, 2), 1, size=2)
        check_actions(np.array([[0, 4], [1, 0]]), 2, n=np.array([2, 5]), size=2)

    @pytest.mark.parametrize(
        ("actions", "options", "message"),
        [
            ([0, 1, 2], {"n": 4}, r"must have shape \(2,\), but have \(3,\)"),
            ([[0], [1]], {"n": 4}, r"must have shape \(2,\), but have \(2, 1\)"),
            ([0.5, 0.5], {"size": 1}, r"must have shape \(2, 1\)"),
            ([0, 4], {"n": 4}, r"integers in \[0, 4\).*lie in \[0, 4\]"),
            ([-1, 0], {"n": 4}, r"lie in \[-1, 0\]"),
            ([0.0, 1.0], {"n": 4}, "dtype float64"),
            ([[0, 0], [1, 5]], {"n": np.array([2, 5]), "size": 2}, r"integers in \[0, \[2 5\]\)"),
        ],
    )
    def test_other_actions_are_refused_with_rule_and_range(
        self, actions: Any, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(BadDataError, match=message):
            check_actions(np.array(actions), 2, **options)


class TestMasks:
    def test_each_row_allows_something_of_each_choice(self) -> None:
        check_action_masks(np.array([[True, False], [False, True]]), 2, [2])
        check_action_masks(np.array([[True, False, True, True, False]]), 1, [2, 3])

    @pytest.mark.parametrize(
        ("masks", "nvec", "message"),
        [
            ([[True, True]], [2], r"must have shape \(2, 2\), but have \(1, 2\)"),
            ([[True, True, True]] * 2, [2], r"must have shape \(2, 2\), but have \(2, 3\)"),
            ([[True, False], [False, False]], [2], "Row 1 of the action masks allows no action. Correct"),
            (
                [[True, True, True], [True, False, False]],
                [1, 2],
                "Row 1 of the action masks allows no action of choice 1",
            ),
        ],
    )
    def test_a_row_that_allows_nothing_is_named(self, masks: Any, nvec: list[int], message: str) -> None:
        with pytest.raises(BadDataError, match=message):
            check_action_masks(np.array(masks), 2, nvec)
