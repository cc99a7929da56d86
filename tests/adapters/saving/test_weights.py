"""Named weights: do they fit a model, and how they move between frameworks."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.adapters.saving.tensorfile import TensorSpec, save_tensors
from tensor_optix.adapters.saving.weights import (
    check_shapes,
    check_shared,
    check_shared_in,
    check_specs,
    check_weights,
    shared_names,
    stand_ins,
    translated,
)
from tensor_optix.errors import CheckpointMismatchError, NonFiniteError

SHAPES = {"actor.0.weight": (2, 3), "actor.0.bias": (2,)}


def weights(**changes: Any) -> dict[str, np.ndarray]:
    found = {name: np.ones(shape, np.float32) for name, shape in SHAPES.items()} | changes
    return {name: array for name, array in found.items() if array is not None}


def test_weights_that_fit_pass_every_check() -> None:
    check_shapes(SHAPES, weights())
    check_weights(SHAPES, weights())
    check_specs(weights(), weights())
    check_weights({}, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actor.0.bias": None}, r"lacks tensor 'actor\.0\.bias' of shape \(2,\), which the model has"),
        ({"actor.0.bias": np.ones(3)}, r"'actor\.0\.bias' has shape \(3,\) in the snapshot, but \(2,\) in the model"),
        ({"actor.0.bias": np.ones((2, 1))}, r"has shape \(2, 1\) in the snapshot"),
        ({"critic.0.bias": np.ones(2)}, r"has tensor 'critic\.0\.bias', which the model lacks"),
    ],
)
@pytest.mark.parametrize("check", [check_shapes, check_weights])
def test_the_first_tensor_that_does_not_fit_is_named(check: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointMismatchError, match=message):
        check(SHAPES, weights(**change))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_tensor_that_is_not_finite_is_named_once_the_shapes_fit(value: float) -> None:
    bad = np.array([1.0, value], np.float32)
    check_shapes(SHAPES, weights(**{"actor.0.bias": bad}))
    with pytest.raises(NonFiniteError, match=r"actor\.0\.bias"):
        check_weights(SHAPES, weights(**{"actor.0.bias": bad}))


def test_a_training_state_has_the_very_types_of_the_model() -> None:
    with pytest.raises(
        CheckpointMismatchError, match=r"'actor\.0\.bias' is of float64 in the snapshot, but of float32"
    ):
        check_specs(weights(), weights(**{"actor.0.bias": np.ones(2)}))
    with pytest.raises(CheckpointMismatchError, match="lacks tensor"):
        check_specs(weights(), weights(**{"actor.0.bias": None}))


TRUNK = np.array([1.0, math.nan], np.float32)
SHARED = {
    "actor.0.weight": TRUNK,
    "actor.1.weight": np.ones(2),
    "critic.0.weight": TRUNK,
    "critic.1.weight": np.ones(2),
}


def test_what_is_one_array_is_shared_and_what_is_only_equal_is_not() -> None:
    assert shared_names(SHARED) == {"critic.0.weight": "actor.0.weight"}
    assert shared_names(weights()) == {}


def test_weights_that_are_shared_must_be_equal_in_the_snapshot() -> None:
    saved = {name: array.copy() for name, array in SHARED.items()}
    check_shared(SHARED, saved)
    check_shared(weights(), {})
    check_shared(SHARED, {"actor.0.weight": TRUNK})
    saved["critic.0.weight"][0] = 2.0
    with pytest.raises(
        CheckpointMismatchError,
        match=r"'actor\.0\.weight' and 'critic\.0\.weight' are one weight.*two separate networks",
    ):
        check_shared(SHARED, saved)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_file_is_asked_for_shared_weights_only_under_whatever_names(tmp_path: Path, prefix: str) -> None:
    def plain_name(name: str) -> str:
        return name.replace("module.", "")

    path = str(tmp_path / "weights")
    saved = {name.replace(".", f".{prefix}", 1): array.copy() for name, array in SHARED.items()}
    save_tensors(path, saved, {}, saved)
    check_shared_in(path, SHARED, plain_name, saved)
    check_shared_in("nowhere", weights(), plain_name, ())
    saved[f"critic.{prefix}0.weight"][0] = 2.0
    save_tensors(path, saved, {}, saved)
    with pytest.raises(CheckpointMismatchError, match="two separate networks"):
        check_shared_in(path, SHARED, plain_name, saved)


def test_stand_ins_have_shape_and_type_and_take_no_memory() -> None:
    specs = {
        "large": TensorSpec(np.dtype(np.float32), (1 << 20, 1 << 20)),
        "single": TensorSpec(np.dtype(np.int64), ()),
    }
    found = stand_ins(specs)
    assert {name: (array.shape, array.dtype) for name, array in found.items()} == {
        "large": ((1 << 20, 1 << 20), np.float32),
        "single": ((), np.int64),
    }
    assert found["large"].strides == (0, 0)
    check_specs(found, specs)


class TestTranslated:
    OWN = {"actor/kernel": np.zeros((3, 2)), "actor/bias": np.zeros(2), "critic/kernel": np.zeros((3, 1))}
    SAVED = {
        "actor.0.weight": np.arange(6.0).reshape(2, 3),
        "actor.0.bias": np.array([7.0, 8.0]),
        "critic.0.weight": np.arange(3.0).reshape(1, 3),
    }

    def own(self) -> dict[str, np.ndarray]:
        return {name.replace("/", "."): array for name, array in self.OWN.items()}

    def test_matrices_are_turned_and_vectors_are_not(self) -> None:
        found = translated(self.SAVED, list(self.SAVED), self.own())
        assert list(found) == list(self.own())
        assert np.array_equal(found["actor.kernel"], self.SAVED["actor.0.weight"].T)
        assert np.array_equal(found["actor.bias"], [7.0, 8.0])
        check_shapes({name: array.shape for name, array in self.own().items()}, found)

    def test_there_and_back_is_the_same(self) -> None:
        there = translated(self.SAVED, list(self.SAVED), self.own())
        back = translated(there, list(there), self.SAVED)
        assert all(np.array_equal(back[name], array) for name, array in self.SAVED.items())

    def test_models_do_not_mix_whatever_the_order_of_saving(self) -> None:
        order = ["critic.0.weight", "actor.0.weight", "actor.0.bias"]
        assert np.array_equal(
            translated(self.SAVED, order, self.own())["critic.kernel"], self.SAVED["critic.0.weight"].T
        )

    @pytest.mark.parametrize("missing", ["actor.0.bias", "critic.0.weight"])
    def test_another_number_of_tensors_is_refused_with_both(self, missing: str) -> None:
        order = [name for name in self.SAVED if name != missing]
        with pytest.raises(CheckpointMismatchError, match=r"snapshot's (actor|critic) has \d tensors, this one has \d"):
            translated(self.SAVED, order, self.own())

    def test_a_model_that_only_one_side_has_is_refused(self) -> None:
        saved = {**self.SAVED, "target.0.bias": np.zeros(2)}
        with pytest.raises(CheckpointMismatchError, match="snapshot's target has 1 tensors, this one has 0"):
            translated(saved, list(saved), self.own())

    def test_convolutions_stay_in_their_framework(self) -> None:
        saved = {"actor.0.weight": np.zeros((8, 4, 3, 3))}
        with pytest.raises(CheckpointMismatchError, match=r"shape \(8, 4, 3, 3\) cannot be moved between frameworks"):
            translated(saved, list(saved), {"actor.kernel": np.zeros((3, 3, 4, 8))})
