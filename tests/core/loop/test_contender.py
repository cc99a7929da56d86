from collections.abc import Sequence
from typing import Any

import pytest

from tensor_optix.core.loop.contender import Contender, could_be_first, known_scores, mean_of, raced_scores
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PlayedWindow, PolicySnapshot


def snapshot(score: float, windows: Sequence[Sequence[float]] = (), **metrics: Any) -> PolicySnapshot:
    evidence = tuple(PlayedWindow(seeds=(0, 1), returns=tuple(one), score=mean_of(one)) for one in windows)
    return PolicySnapshot(
        snapshot_id=f"{score:g}",
        sequence=0,
        window_id=0,
        eval_metrics=EvalMetrics(score, **metrics),
        hyperparams=HyperparamSet({}),
        created_at="",
        evidence=evidence,
    )


def test_what_is_known_are_the_windows_or_the_score() -> None:
    assert known_scores(snapshot(3.0, [(1.0, 3.0), (4.0, 4.0)])) == (2.0, 4.0)
    assert known_scores(snapshot(3.0)) == (3.0,)


def test_a_race_is_told_by_episodes_where_windows_score_their_returns() -> None:
    lower = snapshot(3.0, [(1.0, 3.0)], lower_is_better=True)
    assert raced_scores(lower, lower.evidence) == (-1.0, -3.0)
    other = PlayedWindow(seeds=(0, 1), returns=(1.0, 3.0), score=50.0)
    assert raced_scores(lower, [other]) == (-50.0,)


@pytest.mark.parametrize(("error", "names"), [(0.0, ["9"]), (3.0, ["9", "5"])])
def test_one_whose_error_reaches_the_highest_could_be_first(error: float, names: list[str]) -> None:
    good, poor = snapshot(9.0, [(9.0, 9.0)] * 20), snapshot(5.0, [(5.0, 5.0)] * 20)
    contenders = [Contender(poor, known_scores(poor), error), Contender(good, known_scores(good))]
    assert [one.snapshot.snapshot_id for one in could_be_first(contenders)] == names
