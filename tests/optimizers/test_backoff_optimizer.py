import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core.search_space import Param, Signal
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.errors import HyperparamError, InvalidArgumentError
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer

WIDE = {"x": Param(-1000.0, 1000.0)}


def step(optimizer: BackoffOptimizer, params: dict[str, Any], score: float) -> dict[str, Any]:
    """Tell the score of a window with `params` in force, and return what is in force in the next one."""
    return optimizer.suggest(HyperparamSet(dict(params)), EvalMetrics(score)).params


def steps(optimizer: BackoffOptimizer, params: dict[str, Any], scores: list[float]) -> list[dict[str, Any]]:
    """Live through `scores`, always with what was suggested last."""
    in_force = []
    for score in scores:
        params = step(optimizer, params, score)
        in_force.append(params)
    return in_force


# --- the two phases ---


def test_a_probe_that_scores_better_is_kept() -> None:
    optimizer = BackoffOptimizer(WIDE)
    assert step(optimizer, {"x": 100.0}, 5.0) == {"x": pytest.approx(110.0)}
    assert step(optimizer, {"x": 110.0}, 6.0) == {"x": 110.0}


@pytest.mark.parametrize("score", [4.0, 5.0], ids=["worse", "the same"])
def test_a_probe_that_does_not_is_turned_round_about_the_original_value(score: float) -> None:
    optimizer = BackoffOptimizer(WIDE)
    probed = step(optimizer, {"x": 100.0}, 5.0)
    assert probed == {"x": pytest.approx(110.0)}
    assert step(optimizer, probed, score) == {"x": pytest.approx(90.0)}  # not 110 − 11 = 99


@pytest.mark.parametrize("offset", [0.0, -1000.0])
@pytest.mark.parametrize(("change", "kept"), [(1e-6, True), (0.0, False), (-1e-6, False)])
def test_only_the_difference_of_the_scores_counts(offset: float, change: float, kept: bool) -> None:
    optimizer = BackoffOptimizer(WIDE)
    probed = step(optimizer, {"x": 100.0}, offset)
    assert (step(optimizer, probed, offset + change) == probed) is kept


def test_probe_commit_and_rest_take_turns() -> None:
    optimizer = BackoffOptimizer(WIDE)
    in_force = steps(optimizer, {"x": 100.0}, [0.0, 1.0, 1.0, 2.0, 2.0, 0.0])
    assert [params["x"] for params in in_force] == pytest.approx([110.0, 110.0, 121.0, 121.0, 133.1, 108.9])


def test_it_says_when_it_is_probing_and_what() -> None:
    optimizer = BackoffOptimizer({"x": (0.0, 1.0), "y": (0.0, 1.0)})
    seen = []
    params: dict[str, Any] = {"x": 0.5, "y": 0.5}
    for _ in range(5):
        seen.append((optimizer.is_probing, optimizer.probed_param))
        params = step(optimizer, params, 1.0)
    assert seen == [(False, None), (True, "x"), (False, None), (True, "y"), (False, None)]


# --- the expected score ---


@pytest.mark.parametrize("rise", [0.5, 10.0, -3.0])
@pytest.mark.parametrize("effect", [-0.1, 0.1])
def test_the_trend_of_a_learning_agent_is_neither_credited_to_a_probe_nor_held_against_it(
    rise: float, effect: float
) -> None:
    # The score moves by `rise` per evaluation whatever is tried; a probe of y really changes it by `effect`.
    optimizer = BackoffOptimizer({"x": (0.0, 1000.0), "y": (0.0, 1000.0)})
    params: dict[str, Any] = {"x": 100.0, "y": 100.0}
    for n in range(3):  # the first probe knows no trend yet
        params = step(optimizer, params, rise * n)
    assert optimizer.probed_param == "y"
    assert step(optimizer, params, rise * 3 + effect)["y"] == pytest.approx(110.0 if effect > 0 else 90.0)


def test_a_steady_rise_without_any_effect_never_counts_for_the_probe() -> None:
    # Scores in exact binary steps, so that "no effect" is exactly that.
    optimizer = BackoffOptimizer(WIDE)
    params: dict[str, Any] = {"x": 100.0}
    outcomes = []
    for n in range(12):
        before, probing = params, optimizer.is_probing
        params = step(optimizer, params, 2.0 * n)
        if probing:
            outcomes.append(params == before)
    assert outcomes == [True, False, False, False, False, False]  # only the first knows no trend


def test_a_probes_own_score_is_no_part_of_the_trend() -> None:
    # Unprobed scores at evaluations 1 and 3: 0 and 0, so 0 is expected, however good or bad the probe between was.
    for wild in (1000.0, -1000.0):
        optimizer = BackoffOptimizer({"x": (0.0, 1000.0), "y": (0.0, 1000.0)})
        params = steps(optimizer, {"x": 100.0, "y": 100.0}, [0.0, wild, 0.0])[-1]
        assert optimizer.probed_param == "y"
        assert step(optimizer, params, 0.1)["y"] == pytest.approx(110.0)


def test_the_trend_is_local() -> None:
    # A long rise ends in a plateau: once the rise is out of sight, a small effect counts again.
    optimizer = BackoffOptimizer(WIDE)
    params: dict[str, Any] = {"x": 1.0}
    for n in range(10):
        params = step(optimizer, params, 100.0 * n)
    for _ in range(12):
        params = step(optimizer, params, 1000.0)
    assert not optimizer.is_probing
    probed = step(optimizer, params, 1000.0)
    assert step(optimizer, probed, 1000.1) == probed


# --- steps ---


def test_at_the_upper_bound_it_probes_downwards_and_turns_back_to_the_bound() -> None:
    for score, expected in ((6.0, 0.9), (4.0, 1.0)):
        optimizer = BackoffOptimizer({"x": (0.0, 1.0)})
        probed = step(optimizer, {"x": 1.0}, 5.0)
        assert probed == {"x": pytest.approx(0.9)}
        assert step(optimizer, probed, score) == {"x": pytest.approx(expected)}


def test_near_the_upper_bound_the_step_is_what_is_left_of_it() -> None:
    optimizer = BackoffOptimizer({"x": (0.0, 1.0)})
    assert step(optimizer, {"x": 0.99}, 5.0) == {"x": 1.0}
    assert step(optimizer, {"x": 1.0}, 4.0) == {"x": pytest.approx(0.99 - 0.01)}


def test_at_the_lower_bound_there_is_nowhere_to_turn() -> None:
    optimizer = BackoffOptimizer({"x": (0.5, 1.0)})
    probed = step(optimizer, {"x": 0.5}, 5.0)
    assert probed == {"x": pytest.approx(0.55)}
    assert step(optimizer, probed, 4.0) == {"x": 0.5}


@pytest.mark.parametrize(("score", "expected"), [(6.0, 1.1e-3), (4.0, 1e-3 / 1.1)])
def test_on_a_log_scale_the_step_is_a_factor(score: float, expected: float) -> None:
    optimizer = BackoffOptimizer({"x": Param(1e-5, 1e-1, "log")}, min_delta=1.0)
    probed = step(optimizer, {"x": 1e-3}, 5.0)
    assert probed == {"x": pytest.approx(1.1e-3)}
    assert step(optimizer, probed, score) == {"x": pytest.approx(expected)}


@pytest.mark.parametrize(("score", "expected"), [(6.0, 0.01), (4.0, -0.01)])
def test_a_value_of_zero_moves_by_min_delta(score: float, expected: float) -> None:
    optimizer = BackoffOptimizer({"x": (-1.0, 1.0)}, min_delta=0.01)
    assert step(optimizer, {"x": 0.0}, 5.0) == {"x": 0.01}
    assert step(optimizer, {"x": 0.01}, score) == {"x": expected}


@pytest.mark.parametrize(("score", "expected"), [(6.0, 4), (4.0, 2)])
def test_whole_numbers_stay_whole(score: float, expected: int) -> None:
    optimizer = BackoffOptimizer({"x": Param(1, 10, integer=True)})
    probed = step(optimizer, {"x": 3}, 5.0)
    committed = step(optimizer, probed, score)
    assert (probed, committed) == ({"x": 4}, {"x": expected})
    assert type(probed["x"]) is type(committed["x"]) is int


def test_names_take_turns_in_the_order_of_the_bounds_and_nothing_else_is_touched() -> None:
    optimizer = BackoffOptimizer({"c": (0.0, 10.0), "a": (0.0, 10.0), "b": (0.0, 10.0)})
    params: dict[str, Any] = {"a": 1.0, "b": 1.0, "c": 1.0, "fixed": 1.0, "name": "adam"}
    turns = []
    for _ in range(14):
        before = params
        params = step(optimizer, params, 0.0)
        changed = [name for name in params if params[name] != before[name]]
        if optimizer.is_probing:
            turns.append(optimizer.probed_param)
            assert changed == [turns[-1]]
        else:
            assert set(changed) <= {turns[-1]}
    assert turns == ["c", "a", "b", "c", "a", "b", "c"]
    assert (params["fixed"], params["name"]) == (1.0, "adam")


def test_a_seed_decides_who_has_the_first_turn_and_decides_it_again() -> None:
    bounds = dict.fromkeys("abcd", (0.0, 10.0))

    def turns(seed: int) -> list[str | None]:
        optimizer = BackoffOptimizer(bounds, seed=seed)
        probed = []
        params: dict[str, Any] = dict.fromkeys("abcd", 1.0)
        for _ in range(8):
            params = step(optimizer, params, 0.0)
            probed += [optimizer.probed_param] if optimizer.is_probing else []
        return probed

    firsts = set()
    for seed in range(12):
        assert turns(seed) == turns(seed)
        assert sorted(str(name) for name in turns(seed)) == list("abcd")
        firsts.add(turns(seed)[0])
    assert len(firsts) > 1


def test_what_was_handed_in_is_not_changed() -> None:
    optimizer = BackoffOptimizer(WIDE)
    given_params = HyperparamSet({"x": 100.0}, 3)
    assert optimizer.suggest(given_params, EvalMetrics(1.0)).episode_id == 3
    assert given_params == HyperparamSet({"x": 100.0}, 3)


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
        assert optimizer.is_probing is not was_probing
        assert 0.02 <= optimizer.scale <= 0.5
        if optimizer.is_probing:
            assert params != before  # a trial tries something


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

SCORES = [0.0, 3.0, 1.0, 2.5, 4.0, 1.0, 7.0, 7.5, 3.0, 9.0, 2.0, 2.0]


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
    assert first.is_probing is (cut % 2 == 1)  # half of the cuts are in the middle of a probe
    assert in_force + live(second, [start, *in_force][-1], SCORES[cut:]) == unbroken


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


# --- what is no evidence ---


def noisy(optimizer: BackoffOptimizer, params: dict[str, Any], score: float, std_err: float, **metrics: float) -> dict:
    return optimizer.suggest(
        HyperparamSet(dict(params)), EvalMetrics(score, {"score_std_err": std_err, **metrics})
    ).params


@pytest.mark.parametrize(
    ("score", "std_err", "expected", "decision"),
    [
        (16.0, 4.0, 110.0, "kept"),  # 11 is more than 2·√(3² + 4²) = 10
        (14.0, 4.0, 100.0, "restored"),
        (-4.0, 4.0, 100.0, "restored"),
        (-6.0, 4.0, 90.0, "reversed"),
        (-6.0, math.nan, 90.0, "reversed"),
    ],
)
def test_a_difference_within_the_noise_leaves_the_value_as_it_was(
    score: float, std_err: float, expected: float, decision: str
) -> None:
    optimizer = BackoffOptimizer(WIDE)
    probed = noisy(optimizer, {"x": 100.0}, 5.0, 3.0)
    assert optimizer.decision == "trial"
    assert noisy(optimizer, probed, score, std_err) == {"x": pytest.approx(expected)}
    assert optimizer.decision == decision


def test_pure_noise_is_no_random_walk() -> None:
    rng = np.random.default_rng(0)
    walked = {}
    for name, std_err in (("known", 10.0), ("unknown", math.nan)):
        optimizer = BackoffOptimizer({"x": Param(1e-6, 1.0, "log")})
        params: dict[str, Any] = {"x": 1e-3}
        for _ in range(300):
            params = noisy(optimizer, params, float(rng.normal(100.0, 10.0)), std_err)
            optimizer.on_plateau(EvalMetrics(0.0))
        walked[name] = abs(math.log(params["x"] / 1e-3))
    assert walked["known"] < math.log(10)
    assert walked["unknown"] < math.log(30)


def test_at_a_ceiling_nothing_is_tried() -> None:
    optimizer = BackoffOptimizer(WIDE)
    params: dict[str, Any] = {"x": 100.0}
    for n in range(9):
        params = noisy(optimizer, params, 500.0, 0.0)
        assert n < 2 or not optimizer.is_probing
    assert abs(params["x"] - 100.0) <= 10.0


def test_after_a_degradation_the_best_values_are_back_even_during_a_trial() -> None:
    optimizer = BackoffOptimizer({"x": (0.0, 1000.0)})
    probed = step(optimizer, {"x": 100.0, "other": 1.0}, 5.0)
    optimizer.on_degradation(EvalMetrics(-9.0), HyperparamSet({"x": 40.0, "other": 2.0}))
    assert step(optimizer, probed, -9.0) == {"x": 40.0, "other": 1.0}
    assert (optimizer.decision, optimizer.is_probing) == ("returned", False)
    optimizer.on_degradation(EvalMetrics(-9.0), HyperparamSet({"x": 40.0}))
    assert step(optimizer, {"x": 40.0, "other": 1.0}, -9.0) != {"x": 40.0, "other": 1.0}  # nothing to go back to


SIGNALLED = {"x": Param(1e-6, 1.0, "log", signal=Signal("kl", 0.01, 0.04, order=2.0))}


@pytest.mark.parametrize(
    ("kl", "factor"),
    [(0.02, None), (0.01, None), (0.0025, 2.0), (0.16, 0.5), (1e-9, 4.0), (9e9, 0.25), (0.0, None), (math.nan, None)],
)
def test_what_its_signal_says_is_far_off_is_brought_back(kl: float, factor: float | None) -> None:
    optimizer = BackoffOptimizer(SIGNALLED)
    params = noisy(optimizer, {"x": 1e-3}, 5.0, 1.0, kl=kl)
    if factor is None:
        assert optimizer.is_probing
    else:
        assert params == {"x": pytest.approx(1e-3 * factor)}
        assert (optimizer.decision, optimizer.is_probing) == ("corrected", False)


def test_a_signal_is_followed_on_the_floor_and_not_at_the_ceiling() -> None:
    floor, ceiling = BackoffOptimizer(SIGNALLED), BackoffOptimizer(SIGNALLED)
    for scores, optimizer, moves in (([-500.0] * 4, floor, True), ([100.0, 500.0, 500.0, 500.0], ceiling, False)):
        params: dict[str, Any] = {"x": 1e-3}
        for score in scores:
            before = params
            params = noisy(optimizer, params, score, 0.0, kl=0.0025)
        assert (params != before) is moves


def test_a_trial_that_drives_its_signal_out_is_not_kept() -> None:
    for kl, decision in ((0.02, "kept"), (0.05, "restored"), (0.001, "kept")):
        optimizer = BackoffOptimizer(SIGNALLED)
        probed = noisy(optimizer, {"x": 1e-3}, 5.0, 0.1, kl=0.02)
        noisy(optimizer, probed, 9.0, 0.1, kl=kl)
        assert optimizer.decision == decision


def test_a_window_that_spoilt_the_agent_ends_the_trial() -> None:
    optimizer = BackoffOptimizer({"learning_rate": (1e-4, 1e-1)})
    hyperparams = HyperparamSet({"learning_rate": 1e-2})
    for score in (1.0, 2.0, 3.0):
        if not optimizer.is_probing:
            hyperparams = optimizer.suggest(hyperparams, EvalMetrics(score))
    assert optimizer.is_probing
    optimizer.on_divergence()
    assert not optimizer.is_probing
