"""More items than can be learned, and numbers that are missing."""

import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.errors import FeedOverflowError
from tensor_optix.pipeline._items import BREAK
from tensor_optix.pipeline.feed.intake import Intake
from tensor_optix.pipeline.feed.ledger import SequenceLedger
from tests.fakes.feeds import Burst, Counting, Feed, balanced, feed_threads, item, live, rows
from tests.helpers import until

# --- more than can be learned ---


def test_a_full_buffer_blocks_the_source() -> None:
    source = Burst(1000)
    pipeline = live(source, n=10, buffer_size=20)
    windows = []
    for window in pipeline.episodes():
        windows.append(window)
        assert window.metadata["buffered"] <= 22
        assert balanced(window.metadata)
    assert rows(windows) == [(n, n + 1, n + 1) for n in range(999)]
    assert windows[-1].metadata["learned"] == 1000


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
@pytest.mark.parametrize("numbered", [False, True])
def test_a_full_buffer_drops_and_counts(overflow: str, numbered: bool) -> None:
    source = Burst(1000, numbered)

    class Waiting(Counting):
        def act(self, observation: Any) -> Any:
            assert source.given.wait(60)
            return super().act(observation)

    windows = list(live(source, n=5, agent=Waiting(), buffer_size=50, overflow=overflow).episodes())
    last = windows[-1].metadata
    assert last["received"] == 1000
    assert last["dropped"] >= 940
    assert last["gaps"] == 0
    assert balanced(last)
    assert all(following == seen + 1 == reward for seen, following, reward in rows(windows))
    newest = max(following for _, following, _ in rows(windows))
    assert (newest == 999) == (overflow == "drop_oldest")


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize("size", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 10)), 100])
def test_from_a_feed_that_is_always_faster_something_is_learned(overflow: str, numbered: bool, size: int) -> None:
    source = Burst(10**9, numbered)

    class Slow(Counting):
        def act(self, observation: Any) -> Any:
            come = source.taken + 2 * size + 10  # more than the buffer holds
            until(lambda: source.taken >= come)
            return super().act(observation)

    pipeline = live(source, n=10, agent=Slow(), buffer_size=size, overflow=overflow)
    windows = list(itertools.islice(pipeline.episodes(), 3))
    pipeline.teardown()
    assert [window.length for window in windows] == [10, 10, 10]
    assert all(balanced(window.metadata) for window in windows)
    assert windows[-1].metadata["dropped"] > 0
    # Of a float32 the numbers are exact as far as this machine gets.
    assert all(following == seen + 1 == reward for seen, following, reward in rows(windows))


def test_a_full_buffer_fails_if_told() -> None:
    source = Burst(1000)

    class Waiting(Counting):
        def act(self, observation: Any) -> Any:
            if not self.seen:
                until(lambda: not feed_threads())  # it failed
            return super().act(observation)

    with pytest.raises(FeedOverflowError, match="50 items wait"):
        list(live(source, n=5, agent=Waiting(), buffer_size=50, overflow="fail").episodes())


def intake_that_fails(size: int, patience: tuple[int, float] = (8, 0.0)) -> Intake:
    return Intake(size, "fail", SequenceLedger(patience), 1 << 20, lambda: 0.0)


def test_the_item_that_finds_no_room_is_in_the_books() -> None:
    intake = intake_that_fails(2)
    intake.put(item(0))
    intake.put(item(1))
    with pytest.raises(FeedOverflowError):
        intake.put(item(2))
    counts = intake.counts()
    assert (counts["received"], counts["buffered"], counts["dropped"]) == (3, 2, 1)


@pytest.mark.parametrize("ends", [True, False])
def test_what_was_held_and_finds_no_room_at_the_end_is_an_error_of_the_feed(ends: bool) -> None:
    intake = intake_that_fails(2)
    for number in (0, 2, 3, 4):  # one is missing, the later ones are held
        intake.put(item(number, numbered=True))
    assert intake.counts()["buffered"] == 4
    assert intake.take(0.0) is not None
    if ends:
        intake.end()
    taken = [intake.take(0.0) for _ in range(3)]
    assert [entry is BREAK for entry in taken] == [True, False, False]
    with pytest.raises(FeedOverflowError):
        intake.take(0.0)
    counts = intake.counts()
    assert (counts["received"], counts["buffered"], counts["dropped"]) == (4, 0, 1)


# --- numbered items ---


def test_a_gap_is_counted_and_nothing_is_learned_across_it() -> None:
    items = [item(n, numbered=True) for n in range(20) if n not in (5, 6)]
    windows = list(live(Feed(items), n=50).episodes())
    assert windows[0].metadata["gaps"] == 2
    assert windows[0].metadata["received"] == 18
    assert windows[0].metadata["breaks"] == (4,)
    assert rows(windows) == [(n, n + 1, n + 1) for n in range(19) if n not in (4, 5, 6)]


def test_numbers_may_be_numpy_s() -> None:
    pipeline = live(Feed([item(n, sequence=np.int64(n)) for n in (0, 1, 2, 4, 5, 6, 6)]), n=4)
    windows = list(pipeline.episodes())
    assert (windows[-1].metadata["gaps"], windows[-1].metadata["duplicates"]) == (1, 1)
    assert json.loads(json.dumps(pipeline.stream_state()))["after"] == 5  # the last one is held


def test_numbers_that_start_over_have_an_epoch(caplog: pytest.LogCaptureFixture) -> None:
    def connection(**more: Any) -> list[Any]:
        return [*(item(n, numbered=True, **more) for n in range(4)), ConnectionError()]

    pipeline = live(Feed(connection(), connection(), [item(n, numbered=True) for n in range(9)]))
    assert rows([next(pipeline.episodes())]) == [(n, n + 1, n + 1) for n in range(4)]
    pipeline.teardown()
    told = [record.getMessage() for record in caplog.records if "info['epoch']" in record.msg]
    assert sum("(1 until now)" in message for message in told) == 1  # the reader may have met further ones since
    caplog.clear()
    pipeline = live(Feed(*(connection(epoch=n) for n in range(1, 1000))))
    assert rows([next(pipeline.episodes())]) == [(n, n + 1, n + 1) for n in (0, 1, 2, 0)]
    pipeline.teardown()
    assert not any("info['epoch']" in record.msg for record in caplog.records)


STEPS = st.lists(st.one_of(st.integers(0, 12), st.sampled_from(["lost", "reopened", "take", "malformed"])), max_size=40)


@given(STEPS, st.booleans(), st.sampled_from(["block", "drop_oldest", "drop_newest"]))
def test_every_item_is_in_one_count_whatever_happens(steps: list[Any], can_refetch: bool, overflow: str) -> None:
    ledger = SequenceLedger((2, 1000.0), can_refetch=can_refetch)
    intake = Intake(8 if overflow != "block" else 1000, overflow, ledger, 1 << 20, lambda: 0.0)
    taken = 0
    for step in steps:
        if step == "lost":
            intake.interrupted()
        elif step == "reopened":
            assert intake.resumes_after is None or intake.resumes_after >= 0
        elif step == "take":
            taken += intake.take(0.0) not in (None, BREAK)
        else:
            intake.put(("bad",) if step == "malformed" else item(step, numbered=True))
        counts = intake.counts()
        assert counts["received"] == taken + counts["dropped"] + counts["quarantined"] + counts["buffered"]


def test_what_waited_for_a_late_item_when_the_connection_was_lost_is_counted_once() -> None:
    class Lossy:
        connections, closed = 0, threading.Event()

        def stream(self, after: int | None = None) -> Iterator[Any]:
            self.connections += 1
            if self.connections == 1:
                yield from (item(n, numbered=True) for n in (0, 1, 2, 4, 5, 6))
                raise ConnectionError
            assert after is not None
            yield from (item(n, numbered=True) for n in range(after + 1, 30))
            self.closed.wait()

        def close(self) -> None:
            self.closed.set()

    pipeline = live(Lossy(), n=5)
    windows = list(itertools.islice(pipeline.episodes(), 4))
    pipeline.teardown()
    assert all(balanced(window.metadata) for window in windows)
    assert rows(windows) == [(n, n + 1, n + 1) for n in range(20)]
