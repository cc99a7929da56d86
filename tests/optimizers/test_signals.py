"""When a signal is followed: downwards always, upwards only while there is something to learn."""

import math
from typing import Any

import pytest

from tensor_optix.core.search_space import Param, Signal
from tensor_optix.core.types import EvalMetrics
from tensor_optix.optimizers._evidence import ScoreRange
from tensor_optix.optimizers._signals import SignalWatch

SIGNAL = Signal("approx_kl", 0.01, 0.04)
SPACE = {"learning_rate": Param(1e-5, 1.0, "log", signal=SIGNAL), "gamma": Param(0.9, 0.99)}
LEARNED = ScoreRange(0.0, 100.0)


def correction(kl: Any, *, score: float = 50.0, entropy: Any = 1.0, highest: float = 1.0, **more: Any) -> float:
    """The correction at a score of 50 of 100, while the policy is as uncertain as it has ever been."""
    metrics = EvalMetrics(score, {"approx_kl": kl, "entropy": entropy})
    watch = SignalWatch({"entropy": highest})
    watch.observe(SPACE, metrics.metrics)
    return watch.correction(SIGNAL, metrics, more.get("scores", LEARNED), more.get("std_err", 1.0))


@pytest.mark.parametrize("kl", [0.01, 0.02, 0.04, math.nan, 0.0, None])
def test_a_healthy_diagnostic_or_none_moves_nothing(kl: Any) -> None:
    assert correction(kl) == 1.0


@pytest.mark.parametrize(
    ("kl", "factor"), [(0.08, 0.5), (0.4, 0.25), (0.005, 2.0), (0.0001, 4.0)], ids=["high", "far", "low", "far below"]
)
def test_it_is_brought_back_to_the_nearer_end_and_by_a_factor_of_4_at_most(kl: float, factor: float) -> None:
    assert correction(kl) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("entropy", "raised"), [(0.26, True), (0.25, False), (0.01, False), (None, True), ("high", True)]
)
def test_it_is_raised_only_while_the_policy_is_uncertain_or_nobody_knows(entropy: Any, raised: bool) -> None:
    assert (correction(0.005, entropy=entropy) > 1.0) is raised


@pytest.mark.parametrize(("score", "raised"), [(97.0, True), (99.0, False), (100.0, False)])
def test_it_is_raised_only_below_the_best_by_more_than_its_noise(score: float, raised: bool) -> None:
    assert (correction(0.005, score=score) > 1.0) is raised


def test_before_anything_is_learned_the_best_is_no_reason_to_stay() -> None:
    assert correction(0.005, score=1.0, scores=ScoreRange(0.0, 1.0)) > 1.0


@pytest.mark.parametrize(("score", "entropy"), [(100.0, 1.0), (50.0, 0.01)])
def test_it_is_lowered_whatever_the_policy(score: float, entropy: float) -> None:
    assert correction(0.08, score=score, entropy=entropy) == 0.5


class TestMemory:
    def test_the_highest_uncertainty_is_remembered(self) -> None:
        watch = SignalWatch()
        for entropy in (0.5, 2.0, 1.0, "lost", None):
            watch.observe(SPACE, {"entropy": entropy})
        assert watch.state_dict() == {"entropy": 2.0}
        again = SignalWatch(watch.state_dict())
        again.observe(SPACE, {"entropy": 1.5})
        assert again.state_dict() == {"entropy": 2.0}

    def test_a_density_may_have_an_entropy_below_zero(self) -> None:
        watch = SignalWatch()
        watch.observe(SPACE, {"entropy": -3.0})
        watch.observe(SPACE, {"entropy": -1.0})
        assert watch.state_dict() == {"entropy": -1.0}

    def test_nothing_is_remembered_of_what_has_no_signal(self) -> None:
        watch = SignalWatch()
        watch.observe({"gamma": Param(0.9, 0.99)}, {"entropy": 1.0})
        assert watch.state_dict() == {}

    def test_the_state_is_a_copy(self) -> None:
        watch = SignalWatch({"entropy": 1.0})
        watch.state_dict()["entropy"] = 9.0
        assert watch.state_dict() == {"entropy": 1.0}
