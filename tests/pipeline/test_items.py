"""What the items of a feed may not be: counted, never acted on."""

import contextlib
import itertools
import logging
import random
from typing import Any

import numpy as np
import pytest
import torch

from tensor_optix.errors import (
    BadDataError,
    FeedFatalError,
)
from tensor_optix.pipeline._items import FIRST_BAD_ITEMS, ItemCheck, Malformed, Quarantine, shown, size_of
from tests.fakes.feeds import BAD, Counting, Feed, balanced, item, live, rows

LARGEST = float(np.finfo(np.float32).max)


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
    for reward in ([1.0, 2.0], (1, 2), torch.zeros(2)):
        with pytest.raises(BadDataError, match=r"but must be one number; weigh its objectives"):
            check((np.zeros(1), reward, False, False, {}))
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


def checked(
    check: ItemCheck, observation: Any, reward: Any = 0.0, flags: Any = (False, False), info: Any = None
) -> Any:
    return check((observation, reward, *flags, info))


class TestParts:
    def test_a_dict_comes_out_with_each_part_checked(self) -> None:
        check = ItemCheck()
        for _ in range(2):
            observation, *_ = checked(check, {"a": [1, 2], "b": 3.0, "c": "text"})
            assert observation["a"].tolist() == [1.0, 2.0]
            assert (observation["b"], observation["c"]) == (3.0, "text")

    @pytest.mark.parametrize(
        ("other", "reason"),
        [
            ({"a": [1.0, 2.0]}, r"has the parts \['a'\], but this feed's have \['a', 'b'\]"),
            ({"a": [1.0, 2.0], "b": 1.0, "c": 1.0}, "has the parts"),
            ({"a": [1.0], "b": 1.0}, r"float64\[1\], but this feed's are float64\[2\]"),
            ({"a": [1.0, float("nan")], "b": 1.0}, "not finite"),
            ([1.0, 2.0], r"is an array, but this feed's are dicts of \['a', 'b'\]"),
            ("text", "no numbers"),
        ],
    )
    def test_another_dict_than_the_first_is_refused_and_the_first_stays(self, other: Any, reason: str) -> None:
        check = ItemCheck()
        checked(check, {"a": [1.0, 2.0], "b": 1.0})
        with pytest.raises(BadDataError, match=reason):
            checked(check, other)
        assert checked(check, {"a": [3.0, 4.0], "b": 2.0})[0]["b"] == 2.0

    @pytest.mark.parametrize("first", [[1.0, 2.0], 1.0, "text"])
    def test_a_dict_in_a_feed_of_something_else_is_refused(self, first: Any) -> None:
        check = ItemCheck()
        checked(check, first)
        with pytest.raises(BadDataError, match="is a dict, but this feed's are arrays"):
            checked(check, {"a": 1.0})

    def test_a_first_dict_that_is_refused_is_no_example(self) -> None:
        check = ItemCheck()
        with pytest.raises(BadDataError, match="not finite"):
            checked(check, {"a": float("inf")})
        assert checked(check, {"b": 1.0})[0] == {"b": 1.0}


class TestOfASpace:
    def test_the_space_says_what_an_observation_is(self) -> None:
        check = ItemCheck(one=lambda observation: observation * 2)
        assert checked(check, 3)[0] == 6

    def test_what_does_not_fit_says_why(self) -> None:
        def one(observation: Any) -> Any:
            raise KeyError("part")

        with pytest.raises(BadDataError, match="its observation does not fit: 'part'"):
            checked(ItemCheck(one=one), {})


@pytest.mark.parametrize(
    ("observation", "reason"),
    [
        ([[1.0], [1.0, 2.0]], "is no array"),
        ([None], "is no numbers, but list"),
        (np.array(["a"]), "is of dtype <U1, which is no number"),
        (np.array([np.nan] * 20), "not finite"),
        (np.full((2, 2), np.inf), "not finite"),
        ([1e400], "not finite"),
    ],
)
def test_what_is_no_finite_array_is_refused(observation: Any, reason: str) -> None:
    with pytest.raises(BadDataError, match=reason):
        checked(ItemCheck(), observation)


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (np.zeros(2, np.float32), np.zeros(3, np.float32)),
        (np.zeros(2, np.float32), np.zeros(2, np.int64)),
        (np.zeros(20), np.full(20, np.nan)),
    ],
)
def test_the_first_array_says_what_the_others_are(first: Any, other: Any) -> None:
    check = ItemCheck()
    checked(check, first)
    with pytest.raises(BadDataError, match=r"but this feed's are|not finite"):
        checked(check, other)
    assert checked(check, first + 1)[0].tolist() == (first + 1).tolist()


def test_lists_of_whole_numbers_and_of_others_are_one_feed() -> None:
    check = ItemCheck()
    assert [checked(check, numbers)[0].dtype for numbers in ([0, 0], [0.5, 0])] == [np.float64, np.float64]


def test_a_number_stays_one_and_a_shape_that_is_told_makes_it_an_array() -> None:
    assert type(checked(ItemCheck(), 3)[0]) is int
    assert type(checked(ItemCheck(), np.float32(3.0))[0]) is np.float32
    told = checked(ItemCheck(np.zeros(())), 3)[0]
    assert isinstance(told, np.ndarray)
    with pytest.raises(BadDataError, match=r"float64\[2\], but this feed's are \[3\]"):
        checked(ItemCheck(np.zeros(3)), [1.0, 2.0])


@pytest.mark.parametrize(
    ("reward", "found"),
    [(1, 1.0), (np.float32(0.5), 0.5), (np.array([2.0]), 2.0), (True, 1.0), (LARGEST, LARGEST), (-LARGEST, -LARGEST)],
)
def test_a_reward_is_one_number(reward: Any, found: float) -> None:
    assert checked(ItemCheck(), 0.0, reward)[1] == pytest.approx(found)


@pytest.mark.parametrize("reward", ["1", b"1", None, [1.0], np.zeros(0), 3.5e38, -3.5e38, float("nan")])
def test_what_is_no_reward_is_refused(reward: Any) -> None:
    with pytest.raises(BadDataError, match="its reward is"):
        checked(ItemCheck(), 0.0, reward)


@pytest.mark.parametrize(
    ("flag", "found"),
    [
        (np.True_, True),
        (1, True),
        (0, False),
        (np.int8(1), True),
        (np.array(True), True),
        (np.array([False]), False),
        (torch.tensor(True), True),
    ],
)
def test_a_flag_is_true_or_false(flag: Any, found: bool) -> None:
    assert checked(ItemCheck(), 0.0, flags=(flag, False))[2:4] == (found, False)
    assert checked(ItemCheck(), 0.0, flags=(False, flag))[2:4] == (False, found)


@pytest.mark.parametrize("flag", [2, -1, None, "True", 1.0, np.array([True, False]), np.array(1.0), np.array([])])
def test_what_is_no_flag_is_refused(flag: Any) -> None:
    for flags, name in (((flag, False), "terminated"), ((False, flag), "truncated")):
        with pytest.raises(BadDataError, match=f"its {name} is .*, but must be True or False"):
            checked(ItemCheck(), 0.0, flags=flags)


def test_an_info_is_a_mapping_or_nothing() -> None:
    assert checked(ItemCheck(), 0.0)[4] == {}
    assert checked(ItemCheck(), 0.0, info={"a": 1})[4] == {"a": 1}
    with pytest.raises(BadDataError, match="its info is list, but must be a mapping"):
        checked(ItemCheck(), 0.0, info=[])


@pytest.mark.parametrize(
    ("space", "passed", "is_given_up"),
    [(None, 1, True), (None, 2, False), (np.zeros(2), 0, True), (np.zeros(2), 1, False)],
)
def test_a_feed_is_given_up_where_nothing_fits_what_is_told_or_the_first_item(
    space: Any, passed: int, is_given_up: bool
) -> None:
    check, quarantine = ItemCheck(space), Quarantine()
    for _ in range(passed):
        checked(check, np.zeros(2))
    for _ in range(FIRST_BAD_ITEMS - 1):
        quarantine.add("no")
    check.give_up_on(quarantine)
    quarantine.add("the last")
    with pytest.raises(FeedFatalError, match="the last: the last") if is_given_up else contextlib.nullcontext():
        check.give_up_on(quarantine)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        pytest.param("x" * 1000, repr("x" * 200), id="long text"),
        (b"abc", "b'abc'"),
        (np.zeros((2, 3), np.float32), r"array of shape (2, 3), float32"),
        ({"a": 1}, "dict"),
        (None, "NoneType"),
    ],
)
def test_anything_is_shown_shortly(what: Any, said: str) -> None:
    assert shown(what) == said


@pytest.mark.parametrize(
    ("what", "size"),
    [(np.zeros(3, np.float32), 12), ([1, 2], 16), ("abc", 24), (3.0, 8), ({"a": np.zeros(2), "b": [1]}, 24)],
)
def test_the_size_of_an_observation_is_about_its_bytes(what: Any, size: int) -> None:
    assert size_of(what) == size
