from typing import Any

import pytest

from tensor_optix.multirun.study import SearchTrial
from tensor_optix.multirun.verdict import arms_best, best_so_far, common_steps, difference, finalists, judged


def trial(number: int, value: float | None, drawn: str = "search", steps: int = 100) -> SearchTrial:
    seeds: Any = ({"steps": steps},)
    state: Any = "pruned" if value is None else "complete"
    return SearchTrial(number=number, drawn=drawn, values={}, state=state, value=value, seeds=seeds)


def test_the_preset_stays_unless_the_interval_of_the_difference_is_above_zero() -> None:
    preset = [100.0, 200.0, 300.0, 400.0, 500.0]
    clearly = [value + 50.0 + i for i, value in enumerate(preset)]
    now_and_then = [value + (100.0 if i % 2 else -60.0) for i, value in enumerate(preset)]
    assert judged({0: preset, 1: now_and_then}).best == 0
    assert judged({0: preset, 1: now_and_then, 2: clearly}).best == 2
    assert judged({0: preset, 3: [value - 1.0 for value in clearly], 2: clearly}).best == 2
    assert judged({0: preset}).best == 0
    assert judged({0: preset, 1: preset}).best == 0


def test_pairs_count_and_not_the_scores_of_each() -> None:
    found = difference([101.0, 501.0, 901.0], [100.0, 500.0, 900.0])
    assert found.mean == pytest.approx(1.0)
    assert 0.0 < found.interval.low <= 1.0 <= found.interval.high


def test_more_finalists_need_wider_intervals() -> None:
    scores = {0: [0.0] * 5, **{number: [1.0, 2.0, 3.0, 4.0, 5.0] for number in range(1, 6)}}
    many, one = judged(scores).ahead[1].interval, judged({0: scores[0], 1: scores[1]}).ahead[1].interval
    assert (many.level, one.level) == (0.99, 0.95)
    assert many.low < one.low


def test_finalists_are_the_preset_the_best_five_and_the_best_of_each_arm() -> None:
    trials = [
        trial(0, 1.0, "preset"),
        *(trial(number, float(number)) for number in range(1, 8)),
        trial(8, 0.5, "random"),
        trial(9, None, "random", steps=2000),
    ]
    assert finalists(trials) == [0, 3, 4, 5, 6, 7, 8]
    assert finalists(trials[:2]) == [0, 1]


def test_the_search_and_random_search_are_compared_after_equal_steps() -> None:
    trials = [
        trial(0, 5.0, "preset"),
        trial(1, 3.0, "random", steps=300),
        trial(2, 7.0),
        trial(4, 2.0),
        trial(6, 9.0),
        trial(5, 4.0, "random", steps=50),
    ]
    assert common_steps(trials) == 350
    assert arms_best(trials) == {"search": 2, "random": 5}
    assert best_so_far(trials, at_random=False) == [(100, 5.0, 0), (200, 7.0, 2), (400, 9.0, 6)]
    assert arms_best(trials[:1]) == {"search": None, "random": None}
