"""What a source yields, in the few kinds that the rest of the feed knows."""

from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from tensor_optix.errors import FeedError, FeedFatalError, FeedOverflowError
from tensor_optix.pipeline._items import BREAK, HEARTBEAT, Entry, Malformed, Recorded
from tensor_optix.pipeline.feed.sorting import ends_episode, fatal, numbered, sequence_in, sorted_out
from tests.fakes.feeds import item


def entry(what: Any, **options: Any) -> Any:
    return sorted_out(what, 2.5, options.get("max_item_bytes", 1000))


class TestSortedOut:
    def test_an_item_is_an_entry_with_its_arrival(self) -> None:
        found = entry(item(3))
        assert isinstance(found, Entry)
        assert (found.item[1], found.arrival, found.is_late, found.acted) == (3.0, 2.5, None, None)

    @pytest.mark.parametrize("kind", [tuple, list])
    @pytest.mark.parametrize("observation", [np.ones(2), [1.0, 2.0], {"a": 1}, 3.0])
    def test_any_sequence_of_five_with_any_observation_is_one(self, kind: Any, observation: Any) -> None:
        found = entry(kind((observation, 0.0, False, False, {})))
        assert isinstance(found, Entry)
        assert type(found.item) is tuple

    @pytest.mark.parametrize("kind", [tuple, list])
    def test_a_source_may_go_on_writing_into_its_array(self, kind: Any) -> None:
        observation = np.ones(2)
        found = entry(kind((observation, 0.0, False, False, {})))
        observation[:] = 9.0
        assert found.item[0].tolist() == [1.0, 1.0]

    def test_what_was_recorded_keeps_its_time_and_what_became_of_it(self) -> None:
        found = entry(Recorded(item(3), 1.0, True, 1.5))
        assert (found.arrival, found.is_late, found.acted) == (1.0, True, 1.5)

    def test_breaks_heartbeats_and_what_is_malformed_are_passed_on(self) -> None:
        malformed = Malformed("no")
        assert entry(BREAK) is BREAK
        assert entry(malformed) is malformed
        assert entry(HEARTBEAT) is None

    @pytest.mark.parametrize(
        ("what", "reason"),
        [
            (None, "it is None"),
            (3, "it is int"),
            ("five!", "but must be"),
            ((1, 2, 3, 4), "of length 4"),
            ([], "of length 0"),
            (np.zeros(5), "but must be"),
            (Recorded((1, 2), 0.0, False), "of length 2"),  # type: ignore[arg-type]
        ],
    )
    def test_what_is_no_item_says_what_it_is(self, what: Any, reason: str) -> None:
        found = entry(what)
        assert isinstance(found, Malformed)
        assert reason in found.reason
        assert "must be (observation, reward, terminated, truncated, info)" in found.reason

    @pytest.mark.parametrize("kind", [tuple, list])
    def test_an_observation_may_be_as_large_as_it_may_be(self, kind: Any) -> None:
        what = kind((np.zeros(100, np.uint8), 0.0, False, False, {}))
        assert isinstance(entry(what, max_item_bytes=100), Entry)
        found = entry(what, max_item_bytes=99)
        assert isinstance(found, Malformed)
        assert found.reason == "its observation has 100 bytes, more than max_item_bytes=99"


def of_info(info: Any) -> Any:
    return numbered(sequence_in(info), info)


class TestNumbers:
    @pytest.mark.parametrize(
        ("info", "number"),
        [
            ({"sequence": 0}, (0, None)),
            ({"sequence": np.int64(7), "epoch": "b"}, (7, "b")),
            ({"sequence": 2**62 - 1, "epoch": 3}, (2**62 - 1, 3)),
            (MappingProxyType({"sequence": 5}), (5, None)),
        ],
    )
    def test_a_number_is_whole_and_its_epoch_a_name(self, info: Any, number: Any) -> None:
        assert of_info(info) == number
        assert type(of_info(info)[0]) is int

    @pytest.mark.parametrize(
        "info",
        [
            {},
            None,
            {"sequence": None},
            {"sequence": -1},
            {"sequence": 2**62},
            {"sequence": 1.0},
            {"sequence": True},
            {"sequence": "7"},
            {"sequence": 7, "epoch": 1.5},
            {"sequence": 7, "epoch": ["b"]},
        ],
    )
    def test_anything_else_is_malformed(self, info: Any) -> None:
        found = of_info(info)
        assert isinstance(found, Malformed)
        assert "is no whole number" in found.reason

    @pytest.mark.parametrize(("info", "number"), [({"sequence": 3}, 3), ({}, None), (None, None), ([3], None)])
    def test_an_info_need_not_number_its_item(self, info: Any, number: Any) -> None:
        assert sequence_in(info) == number


class TestFatal:
    @pytest.mark.parametrize("error", [FeedFatalError("no entry"), FeedOverflowError("too fast")])
    def test_what_is_fatal_already_is_raised_as_it_is(self, error: FeedFatalError) -> None:
        assert fatal(error) is error

    @pytest.mark.parametrize("error", [FeedError("lost"), ValueError("no"), KeyboardInterrupt()])
    def test_anything_else_is_named_with_what_would_retry_it(self, error: BaseException) -> None:
        found = fatal(error)
        assert type(found) is FeedFatalError
        assert found.__cause__ is error
        assert str(found).startswith(f"The feed ended by {type(error).__name__}")
        assert "transient=" in str(found)


@pytest.mark.parametrize(
    ("what", "is_so"),
    [
        (item(0), False),
        (item(0, terminated=True), True),
        (item(0, truncated=True), True),
        (Recorded(item(0, terminated=True), 0.0, False), True),
        (list(item(0, truncated=True)), True),
        ((None, 0.0, np.True_, 0, {}), True),
        ((None, 0.0, 0, np.int64(1), {}), True),
        ((None, 1.0, "yes", 1.0, {}), False),
        ((True, True, True, True), False),
        (BREAK, False),
        (None, False),
    ],
)
def test_an_episode_ends_with_an_item_that_says_so(what: Any, is_so: bool) -> None:
    assert ends_episode(what) is is_so
