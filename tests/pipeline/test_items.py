"""What the items of a feed may not be: counted, never acted on."""

import itertools
import logging
import random
from typing import Any

import numpy as np
import pytest

from tensor_optix.errors import (
    BadDataError,
    FeedFatalError,
)
from tensor_optix.pipeline._items import ItemCheck, Malformed
from tests.fakes.feeds import BAD, Counting, Feed, balanced, item, live, rows


@pytest.mark.parametrize("name", BAD)
def test_a_bad_item_is_counted_and_never_acted_on(name: str) -> None:
    agent = Counting()
    items = [item(0), item(1), item(2), BAD[name], item(4), item(5), item(6)]
    windows = list(live(Feed(items), agent=agent).episodes())
    # The action for item 2 has no outcome, and item 4 starts over.
    assert rows(windows) == [(0, 1, 1), (1, 2, 2), (4, 5, 5), (5, 6, 6)]
    assert list(windows[0].truncated) == [False, True, False, False]
    assert windows[0].metadata["quarantined"] == 1
    assert windows[0].metadata["breaks"] == (2,)
    assert balanced(windows[0].metadata)
    assert all(np.isfinite(seen).all() and seen.shape == (2,) for seen in agent.seen)


def test_large_finite_numbers_pass() -> None:
    big = np.array([3e38, 3e38], np.float32)
    (window,) = live(Feed([(big, 0.0, False, False, {})] * 3), n=2).episodes()
    assert window.metadata["quarantined"] == 0


def test_a_feed_in_which_nothing_fits_is_refused() -> None:
    with pytest.raises(FeedFatalError, match="100 malformed items and none that fits"):
        list(live(Feed([("a", "b")] * 200)).episodes())


def test_a_feed_that_once_fitted_goes_on() -> None:
    items = [item(0), item(1), item(2), *[("a", "b")] * 5000, item(3), item(4), item(5)]
    windows = list(live(Feed(items)).episodes())
    assert windows[0].metadata["quarantined"] == 5000
    assert rows(windows) == [(0, 1, 1), (1, 2, 2), (3, 4, 4), (4, 5, 5)]


def test_refusals_are_logged_less_and_less(caplog: pytest.LogCaptureFixture) -> None:
    items = [item(0), item(1), item(2), *[("a", "b")] * 1000]
    with caplog.at_level(logging.WARNING):
        list(live(Feed(items)).episodes())
    assert sum("refused" in record.message for record in caplog.records) == 10


def fuzzed(rng: random.Random) -> Any:
    """Something that a hostile server might send, or an item with one part exchanged."""
    nasty: list[Any] = [
        None, float("nan"), float("inf"), -1, 2**63, 10**400, "x" * 100, b"\xff" * 10, [], {}, [[]], [1, [2]], True,
        np.array([None]), np.zeros((2, 2)), np.float32(3), object(), {"sequence": -1}, {"action_mask": 3}, (),
        ("a",) * 5, {"sequence": "x"}, {"action_mask": [None]}, np.array([np.nan, 0], np.float32), 1e308,
        Malformed("bad"), {1: 2},
    ]  # fmt: skip
    if rng.random() < 0.2:
        return rng.choice(nasty)
    parts = list(item(rng.randrange(100)))
    for _ in range(rng.randrange(1, 3)):
        parts[rng.randrange(5)] = rng.choice(nasty)
    return tuple(parts)


@pytest.mark.parametrize("count", [4000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_poison_never_gets_out_of_the_pipeline(count: int) -> None:
    rng = random.Random(0)
    good = [item(n) for n in range(3)]
    agent = Counting(lambda n: 0)
    source = Feed(itertools.chain(good, (fuzzed(rng) if rng.random() < 0.9 else item(1) for _ in range(count))))
    steps = 0
    for window in live(source, n=50, agent=agent).episodes():
        assert np.isfinite(window.observations).all()
        assert np.isfinite(window.next_observations).all()
        assert np.isfinite(window.rewards).all()
        assert window.observations.shape == (window.length, 2)
        assert balanced(window.metadata)
        steps += window.length
        agent.seen.clear()
    assert steps > 0
    assert window.metadata["quarantined"] > count / 3


def test_a_reward_of_several_objectives_names_what_weighs_them() -> None:
    check = ItemCheck()
    with pytest.raises(BadDataError, match=r"its reward is array of shape \(3,\).*TransformReward"):
        check((np.zeros(1), np.zeros(3), False, False, {}))
    assert check((np.zeros(1), np.ones(1), False, False, {}))[1] == 1.0


def test_a_feed_of_text_stays_one() -> None:
    check = ItemCheck()
    assert check(("up", 0.0, False, False, {}))[0] == "up"
    assert check(("further down", 0.0, False, False, {}))[0] == "further down"
    with pytest.raises(BadDataError, match="but this feed's are"):
        check((np.zeros(2), 0.0, False, False, {}))
    numbers = ItemCheck()
    numbers((np.zeros(2), 0.0, False, False, {}))
    with pytest.raises(BadDataError, match="no numbers"):
        numbers(("up", 0.0, False, False, {}))
