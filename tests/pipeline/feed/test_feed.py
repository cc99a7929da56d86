"""A feed that is silent, and where it goes on."""

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from gymnasium import spaces

from tensor_optix.errors import (
    CheckpointMismatchError,
    FeedError,
    InvalidArgumentError,
)
from tensor_optix.pipeline._items import HEARTBEAT
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tests.fakes.feeds import (
    Acting,
    Counting,
    Feed,
    Replayable,
    balanced,
    item,
    live,
    rows,
)

# --- silence ---


@pytest.mark.usefixtures("patient_reader")
def test_a_silent_stream_is_opened_again() -> None:
    now = [0.0]

    class Silent:
        def __init__(self) -> None:
            self.opened, self.wake = 0, threading.Event()

        def close(self) -> None:
            self.wake.set()

        def stream(self) -> Iterator[Any]:
            self.opened += 1
            self.wake = threading.Event()
            yield from (item(10 * self.opened + n) for n in range(3))
            if self.opened == 1:
                now[0] += 0.21
                assert self.wake.wait(60)
                raise ConnectionError
            yield from (item(n) for n in itertools.count(30))

    source = Silent()
    pipeline = live(source, silence_timeout=0.2, clock=lambda: now[0])
    window = next(pipeline.episodes())
    assert source.opened == 2
    assert window.metadata["reconnects"] == 1
    pipeline.teardown()


def test_silence_is_no_failure_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    class Pausing:
        is_finite = True

        def stream(self) -> Iterator[Any]:
            yield item(0)
            yield HEARTBEAT
            assert go_on.wait(60)
            yield from (item(n) for n in range(1, 5))

    pipeline = live(Pausing())
    threading.Timer(0.6, go_on.set).start()
    (window,) = pipeline.episodes()
    assert rows([window]) == [(n, n + 1, n + 1) for n in range(4)]


def test_a_silent_source_that_cannot_be_closed_is_an_error() -> None:
    wake = threading.Event()

    class Deaf:
        def stream(self) -> Iterator[Any]:
            wake.wait(60)
            yield item(0)

    pipeline = live(Deaf(), silence_timeout=0.05)
    with pytest.raises(FeedError, match=r"close\(\)"):
        next(pipeline.episodes())
    wake.set()
    pipeline.teardown()


# --- resume points ---


def test_a_replayable_source_goes_on_where_it_was() -> None:
    source = Replayable(100, 7)
    windows = list(itertools.islice(live(source, n=10).episodes(), 9))
    assert rows(windows) == [(n, n + 1, n + 1) for n in range(90)]
    assert windows[-1].metadata["gaps"] == windows[-1].metadata["duplicates"] == 0
    assert windows[-1].metadata["reconnects"] >= 12
    assert source.asked[:3] == [None, 6, 13]


def test_a_window_that_was_learned_is_not_seen_again() -> None:
    learned: list[tuple[int, int, int]] = []
    state: Any = None
    for _ in range(5):
        pipeline = live(Replayable(1000, 7, start=3), n=10)
        if state is not None:
            pipeline.restore_stream(state)
        windows = pipeline.episodes()
        for _ in range(3):
            window = next(windows)
            learned += rows([window])
            assert balanced(window.metadata)
            state = __import__("json").loads(__import__("json").dumps(pipeline.stream_state()))
        assert window.metadata["learned"] == len(learned)
        next(windows)  # this one is lost with the process
        pipeline.teardown()
    assert learned == [(n, n + 1, n + 1) for n in range(3, 153)]
    assert state["next_window_id"] == 15


def test_without_replay_what_was_missed_is_a_gap() -> None:
    learned: list[Any] = []
    pipeline = live(Feed([item(n, numbered=True) for n in range(12)]), n=10)
    learned += rows([next(pipeline.episodes())])
    state = pipeline.stream_state()
    pipeline.teardown()
    pipeline = live(Feed([item(n, numbered=True) for n in range(40, 60)]), n=10)
    pipeline.restore_stream(state)
    window = next(pipeline.episodes())
    # Item 10 ended the first window and was not acted on.
    assert window.metadata["gaps"] == 30
    assert window.metadata["learned"] + window.metadata["gaps"] == 50
    assert rows([window])[0] == (40, 41, 41)
    pipeline.teardown()


@pytest.mark.parametrize("overflow", ["block", "drop_oldest", "drop_newest"])
def test_what_is_ahead_of_a_window_is_not_in_its_stream_state(overflow: str) -> None:
    """The reader is far ahead: it has declared a gap, had one of its items late, and dropped others."""
    given = threading.Event()

    class Ahead:
        is_finite = True

        def stream(self) -> Iterator[Any]:
            yield from (item(n, numbered=True) for n in (*range(12), *range(15, 25), 13, *range(25, 40)))
            given.set()

    class Waiting(Counting):
        def act(self, observation: Any) -> Any:
            if self.seen:
                assert given.wait(60)
            return super().act(observation)

    size = 1000 if overflow == "block" else 30
    pipeline = live(Ahead(), n=4, agent=Waiting(), overflow=overflow, buffer_size=size, reorder=(2, 10.0))
    window = next(pipeline.episodes())
    assert window.metadata["late"] == 1
    assert (window.metadata["dropped"] > 1) == (overflow != "block")
    state = pipeline.stream_state()
    counts = state["counts"]
    # What is missing before the window's end is in the counts, and nothing after it.
    assert counts["received"] + counts["gaps"] == state["after"] + 1
    pipeline.teardown()


def test_teardown_and_on_again_misses_nothing_that_can_be_had() -> None:
    pipeline = live(Replayable(1000, 50), n=10)
    seen = []
    for _ in range(3):
        seen += rows(itertools.islice(pipeline.episodes(), 2))
        pipeline.teardown()
    assert seen == [(n, n + 1, n + 1) for n in range(60)]


def test_actions_are_counted_on_across_a_restart() -> None:
    def pipeline() -> LivePipeline:
        source = Acting([item(n, numbered=True) for n in range(9)], action_space=spaces.Discrete(2))
        return live(source, agent=Counting(lambda n: 2 if n == 0 else 1), safe_action=0)

    first, second = pipeline(), pipeline()
    assert next(first.episodes()).metadata["safe_actions"] == 1
    second.restore_stream(first.stream_state())
    assert next(second.episodes()).metadata["safe_actions"] == 2
    first.teardown()
    second.teardown()


@pytest.mark.parametrize("changed", [{"after": "x"}, {"after": -5}, {"counts": {"received": -1}}, {"more": 1}, None])
def test_a_damaged_stream_state_is_refused(changed: Any) -> None:
    state = {} if changed is None else {**live(Feed([])).stream_state(), **changed}
    with pytest.raises(CheckpointMismatchError, match="resume state"):
        live(Feed([])).restore_stream(state)


# --- arguments ---


@pytest.mark.parametrize(
    "options",
    [
        {"overflow": "forget"},
        {"buffer_size": 0},
        {"max_item_bytes": 0},
        {"backoff": (0.0, 1.0)},
        {"backoff": (2.0, 1.0)},
        {"reorder": (-1, 0.1)},
        {"backoff": 1.0},
        {"backoff": (0.1, float("inf"))},
        {"reorder": 64},
        {"reorder": (1.5, 0.1)},
        {"silence_timeout": 0.0},
        {"silence_timeout": "5"},
        {"transient": ("OSError",)},
        {"reward_timing": "previous"},
        {"action_deadline": 1.0},  # with nothing safe to send
        {"action_deadline": "1", "safe_action": 0},
    ],
)
def test_bad_options(options: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(options))):
        LivePipeline(Feed([]), **options)


def test_a_source_may_say_which_space_its_observations_are_of() -> None:
    class Words(Feed):
        observation_space = spaces.Discrete(3)

    items = [(n, 0.0, False, False, {}) for n in (0, 1, 2, 1, "no", 2)]
    (window,) = live(Words(items), n=3).episodes()
    assert window.observations.tolist() == [0, 1, 2]
    assert balanced(window.metadata)
