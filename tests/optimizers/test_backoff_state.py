import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core.search_space import Param
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.errors import HyperparamError, InvalidArgumentError
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer
from tests.optimizers.scripted import WIDE, step

# --- the scale ---


def test_the_step_shrinks_on_improvement_and_grows_on_a_plateau_within_its_limits() -> None:
    optimizer = BackoffOptimizer(WIDE, perturbation_scale=0.1, min_scale=0.05, max_scale=0.3)
    sizes = [optimizer.scale]
    for _ in range(20):
        optimizer.on_improvement(EvalMetrics(1.0))
        sizes.append(optimizer.scale)
    assert sizes[1] < sizes[0]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0.05
    for _ in range(20):
        optimizer.on_plateau(EvalMetrics(1.0))
        sizes.append(optimizer.scale)
    assert sizes[21:] == sorted(sizes[21:])
    assert sizes[21] > sizes[20]
    assert sizes[-1] == 0.3
    assert step(optimizer, {"x": 100.0}, 1.0) == {"x": pytest.approx(130.0)}


def test_turning_round_takes_the_step_of_the_probe_whatever_has_become_of_the_scale() -> None:
    optimizer = BackoffOptimizer(WIDE)
    probed = step(optimizer, {"x": 100.0}, 5.0)
    optimizer.on_plateau(EvalMetrics(4.0))
    optimizer.on_plateau(EvalMetrics(4.0))
    assert step(optimizer, probed, 4.0) == {"x": pytest.approx(90.0)}


# --- bounds ---

SPACE = {
    "linear": Param(-1.0, 3.0),
    "log": Param(1e-5, 1e-2, "log"),
    "whole": Param(1, 12, integer=True),
    "log_whole": Param(2, 512, "log", integer=True),
}


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.sampled_from(("improvement", "plateau", ""))), max_size=60),
    st.fixed_dictionaries({name: st.floats(0.0, 1.0) for name in SPACE}),
    st.integers(0, 3),
)
def test_no_sequence_of_scores_leads_outside_the_bounds(
    evaluations: list[tuple[float, str]], units: dict[str, float], seed: int
) -> None:
    optimizer = BackoffOptimizer(SPACE, seed=seed)
    params: dict[str, Any] = {name: SPACE[name].from_unit(unit) for name, unit in units.items()}
    for score, event in evaluations:
        if event:
            getattr(optimizer, f"on_{event}")(EvalMetrics(score))
        before, was_probing = params, optimizer.is_probing
        params = step(optimizer, params, score)
        for name, param in SPACE.items():
            assert param.low <= params[name] <= param.high
            assert type(params[name]) is (int if param.integer else float)
        assert sum(params[name] != before[name] for name in params) <= 1
        assert 0.02 <= optimizer.scale <= 0.5
        if optimizer.is_probing is not was_probing and optimizer.decision != "kept":
            assert params != before  # a trial tries something, and is taken back


@pytest.mark.parametrize(("value", "expected"), [(5.0, 1.0), (-5.0, 0.0)])
@pytest.mark.parametrize("score", [-1.0, 1.0])
def test_a_value_from_outside_is_led_to_the_bounds(value: float, expected: float, score: float) -> None:
    optimizer = BackoffOptimizer({"x": (0.0, 1.0)})
    probed = step(optimizer, {"x": value}, 0.0)
    assert 0.0 <= probed["x"] <= 1.0
    assert step(optimizer, probed, score) == {"x": expected}


def test_without_bounds_it_takes_the_agents() -> None:
    optimizer = BackoffOptimizer()
    optimizer.bind({"y": Param(0.0, 1.0)}, HyperparamSet({"x": 0.5, "y": 0.5}))
    assert step(optimizer, {"x": 0.5, "y": 0.5}, 1.0) == {"x": 0.5, "y": pytest.approx(0.55)}


def test_the_users_bounds_win_over_the_agents() -> None:
    optimizer = BackoffOptimizer({"x": (0.0, 1.0)})
    optimizer.bind({"y": Param(0.0, 1.0)}, HyperparamSet({"x": 0.5, "y": 0.5}))
    assert step(optimizer, {"x": 0.5, "y": 0.5}, 1.0) == {"x": pytest.approx(0.55), "y": 0.5}


@pytest.mark.parametrize("of_the_user", [True, False])
def test_a_bound_for_what_the_agent_does_not_have_is_refused_with_the_name_that_was_meant(of_the_user: bool) -> None:
    bounds = {"learning_rat": (0.0, 1.0)}
    optimizer = BackoffOptimizer(bounds) if of_the_user else BackoffOptimizer()
    with pytest.raises(HyperparamError, match=r"'learning_rat'.*Did you mean 'learning_rate'\?"):
        optimizer.bind(bounds, HyperparamSet({"learning_rate": 0.1}))


@pytest.mark.parametrize("bounds", [{}, None])
def test_with_nothing_to_tune_it_suggests_what_there_is(bounds: dict[str, Any] | None) -> None:
    optimizer = BackoffOptimizer(bounds)
    optimizer.bind({}, HyperparamSet({"x": 1.0}))
    for score in (1.0, 2.0, 1.0, 0.0):
        assert step(optimizer, {"x": 1.0}, score) == {"x": 1.0}
        assert not optimizer.is_probing


def test_empty_bounds_of_the_user_mean_nothing_and_not_the_agents() -> None:
    optimizer = BackoffOptimizer({})
    optimizer.bind({"x": Param(0.0, 10.0)}, HyperparamSet({"x": 1.0}))
    assert step(optimizer, {"x": 1.0}, 1.0) == {"x": 1.0}


# --- state ---

SCORES = [0.0, 3.0, 1.0, 2.5, 4.0, 1.0, 7.0, 7.5, 3.0, 9.0, 2.0, 2.0, *(100.0 + 3 * ((7 * n) % 5) for n in range(40))]


def live(optimizer: BackoffOptimizer, params: dict[str, Any], scores: list[float]) -> list[dict[str, Any]]:
    """Live through `scores` as under the loop: an improvement shrinks the step, anything else grows it."""
    in_force = []
    for score in scores:
        (optimizer.on_improvement if score > 3.0 else optimizer.on_plateau)(EvalMetrics(score))
        params = step(optimizer, params, score)
        in_force.append(params)
    return in_force


@pytest.mark.parametrize("cut", range(len(SCORES)))
def test_it_goes_on_from_its_state_as_if_it_had_never_stopped(cut: int) -> None:
    start = {"linear": 0.5, "log": 1e-3, "whole": 5, "log_whole": 64}
    unbroken = live(BackoffOptimizer(SPACE, seed=1), start, SCORES)

    first, second = BackoffOptimizer(SPACE, seed=1), BackoffOptimizer(SPACE, seed=1)
    in_force = live(first, start, SCORES[:cut])
    second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
    assert (second.is_probing, second.probed_param) == (first.is_probing, first.probed_param)
    assert in_force + live(second, [start, *in_force][-1], SCORES[cut:]) == unbroken


def test_the_cuts_are_before_in_and_after_trials_of_one_evaluation_and_of_several() -> None:
    optimizer, params, lengths = BackoffOptimizer(SPACE, seed=1), {"linear": 0.5, "log": 1e-3, "whole": 5}, set()
    params = {**params, "log_whole": 64}
    for score in SCORES:
        params = live(optimizer, params, [score])[-1]
        trial = optimizer.state_dict()["trial"]
        lengths.add(trial["length"] if trial else 0)
    assert {0, 1} < lengths


@pytest.mark.parametrize(
    ("param", "value"), [(Param(0.0, 1.0), np.float32(0.5)), (Param(1, 9, integer=True), np.int64(4))], ids=str
)
def test_the_state_is_plain_json_where_the_agents_values_are_numpys(param: Param, value: Any) -> None:
    optimizer = BackoffOptimizer({"x": param})
    step(optimizer, {"x": value}, 1.0)
    assert optimizer.is_probing
    state = json.loads(json.dumps(optimizer.state_dict(), allow_nan=False))
    assert state["trial"]["original"] == value


def test_a_state_is_of_its_moment() -> None:
    optimizer = BackoffOptimizer(WIDE)
    step(optimizer, {"x": 100.0}, 1.0)
    state = json.dumps(optimizer.state_dict())
    kept = optimizer.state_dict()
    step(optimizer, {"x": 110.0}, 0.0)
    optimizer.on_plateau(EvalMetrics(0.0))
    assert json.dumps(kept) == state


# --- the constructor ---


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ({"perturbation_scale": 0.0}, "perturbation_scale=0.0"),
        ({"perturbation_scale": -0.1}, "perturbation_scale=-0.1"),
        ({"perturbation_scale": 0.6}, "max_scale=0.5"),
        ({"perturbation_scale": 0.01}, "min_scale=0.02"),
        ({"min_scale": 0.0}, "min_scale=0.0"),
        ({"min_scale": 0.4, "max_scale": 0.3}, "min_scale=0.4"),
        ({"perturbation_scale": math.nan}, "perturbation_scale must be a finite number, but got nan"),
        ({"perturbation_scale": "a"}, "perturbation_scale must be a finite number, but got 'a'"),
        ({"max_scale": math.inf}, "max_scale must be a finite number, but got inf"),
        ({"min_scale": None}, "min_scale must be a finite number, but got None"),
        ({"min_delta": 0.0}, "min_delta must be positive, but got 0.0"),
        ({"min_delta": -1.0}, "min_delta must be positive, but got -1.0"),
        ({"min_delta": math.nan}, "min_delta must be a finite number, but got nan"),
        ({"min_delta": math.inf}, "min_delta must be a finite number, but got inf"),
        ({"seed": -1}, "seed must be a whole number of at least 0, but got -1"),
        ({"seed": 1.5}, "seed must be a whole number of at least 0, but got 1.5"),
        ({"param_bounds": {"lr": (1.0, 0.0)}}, "param_bounds['lr']"),
    ],
)
def test_arguments_that_make_no_steps_are_refused_with_rule_and_value(arguments: dict[str, Any], value: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        BackoffOptimizer(**arguments)
    assert value in str(error.value)
