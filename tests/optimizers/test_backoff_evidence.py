import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core.search_space import Param, Signal
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.optimizers._evidence import expected_score
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer
from tests.optimizers.scripted import WIDE, step


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
    step(optimizer, {"x": 40.0, "other": 1.0}, -9.0)
    assert optimizer.decision != "returned"  # nothing to go back to


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


def test_a_window_that_made_the_agent_diverge_ends_the_trial() -> None:
    optimizer = BackoffOptimizer({"learning_rate": (1e-4, 1e-1)})
    hyperparams = HyperparamSet({"learning_rate": 1e-2})
    for score in (1.0, 2.0, 3.0):
        if not optimizer.is_probing:
            hyperparams = optimizer.suggest(hyperparams, EvalMetrics(score))
    assert optimizer.is_probing
    optimizer.on_divergence()
    assert not optimizer.is_probing


# --- the signal of a policy that converges ---


def corrected(scores: list[float], entropies: list[float], kl: float, std_err: float = 0.5) -> list[float]:
    """Return x after each evaluation, of an optimizer that may not try anything by itself."""
    optimizer = BackoffOptimizer(SIGNALLED)
    optimizer._budget.spent = 10**6
    params: dict[str, Any] = {"x": 1e-3}
    values = []
    for score, entropy in zip(scores, entropies, strict=True):
        params = noisy(optimizer, params, score, std_err, kl=kl, entropy=entropy)
        values.append(params["x"])
    return values


def test_a_diagnostic_near_zero_does_not_raise_the_rate_of_a_policy_that_has_converged() -> None:
    rng = np.random.default_rng(0)
    scores = [*np.linspace(0.1, 0.9, 20), *(0.9 + 0.05 * rng.normal(size=200))]
    entropies = [*np.linspace(1.4, 0.1, 20), *[0.05] * 200]
    values = corrected(scores, entropies, kl=1e-5, std_err=0.05)
    assert values[-1] == values[20]
    assert values[-1] < 0.1


@pytest.mark.parametrize(
    ("score", "entropy", "is_raised"),
    [
        (50.0, 1.2, True),
        (50.0, 0.3, False),  # the policy is certain
        (50.0, math.nan, True),  # nothing is known of its certainty
        (100.0, 1.2, False),  # at its best
        (99.5, 1.2, False),  # within its noise
    ],
)
def test_a_rate_is_raised_while_the_policy_is_uncertain_and_below_its_best(
    score: float, entropy: float, is_raised: bool
) -> None:
    values = corrected([10.0, 100.0, score], [1.4, 1.4, entropy], kl=0.0025)
    assert (values[2] > values[1]) is is_raised


@pytest.mark.parametrize("entropy", [0.01, 1.2])
@pytest.mark.parametrize("score", [50.0, 100.0])
def test_a_rate_that_is_too_high_is_lowered_whatever_the_policy(score: float, entropy: float) -> None:
    values = corrected([10.0, 100.0, score], [1.4, 1.4, entropy], kl=0.16)
    assert values[2] < values[1] < values[0] < 1e-3


def test_a_new_learner_starts_with_a_fresh_uncertainty_and_best() -> None:
    optimizer = BackoffOptimizer(SIGNALLED)
    for score in (10.0, 100.0):
        noisy(optimizer, {"x": 1e-3}, score, 0.5, kl=0.02, entropy=9.0)
    optimizer.on_new_learner()
    assert noisy(optimizer, {"x": 1e-3}, 100.0, 0.5, kl=0.0025, entropy=1.0) == {"x": pytest.approx(2e-3)}


# --- the budget, and the length of a trial ---


def under_trial(optimizer: BackoffOptimizer, scores: list[float], std_err: float) -> list[bool]:
    """Return for each score whether it is one of a trial value."""
    params: dict[str, Any] = {"x": 100.0, "y": 1e-2}
    seen = []
    for window, score in enumerate(scores):
        seen.append(optimizer.is_probing)
        metrics = EvalMetrics(score, {"score_std_err": std_err}, window)
        params = optimizer.suggest(HyperparamSet(dict(params)), metrics).params
    return seen


TWO = {"x": Param(1.0, 1000.0), "y": Param(1e-4, 1.0, "log")}


@given(
    st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=60, max_size=120), st.sampled_from([0.0, math.nan, 1e4, 2e4])
)
def test_trials_that_never_pay_get_their_share(falls: list[float], std_err: float) -> None:
    scores = [1000.0 - 50.0 * n * n + fall for n, fall in enumerate(falls)]  # below what any trend expects
    seen = under_trial(BackoffOptimizer(TWO), scores, std_err)
    assert all(sum(seen[:n]) <= max(1.0, 0.15 * n) for n in range(1, len(seen) + 1))


def test_trials_that_pay_go_on_without_a_pause() -> None:
    seen = under_trial(BackoffOptimizer(TWO), [float(n * n) for n in range(60)], math.nan)
    assert sum(seen) == 30


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("std_err", [10.0, math.nan])
def test_on_pure_noise_there_are_hardly_any_trials(seed: int, std_err: float) -> None:
    rng = np.random.default_rng(seed)
    seen = under_trial(BackoffOptimizer(TWO), list(rng.normal(100.0, 10.0, 300)), std_err)
    assert sum(seen) <= 0.05 * 300


@pytest.mark.parametrize(("noise", "length"), [(1.0, 1), (7.0, 4), (9.0, 7), (12.0, 0)])
def test_the_noisier_the_scores_the_longer_the_trials_until_there_are_none(noise: float, length: int) -> None:
    optimizer = BackoffOptimizer({"x": Param(1.0, 1000.0)})
    lengths, params = set(), {"x": 100.0}
    for n in range(100):
        params = noisy(optimizer, params, 100.0 * (n > 0), noise)  # a range of 100: an effect is 10
        trial = optimizer.state_dict()["trial"]
        lengths |= {trial["length"]} if trial is not None and n > 0 else set()
    assert lengths == ({length} if length else set())


def test_a_longer_trial_is_judged_by_its_mean_and_ends_early_where_the_scores_are_clear() -> None:
    for gain, decision, taken in (
        (0.0, "restored", 4),
        (12.0, "kept", 4),
        (-12.0, "reversed", 4),
        (-90.0, "reversed", 1),
    ):
        optimizer = BackoffOptimizer({"x": Param(1.0, 1000.0)})
        params: dict[str, Any] = {"x": 100.0}
        n = 0
        while n < 2 or not optimizer.is_probing:
            params = noisy(optimizer, params, 100.0 * (n > 1), 7.0)
            n += 1
        scores = 0
        while optimizer.is_probing:
            params = noisy(optimizer, params, 100.0 + gain, 7.0)
            scores += 1
        assert (optimizer.decision, scores) == (decision, taken)


def test_a_longer_trial_that_drives_its_signal_out_ends_at_once() -> None:
    optimizer = BackoffOptimizer(SIGNALLED)
    params: dict[str, Any] = {"x": 1e-3}
    n = 0
    while n < 2 or not optimizer.is_probing:
        params = noisy(optimizer, params, 100.0 * (n > 1), 7.0, kl=0.02)
        n += 1
    noisy(optimizer, params, 100.0, 7.0, kl=0.5)
    assert (optimizer.decision, optimizer.is_probing) == ("restored", False)


def test_windows_between_evaluations_count() -> None:
    optimizer = BackoffOptimizer({"x": Param(1.0, 1000.0)})
    hyperparams, trials, window = HyperparamSet({"x": 100.0}), 0, 0
    for interval in [1] * 20 + [10] * 40:  # evaluations become rare
        window += interval
        trials += interval * optimizer.is_probing
        hyperparams = optimizer.suggest(hyperparams, EvalMetrics(1.0, episode_id=window))
    assert 0 < trials <= 0.15 * window


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40), st.integers(1, 8), st.floats(0.5, 5.0))
def test_the_expected_score_moves_with_the_scores_and_its_error_does_not(
    scores: list[float], length: int, ahead: float
) -> None:
    numbered = list(enumerate(scores))
    expected, weight = expected_score(numbered, length, len(scores) + ahead)
    moved, same = expected_score([(n, score + 7.0) for n, score in numbered], length, len(scores) + ahead)
    assert moved == pytest.approx(expected + 7.0, abs=1e-8)
    assert same == weight
    assert weight >= min(1.0, 1.0 / math.sqrt(length)) - 1e-12


def test_the_error_of_the_expected_score_is_that_of_many_draws() -> None:
    rng = np.random.default_rng(0)
    draws = [expected_score(list(enumerate(rng.normal(size=40))), 4, 42.5) for _ in range(4000)]
    assert np.std([expected for expected, _ in draws]) == pytest.approx(draws[0][1], rel=0.05)
