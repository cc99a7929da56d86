"""How many threads: what is free, what is tried, and which of the measured ones is used."""

import pytest

from tensor_optix.core.decisions.thread_count import counts, fewest_threads, free_cores, is_faster


@pytest.mark.parametrize(
    ("cores", "load", "workers", "free"),
    [
        (2, 0.0, 1, 2),
        (2, 0.9, 1, 2),
        (2, 1.0, 1, 1),
        (2, 7.3, 1, 1),
        (16, 3.2, 1, 13),
        (16, 0.0, 4, 4),
        (4, 0.0, 8, 1),
        (384, 0.0, 1, 64),
    ],
)
def test_cores_that_others_load_and_those_of_other_workers_are_not_free(
    cores: int, load: float, workers: int, free: int
) -> None:
    assert free_cores(cores, load, workers) == free


@pytest.mark.parametrize(("free", "tried"), [(1, [1]), (2, [1, 2]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])])
def test_numbers_double_up_to_what_is_free(free: int, tried: list[int]) -> None:
    assert list(counts(free)) == tried


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({1: 1.0}, 1),
        ({1: 1.0, 2: 0.9}, 1),
        ({1: 1.2, 2: 1.0}, 2),
        ({1: 1.2, 2: 1.0, 4: 0.9}, 2),
        ({1: 1.2, 2: 1.1, 4: 1.0}, 4),
        ({1: 1.0, 2: 1.1}, 1),
    ],
)
def test_more_threads_must_be_clearly_faster(seconds: dict[int, float], chosen: int) -> None:
    assert fewest_threads(seconds) == chosen


def test_more_are_tried_while_they_are_faster() -> None:
    assert is_faster({1: 1.0}, 1)
    assert is_faster({1: 1.0, 2: 0.9}, 2)
    assert not is_faster({1: 1.0, 2: 1.0}, 2)
    assert not is_faster({1: 1.0, 2: 0.5, 4: 0.6}, 4)
