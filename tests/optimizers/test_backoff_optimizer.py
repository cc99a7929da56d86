from typing import Any

import pytest

from tensor_optix.core.search_space import Param
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer
from tests.optimizers.scripted import WIDE, step, steps

# --- the two phases ---


def test_a_probe_that_scores_better_is_kept() -> None:
    optimizer = BackoffOptimizer(WIDE)
    assert step(optimizer, {"x": 100.0}, 5.0) == {"x": pytest.approx(110.0)}
    assert step(optimizer, {"x": 110.0}, 6.0) == {"x": 110.0}


def test_a_probe_that_scores_worse_is_turned_round_about_the_original_value() -> None:
    optimizer = BackoffOptimizer(WIDE)
    probed = step(optimizer, {"x": 100.0}, 5.0)
    assert probed == {"x": pytest.approx(110.0)}
    assert step(optimizer, probed, 4.0) == {"x": pytest.approx(90.0)}  # not 110 − 11 = 99


@pytest.mark.parametrize("score", [0.1, 5.0, -1e6, 0.0])
def test_a_gain_of_zero_restores_the_original_value(score: float) -> None:
    optimizer = BackoffOptimizer(WIDE)
    probed = step(optimizer, {"x": 100.0}, score)
    assert step(optimizer, probed, score * (1.0 + 4e-16)) == {"x": 100.0}  # rounding is no gain
    assert optimizer.decision == "restored"


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
    for score in (1.0, 2.0, 2.0, 3.0, 3.0):
        seen.append((optimizer.is_probing, optimizer.probed_param))
        params = step(optimizer, params, score)
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
    n = 0
    while optimizer.probed_param != "y":  # the first probe knows no trend yet
        params = step(optimizer, params, rise * n)
        n += 1
    assert step(optimizer, params, rise * n + effect)["y"] == pytest.approx(110.0 if effect > 0 else 90.0)


def test_a_steady_rise_without_any_effect_never_counts_for_the_probe() -> None:
    # Scores in exact binary steps, so that "no effect" is exactly that.
    optimizer = BackoffOptimizer(WIDE)
    params: dict[str, Any] = {"x": 100.0}
    outcomes = []
    for n in range(60):
        probing = optimizer.is_probing
        params = step(optimizer, params, 2.0 * n)
        outcomes += [optimizer.decision] if probing else []
    assert outcomes[0] == "kept"  # only the first knows no trend
    assert len(outcomes) > 5
    assert set(outcomes[1:]) == {"restored"}


def test_a_probes_own_score_is_no_part_of_the_trend() -> None:
    # All unprobed scores are 0, so 0 is expected, however good or bad the probe among them was.
    for wild in (1000.0, -1000.0):
        optimizer = BackoffOptimizer({"x": (0.0, 1000.0), "y": (0.0, 1000.0)})
        params = steps(optimizer, {"x": 100.0, "y": 100.0}, [0.0, wild, 0.0])[-1]
        while optimizer.probed_param != "y":
            params = step(optimizer, params, 0.0)
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
    for _ in range(50):
        before = params
        params = step(optimizer, params, 0.0)
        changed = [name for name in params if params[name] != before[name]]
        if optimizer.is_probing:
            turns.append(optimizer.probed_param)
            assert changed == [turns[-1]]
        else:
            assert not changed or changed == [turns[-1]]
    assert turns == ["c", "a", "b", "c", "a", "b", "c"]
    assert (params["fixed"], params["name"]) == (1.0, "adam")


def test_a_seed_decides_who_has_the_first_turn_and_decides_it_again() -> None:
    bounds = dict.fromkeys("abcd", (0.0, 10.0))

    def turns(seed: int) -> list[str | None]:
        optimizer = BackoffOptimizer(bounds, seed=seed)
        probed = []
        params: dict[str, Any] = dict.fromkeys("abcd", 1.0)
        for score in range(8):
            params = step(optimizer, params, float((score + 1) // 2))  # each probe is kept
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


def test_whole_numbers_stay_whole_where_no_run_binds_it() -> None:
    optimizer = BackoffOptimizer({"n": (1, 9)}, seed=0)
    probed = optimizer.suggest(HyperparamSet({"n": 4}), EvalMetrics(1.0))
    assert probed.params["n"] == 5
    assert type(probed.params["n"]) is int
