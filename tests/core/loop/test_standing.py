"""How well a best is known."""

import math
from typing import Any

import pytest

from tensor_optix.core.decisions.intervals import mean_interval, summary_interval
from tensor_optix.core.loop.standing import best_interval, is_confirmed, seen_span
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PlayedWindow, PolicySnapshot


def snapshot(score: float, returns: tuple[float, ...] = (), **metrics: Any) -> PolicySnapshot:
    evidence = (PlayedWindow(seeds=tuple(range(len(returns))), returns=returns, score=score),) if returns else ()
    return PolicySnapshot(
        snapshot_id="s",
        sequence=0,
        window_id=0,
        eval_metrics=EvalMetrics(score, metrics),
        hyperparams=HyperparamSet({}),
        created_at="2026-01-01T00:00:00",
        evidence=evidence,
    )


@pytest.mark.parametrize(("metrics", "confirmed"), [({}, False), ({"final_episodes": 0.0}, False)])
def test_a_best_without_a_final_evaluation_is_unconfirmed(metrics: dict[str, Any], confirmed: bool) -> None:
    assert is_confirmed(snapshot(1.0, **metrics)) is confirmed
    assert is_confirmed(snapshot(1.0, final_episodes=100.0))


def test_the_interval_is_that_of_the_episodes_behind_the_score() -> None:
    assert best_interval(snapshot(2.0, (1.0, 3.0)), (0.0, 4.0)) == mean_interval([1.0, 3.0], (0.0, 4.0))


def test_a_score_that_is_no_mean_of_its_returns_has_the_interval_of_its_error() -> None:
    best = snapshot(0.5, (1.0, 3.0), score_std_err=0.1, val_score=0.5, val_episodes=5.0)
    assert best_interval(best, None) == summary_interval(0.5, 0.1, 2)


@pytest.mark.parametrize(
    ("metrics", "episodes"), [({"episodes": 7.0}, 7), ({"episodes": 7.0, "val_episodes": 5.0, "val_score": 0.5}, 5)]
)
def test_without_evidence_the_episodes_are_those_that_were_counted(metrics: dict[str, Any], episodes: int) -> None:
    assert best_interval(snapshot(0.5, score_std_err=0.1, **metrics), None) == summary_interval(0.5, 0.1, episodes)


def test_nothing_is_said_where_nothing_was_counted() -> None:
    assert best_interval(snapshot(0.5, score_std_err=0.1), None) is None


def test_the_span_is_of_scores_of_training_and_validation_and_of_single_returns() -> None:
    evaluations = [EvalMetrics(3.0, {"train_score": -2.0}), EvalMetrics(math.nan), EvalMetrics(4.0)]
    assert seen_span(evaluations) == (-2.0, 4.0)
    assert seen_span(evaluations, [snapshot(2.0, (-7.0, 11.0))]) == (-7.0, 11.0)
    assert seen_span([]) is None
