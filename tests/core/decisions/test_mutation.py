import math

import numpy as np
import pytest

from tensor_optix.core.decisions.mutation import adaptive_noise_scale, mutate
from tensor_optix.core.search_space import Param, SearchSpace
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import InvalidArgumentError

SPACE = SearchSpace(
    {"learning_rate": Param(1e-5, 1e-1, "log"), "n_epochs": Param(1, 20, integer=True), "clip": Param(0.1, 0.4)}
)
PARENT = {"learning_rate": 1e-3, "n_epochs": 10, "clip": 0.2, "gamma": 0.99, "name": "x"}


def history(vals: list[float], trains: list[float] | None = None) -> list[EvalMetrics]:
    gaps = (
        [{}] * len(vals)
        if trains is None
        else [{"generalization_gap": t - v} for t, v in zip(trains, vals, strict=True)]
    )
    return [EvalMetrics(val, gap, i) for i, (val, gap) in enumerate(zip(vals, gaps, strict=True))]


class TestMutate:
    def test_values_stay_inside_their_bounds_and_of_their_kind(self) -> None:
        rng = np.random.default_rng(0)
        for scale in (0.01, 0.3, 5.0):
            for _ in range(200):
                child = mutate(PARENT, SPACE, scale, rng)
                assert 1e-5 <= child["learning_rate"] <= 1e-1
                assert isinstance(child["n_epochs"], int)
                assert 1 <= child["n_epochs"] <= 20
                assert 0.1 <= child["clip"] <= 0.4

    def test_what_is_not_in_the_space_is_inherited_and_the_parent_is_left_alone(self) -> None:
        parent = dict(PARENT)
        child = mutate(parent, SPACE, 0.5, np.random.default_rng(0))
        assert (child["gamma"], child["name"]) == (0.99, "x")
        assert parent == PARENT
        assert child != PARENT

    def test_the_step_is_a_share_of_the_range_on_the_parameters_own_scale(self) -> None:
        rng = np.random.default_rng(1)
        children = [mutate(PARENT, SPACE, 0.02, rng) for _ in range(4000)]
        decades = np.std([math.log10(child["learning_rate"]) for child in children])
        assert decades == pytest.approx(0.02 * 4, rel=0.05)  # four decades between the bounds
        assert np.std([child["clip"] for child in children]) == pytest.approx(0.02 * 0.3, rel=0.05)

    def test_no_noise_changes_nothing(self) -> None:
        assert mutate(PARENT, SPACE, 0.0, np.random.default_rng(0)) == PARENT

    def test_steps_over_a_bound_are_reflected_and_do_not_pile_up_there(self) -> None:
        rng = np.random.default_rng(0)
        at_bound = [mutate({**PARENT, "clip": 0.1}, SPACE, 0.1, rng)["clip"] for _ in range(200)]
        assert sum(value == 0.1 for value in at_bound) <= 1

    def test_the_same_generator_gives_the_same_child(self) -> None:
        one, other = (mutate(PARENT, SPACE, 0.1, np.random.default_rng(7)) for _ in range(2))
        assert one == other

    @pytest.mark.parametrize("scale", [-0.1, math.nan, math.inf])
    def test_a_scale_that_is_none_is_refused(self, scale: float) -> None:
        with pytest.raises(InvalidArgumentError, match="noise_scale must be a finite number of at least 0"):
            mutate(PARENT, SPACE, scale, np.random.default_rng(0))


CLIMB = [10.0, 11.0, 12.0, 13.0]


class TestAdaptiveNoise:
    @pytest.mark.parametrize(
        ("vals", "trains", "effective"),
        [
            ([], None, 0.0),
            ([10.0], None, 0.0),
            ([10.0] * 4, None, 0.0),  # a plateau: as strong as may be
            (CLIMB, None, 1.0),  # a straight climb: as weak as may be
            (CLIMB, CLIMB, 1.0),
            (CLIMB[::-1], CLIMB[::-1], 0.0),
            # gap (23 - 11.5)/11.5 = 1 with correlation 1: half
            (CLIMB, [score + 11.5 for score in CLIMB], 0.5),
            # gap 0, correlation -1, cut off at penalty 1: half
            (CLIMB, CLIMB[::-1], 0.5),
            # training that does not move has no correlation: half; gap (11.5 - 11.5) = 0
            (CLIMB, [11.5] * 4, 0.5),
            # both at once: a quarter
            (CLIMB, [score + 11.5 for score in CLIMB[::-1]], 0.25),
            # slope of 0, 0, 0, 3: Σ x·y = 1.5·3 / 5 = 0.9; a straight climb over that range: 1
            ([10.0, 10.0, 10.0, 13.0], None, 0.9),
        ],
    )
    def test_the_formula(self, vals: list[float], trains: list[float] | None, effective: float) -> None:
        scale = adaptive_noise_scale(history(vals, trains), 0.001, 0.1)
        assert scale == pytest.approx(0.1 - effective * 0.099)

    def test_it_lies_between_its_bounds_whatever_the_history(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(200):
            vals, trains = (list(rng.normal(rng.normal() * 5, rng.exponential(3), size=12)) for _ in range(2))
            assert 0.001 <= adaptive_noise_scale(history(vals, trains)) <= 0.1

    def test_only_the_newest_count(self) -> None:
        assert adaptive_noise_scale(history([*CLIMB, *[13.0] * 5]), window=5) == 0.1
        assert adaptive_noise_scale(history([*CLIMB, *[13.0] * 5]), window=9) < 0.1

    @pytest.mark.parametrize("scales", [(0.2, 0.1), (-0.1, 0.1), (0.0, math.inf), (0.0, math.nan), ("a", 0.1)])
    def test_scales_out_of_order_are_refused(self, scales: tuple[float, float]) -> None:
        with pytest.raises(InvalidArgumentError, match="min_scale <= max_scale"):
            adaptive_noise_scale([], *scales)
