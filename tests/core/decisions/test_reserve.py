"""Which policies are kept for the last test, and that they stay few however long a run is."""

import pytest

from tensor_optix.core.decisions.reserve import NEIGHBOURS, SPACING, Reserve, Reserved, is_due, observed, thinned


def one(steps: int, *scores: float, later: int = 0) -> Reserved:
    return Reserved(snapshot_id=f"{steps:06d}", steps=steps, scores=scores or (0.0,), later=later)


def kept_of(scores: list[float], most: int, steps: int = 100) -> tuple[Reserve, int]:
    """Return what is in reserve at the end of a run, and how many policies were ever put there."""
    reserve, saved = Reserve(), 0
    for n, score in enumerate(scores, 1):
        reserve = observed(reserve, score)
        if is_due(reserve, n * steps):
            saved += 1
            around = scores[max(n - 1 - NEIGHBOURS, 0) : n]
            reserve = thinned((*reserve, one(n * steps, *around)), most)
    return reserve, saved


def test_the_level_is_that_of_the_evaluations_around_a_policy() -> None:
    reserve = observed(observed((one(1, 1.0, 2.0, 3.0),), 4.0), 5.0)
    assert reserve[0].level == 3.0
    assert observed(reserve, 100.0)[0].level == 3.0  # too late to tell of it


@pytest.mark.parametrize(("last", "steps", "due"), [(None, 1, True), (100, 101, False), (3200, 3300, False)])
def test_the_next_is_due_after_a_share_of_the_run(last: int | None, steps: int, due: bool) -> None:
    assert is_due(() if last is None else (one(last),), steps) is due


def test_saves_grow_with_the_logarithm_of_the_run() -> None:
    short, long = (kept_of([0.0] * n, 10)[1] for n in (500, 5000))
    assert long - short < 3 * SPACING


def test_a_plateau_that_was_left_is_still_there_beside_a_grid_of_the_whole_run() -> None:
    scores = [0.3] * 100 + [0.95] * 20 + [0.6] * 880
    reserve, _ = kept_of(scores, 10)
    steps = [policy.steps // 100 for policy in reserve]
    assert len(reserve) == 10
    assert sum(100 < n <= 120 for n in steps) >= 4
    assert steps[-1] > 960
    assert min(steps) < 20
    assert steps == sorted(steps)


def test_the_newest_stays_even_alone() -> None:
    reserve, _ = kept_of([1.0, *[0.0] * 50], 1)
    assert [policy.steps for policy in reserve] == [5000]


def test_the_grid_is_geometric() -> None:
    reserve, _ = kept_of([0.0] * 2000, 12)
    others = [policy.steps for policy in reserve]
    assert others[0] < 2000 < others[4]
