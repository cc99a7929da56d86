"""The books of random feeds balance: received = learned + dropped + quarantined + buffered, in every window."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

from tests.conftest import Goal
from tests.fakes.feeds import balanced
from tests.fakes.random_feeds import random_pipelines, windows_of

COUNTED = ("learned", "dropped", "quarantined", "buffered", "gaps", "late", "duplicates", "reconnects")


@pytest.fixture(autouse=True)
def without_warnings() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def books(seed: int) -> list[Mapping[str, Any]]:
    """Return the counts of each window of a random feed, and of its resumed ones."""
    most = Random(seed).randrange(1, 9)
    return [window.metadata for pipeline in random_pipelines(seed) for window in windows_of(pipeline, most)]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("feeds", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_books_of_random_feeds_balance(feeds: int, goal: Goal, fault_seed: int) -> None:
    windows, wrong, seen = 0, [], Counter[str]()
    seeds = range(fault_seed, fault_seed + feeds)
    with ThreadPoolExecutor(16) as beside:  # they wait, most of the time
        for seed, found in zip(seeds, beside.map(books, seeds), strict=True):
            windows += len(found)
            wrong += [seed for counts in found if not balanced(counts)]
            seen.update(name for counts in found for name in COUNTED if counts[name])
    measured = f"{len(wrong)} of {windows:,} windows do not, feeds {wrong[:3]}; {dict(seen)} windows with each"
    what = f"{feeds:,} random feeds: received = learned + dropped + quarantined + buffered in each window"
    goal("4c books", what, measured, not wrong)
    assert all(seen[name] > feeds // 20 for name in COUNTED), seen  # there is some of every fault


@pytest.mark.soak
def test_an_item_that_is_lost_is_found() -> None:
    counts = next(found for seed in range(50) if (found := books(seed)))[0]
    assert balanced(counts)
    for name in ("received", "learned", "dropped", "quarantined", "buffered"):
        assert not balanced({**counts, name: counts[name] + 1})
