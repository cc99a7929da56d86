"""What a training state says of optimizers and generators: what they may have, and what is refused."""

import math
from typing import Any

import numpy as np
import pytest

from tensor_optix.adapters.saving.saved_settings import check_moments, check_settings, restored_generators
from tensor_optix.adapters.saving.tensorfile import TensorSpec
from tensor_optix.errors import CheckpointCorruptError, CheckpointMismatchError

F32, F64, I64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)
WEIGHTS = [np.zeros((2, 3), F32), np.zeros(2, F32)]
OWN = {"0.exp_avg": np.zeros((2, 3), F32), "0.step": np.zeros((), F32), "1.exp_avg": np.zeros(2, F32)}
SPECS = {name: TensorSpec(array.dtype, array.shape) for name, array in OWN.items()}


class TestMoments:
    def test_moments_like_its_own_fit(self) -> None:
        check_moments("optimizer", SPECS, OWN, WEIGHTS)

    @pytest.mark.parametrize(
        "spec", [TensorSpec(F32, (2, 3)), TensorSpec(F64, (2,)), TensorSpec(I64, ()), TensorSpec(I64, (1,))]
    )
    def test_before_the_first_step_what_is_like_a_weight_or_a_single_number_fits(self, spec: TensorSpec) -> None:
        check_moments("optimizer", {"0.exp_avg": spec}, {}, WEIGHTS)

    @pytest.mark.parametrize(
        ("moment", "spec"),
        [
            ("0.exp_avg", TensorSpec(F32, (3, 2))),
            ("0.exp_avg", TensorSpec(F64, (2, 3))),
            ("0.step", TensorSpec(F32, (2,))),
        ],
    )
    def test_what_is_unlike_its_own_is_named(self, moment: str, spec: TensorSpec) -> None:
        with pytest.raises(
            CheckpointMismatchError, match=f"saved optimizer's tensor '{moment}'.*does not fit its weights"
        ):
            check_moments("optimizer", {**SPECS, moment: spec}, OWN, WEIGHTS)

    @pytest.mark.parametrize("spec", [TensorSpec(F32, (4,)), TensorSpec(I64, (2, 3))])
    def test_before_the_first_step_what_is_like_no_weight_is_refused(self, spec: TensorSpec) -> None:
        with pytest.raises(CheckpointMismatchError, match="does not fit its weights"):
            check_moments("optimizer", {"0.exp_avg": spec}, {}, WEIGHTS)

    @pytest.mark.parametrize("name", ["exp_avg", "0.exp avg", "../0", "1234567", "0.", "0.1st"])
    def test_a_name_that_no_optimizer_gives_is_refused(self, name: str) -> None:
        with pytest.raises(CheckpointMismatchError, match="which no optimizer has"):
            check_moments("optimizer", {name: TensorSpec(F32, ())}, {}, WEIGHTS)

    def test_no_file_may_ask_for_any_number_of_tensors(self) -> None:
        many = {f"{n}.exp_avg": TensorSpec(F32, (2,)) for n in range(100)}
        with pytest.raises(CheckpointMismatchError, match="has 100 tensors, far more than it can have"):
            check_moments("optimizer", many, {}, WEIGHTS)


SETTINGS: dict[str, Any] = {
    "lr": 1e-3,
    "betas": (0.9, 0.999),
    "amsgrad": False,
    "fused": None,
    "name": "adam",
    "schedule": {"decay": 0.5},
    "plain": {},
}


class TestSettings:
    @pytest.mark.parametrize(
        "change",
        [
            {},
            {"lr": 1},
            {"betas": [0.5, 0.5]},
            {"fused": True},
            {"amsgrad": None},
            {"schedule": {}},
            {"plain": {"0.step": 3, "1": None}},
        ],
    )
    def test_settings_of_the_same_kinds_fit(self, change: dict[str, Any]) -> None:
        check_settings("optimizer", SETTINGS | change, SETTINGS)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"lr": "0.1"}, "lr="),
            ({"lr": True}, "lr="),
            ({"lr": 1e31}, "lr="),
            ({"betas": [0.9]}, "betas="),
            ({"betas": 0.9}, "betas="),
            ({"amsgrad": 1}, "amsgrad="),
            ({"fused": "yes"}, "fused="),
            ({"name": "a" * 257}, "name="),
            ({"name": 3}, "name="),
            ({"schedule": {"rate": 0.5}}, "schedule="),
            ({"schedule": {"decay": "fast"}}, "schedule="),
            ({"plain": {"step": 1}}, "entries that are no numbers"),
            ({"plain": {"0.step": "three"}}, "entries that are no numbers"),
            ({"plain": [1]}, "entries that are no numbers"),
            ({"momentum": 0.9}, "has the settings"),
        ],
    )
    def test_a_setting_of_another_kind_is_named(self, change: dict[str, Any], named: str) -> None:
        with pytest.raises(CheckpointMismatchError, match=named):
            check_settings("optimizer", SETTINGS | change, SETTINGS)

    def test_a_setting_that_is_missing_is_refused(self) -> None:
        with pytest.raises(CheckpointMismatchError, match="has the settings"):
            check_settings("optimizer", {"lr": 1e-3}, SETTINGS)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_numbers_are_finite(self, value: float) -> None:
        with pytest.raises(CheckpointCorruptError, match="not a finite number"):
            check_settings("optimizer", SETTINGS | {"lr": value}, SETTINGS)


class TestGenerators:
    def test_a_restored_generator_draws_what_the_saved_one_would_have(self) -> None:
        saved, own = np.random.default_rng(1), np.random.default_rng(2)
        saved.random(7)
        states = restored_generators({"act": own}, {"act": saved.bit_generator.state})
        assert own.random() != saved.random()  # nothing is in force until all have fitted
        saved, own.bit_generator.state = np.random.default_rng(1), states["act"]
        saved.random(7)
        assert np.array_equal(own.random(5), saved.random(5))

    @pytest.mark.parametrize("saved", [{}, {"learn": {}}, {"act": {}, "learn": {}}])
    def test_other_generators_are_named(self, saved: dict[str, Any]) -> None:
        with pytest.raises(CheckpointMismatchError, match=r"the agent has \['act'\]"):
            restored_generators({"act": np.random.default_rng()}, saved)

    @pytest.mark.parametrize(
        "damage",
        [
            {"bit_generator": "MT19937"},
            {"state": None},
            {"state": {"state": -1, "inc": 1}},
            {"state": {"state": "text", "inc": 1}},
            {"state": {"state": 1 << 200, "inc": 1}},
            {"has_uint32": "no"},
        ],
    )
    def test_what_is_no_state_is_refused_and_the_generator_is_as_it_was(self, damage: dict[str, Any]) -> None:
        generator = np.random.default_rng(0)
        before = generator.bit_generator.state
        with pytest.raises(CheckpointMismatchError, match="saved state of generator 'act' is none"):
            restored_generators({"act": generator}, {"act": {**before, **damage}})
        assert generator.bit_generator.state == before
