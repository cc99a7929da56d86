import contextlib
import gc
import itertools
import json
import logging
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix import BatchPipeline, EpisodeReturnEvaluator
from tensor_optix.errors import (
    BadDataError,
    CheckpointMismatchError,
    ContractError,
    FeedError,
    FeedFatalError,
    FeedOverflowError,
    InvalidArgumentError,
    MissingDependencyError,
)
from tensor_optix.pipeline._items import BREAK, HEARTBEAT, Malformed
from tensor_optix.pipeline.feed import boundaries, reader
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tensor_optix.pipeline.sources.environment_source import EnvironmentSource
from tensor_optix.pipeline.sources.replay_source import ReplaySource
from tests.helpers import NumpyAgent
from tests.pipeline.feeds import Acting, Counting, Feed, balanced, item, live, rows


def feed_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tensor-optix-feed"]


# --- what a window is ---


def test_the_reward_of_the_next_item_belongs_to_the_action() -> None:
    source = Acting([item(n) for n in range(9)])
    windows = list(live(source).episodes())
    assert rows(windows) == [(n, n + 1, n + 1) for n in range(8)]
    assert [list(w.actions) for w in windows] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert source.applied[:8] == list(range(8))
    assert [w.episode_id for w in windows] == [0, 1]


def test_the_item_that_ends_a_window_is_acted_on_after_it_was_learned() -> None:
    agent = Counting()
    windows = live(Feed([item(n) for n in range(9)]), agent=agent).episodes()
    next(windows)
    assert len(agent.seen) == 4
    next(windows)
    assert len(agent.seen) == 8


def test_logged_rewards_stand_beside_their_own_action() -> None:
    windows = list(live(Feed([item(n) for n in range(9)]), reward_timing="same").episodes())
    assert rows(windows) == [(n, n + 1, n) for n in range(8)]


def test_a_logged_episode_ends_with_its_own_item() -> None:
    items = [item(n, terminated=n in (2, 5)) for n in range(6)]
    (window,) = live(Feed(items), n=6, reward_timing="same").episodes()
    assert rows([window]) == [(0, 1, 0), (1, 2, 1), (2, 2, 2), (3, 4, 3), (4, 5, 4), (5, 5, 5)]
    assert list(window.terminated) == [False, False, True] * 2
    assert [e.total_return for e in window.completed or ()] == [3.0, 12.0]


def test_a_final_observation_is_followed_by_a_new_episode() -> None:
    items = [item(0), item(1), item(2, terminated=True), item(10), item(11, truncated=True), item(20), item(21)]
    source = Acting(items)
    (window,) = live(source, n=4).episodes()
    assert rows([window]) == [(0, 1, 1), (1, 2, 2), (10, 11, 11), (20, 21, 21)]
    assert list(window.terminated) == [False, True, False, False]
    assert list(window.truncated) == [False, False, True, False]
    assert [(e.total_return, e.length) for e in window.completed or ()] == [(3.0, 2), (11.0, 1)]
    assert len(source.applied) == 5  # of seven items: nothing is done after an end


def test_a_feed_without_episodes_has_one_per_window() -> None:
    windows = list(live(Feed([item(n) for n in range(9)])).episodes())
    assert [(e.total_return, e.length) for w in windows for e in w.completed or ()] == [(10.0, 4), (26.0, 4)]
    metrics = EpisodeReturnEvaluator().score(windows[0], {})
    assert (metrics.has_evidence, metrics.primary_score) == (True, 10.0)


def test_the_rest_of_a_finite_feed_is_a_window_too() -> None:
    windows = list(live(Feed([item(n) for n in range(7)])).episodes())
    assert rows(windows) == [(n, n + 1, n + 1) for n in range(6)]
    assert windows[-1].metadata["received"] == 7
    assert balanced(windows[-1].metadata)


def test_observations_are_copied() -> None:
    class Reusing:
        is_finite = True

        def stream(self) -> Iterator[Any]:
            observation = np.zeros(1, np.float32)
            for n in range(5):
                observation[0] = n
                yield observation, 0.0, False, False, {}

    (window,) = live(Reusing()).episodes()
    assert list(window.observations[:, 0]) == [0, 1, 2, 3]


def test_lists_are_observations_too() -> None:
    (window,) = live(Feed([([n, n + 0.5], 1, False, False, None) for n in range(5)])).episodes()
    assert window.observations.dtype == np.float64
    assert window.observations.tolist() == [[n, n + 0.5] for n in range(4)]


def test_allowed_actions_are_kept_to() -> None:
    class Sapper(Counting):
        def act_masked(self, observations: Any, action_masks: Any, *, deterministic: bool = False) -> Any:
            return action_masks.argmax(axis=1)

    masks = [[False, True], [True, False]]
    items = [item(n, action_mask=masks[n % 2]) for n in range(5)]
    (window,) = live(Feed(items), agent=Sapper()).episodes()
    assert list(window.actions) == [1, 0, 1, 0]
    assert window.action_masks is not None
    assert window.action_masks.tolist() == masks * 2
    assert window.next_action_masks is not None
    assert window.next_action_masks.tolist() == masks[::-1] * 2


# --- where a window ends ---


def test_windows_end_by_time_of_arrival() -> None:
    clock = itertools.count(0.0, 10.0)
    source = Feed([item(n) for n in range(20)])
    pipeline = LivePipeline(source, Counting(), LivePipeline.every_n_seconds(35), clock=lambda: next(clock))
    first = next(pipeline.episodes())
    assert first.length == 4
    pipeline.teardown()


@pytest.mark.parametrize("boundary", [LivePipeline.on_done_signal(), LivePipeline.on_done_signal])
def test_windows_end_with_the_episode(boundary: Any) -> None:
    items = [item(n, terminated=n in (3, 5)) for n in range(7)]
    windows = list(LivePipeline(Feed(items), Counting(), boundary).episodes())
    assert [w.length for w in windows] == [3, 1]
    assert all(w.terminated[-1] for w in windows)


def test_windows_end_by_a_function_of_the_user() -> None:
    calls = []

    def ends(step_count: int, elapsed_seconds: float, observation: Any) -> bool:
        calls.append((step_count, elapsed_seconds >= 0, int(observation[0])))
        return observation[0] % 3 == 0

    windows = list(LivePipeline(Feed([item(n) for n in range(7)]), Counting(), ends).episodes())
    assert [w.length for w in windows] == [3, 3]
    assert calls[:4] == [(1, True, 1), (2, True, 2), (3, True, 3), (1, True, 4)]


def test_a_boundary_that_raises_is_named() -> None:
    pipeline = LivePipeline(Feed([item(n) for n in range(7)]), Counting(), lambda *_: 1 / 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(ContractError, match="episode_boundary_fn raised ZeroDivisionError"):
        list(pipeline.episodes())
    pipeline.teardown()


def test_a_boundary_that_never_fires_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundaries, "MAX_STEPS", 5)
    pipeline = LivePipeline(Feed([item(n) for n in range(9)]), Counting(), lambda *_: False)
    with pytest.raises(ContractError, match="has not ended a window in 5 steps"):
        list(pipeline.episodes())
    pipeline.teardown()


@pytest.mark.parametrize(
    "boundary", [LivePipeline.every_n_steps(7), LivePipeline.every_n_seconds(7.0)], ids=["steps", "seconds"]
)
def test_a_boundary_that_fires_by_itself_may_take_its_time(boundary: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundaries, "MAX_STEPS", 5)
    clock = itertools.count()
    pipeline = LivePipeline(Feed([item(n) for n in range(30)]), Counting(), boundary, clock=lambda: next(clock) / 2)
    assert next(pipeline.episodes()).length >= 7
    pipeline.teardown()


# --- what the feed may not be ---


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


def test_a_source_without_stream() -> None:
    with pytest.raises(ContractError, match=r"stream\(\)"):
        LivePipeline([1, 2])
    with pytest.raises(ContractError, match=r"pass Acting\(...\)"):
        LivePipeline(Acting)


def test_a_source_that_is_asynchronous_or_yields_nothing() -> None:
    class Asynchronous:
        async def stream(self) -> Any:
            yield item(0)

    class Nothing:
        def stream(self) -> None: ...

    with pytest.raises(ContractError, match="must be a plain generator"):
        LivePipeline(Asynchronous())
    with pytest.raises(FeedFatalError, match="must yield items, but it returned None"):
        list(live(Nothing()).episodes())


@pytest.mark.parametrize("make", [LivePipeline.every_n_steps, LivePipeline.every_n_seconds])
def test_bad_boundaries(make: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="n must be"):
        make(0)
    with pytest.raises(InvalidArgumentError, match="n must be"):
        make("300")
    with pytest.raises(ContractError, match="episode_boundary_fn"):
        LivePipeline(Feed([]), episode_boundary_fn=3)  # type: ignore[arg-type]
    with pytest.raises(ContractError, match=r"every_n_steps\(200\)"):
        LivePipeline(Feed([]), episode_boundary_fn=make)


def test_a_missing_package_is_missed_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'tensor-optix\[live\]'"):
        LivePipeline(Feed([]), record=str(tmp_path / "session.jsonl.zst"))
    LivePipeline(Feed([]))


BAD: dict[str, Any] = {
    "too short": (np.zeros(2, np.float32), 0.0, False, False),
    "no tuple": "item",
    "none": None,
    "shape": (np.zeros(3, np.float32), 0.0, False, False, {}),
    "dtype": (np.zeros(2, np.int64), 0.0, False, False, {}),
    "objects": (np.array([None, 1]), 0.0, False, False, {}),
    "text": (np.array(["a", "b"]), 0.0, False, False, {}),
    "ragged": ([[1], [1, 2]], 0.0, False, False, {}),
    "huge integer": ([10**400, 1], 0.0, False, False, {}),
    "nan": (np.array([0, np.nan], np.float32), 0.0, False, False, {}),
    "inf": (np.array([-np.inf, np.inf], np.float32), 0.0, False, False, {}),
    "too large": (np.zeros(300_000, np.float32), 0.0, False, False, {}),
    "nan reward": (np.zeros(2, np.float32), float("nan"), False, False, {}),
    "no reward": (np.zeros(2, np.float32), None, False, False, {}),
    "rewards": (np.zeros(2, np.float32), np.zeros(2), False, False, {}),
    "flag": (np.zeros(2, np.float32), 0.0, "no", False, {}),
    "other flag": (np.zeros(2, np.float32), 0.0, False, 2, {}),
    "info": (np.zeros(2, np.float32), 0.0, False, False, [1]),
    "mask": (np.zeros(2, np.float32), 0.0, False, False, {"action_mask": [[True]]}),
    "malformed": Malformed("it is poison", b"\x00"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_item_is_counted_and_never_acted_on(name: str) -> None:
    agent = Counting()
    items = [item(0), item(1), item(2), BAD[name], item(4), item(5), item(6)]
    windows = list(live(Feed(items), agent=agent).episodes())
    # The action for item 2 has no outcome, and item 4 begins anew.
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


# --- actions ---


@pytest.mark.parametrize(
    ("space", "safe", "bad", "recorded"),
    [
        (spaces.Discrete(3), 0, 3, 0),
        (spaces.Discrete(3), 0, -1, 0),
        (spaces.Discrete(3), 0, 0.5, 0),
        (spaces.Discrete(3), 0, None, 0),
        (spaces.Box(0.0, 10.0, (1,)), [2.5], np.array([np.nan]), [-0.5]),
        (spaces.Box(0.0, 10.0, (1,)), [2.5], np.zeros(2), [-0.5]),
        (None, 0.0, float("inf"), 0.0),
        (None, 0.0, {"price": [1.0, float("nan")]}, 0.0),
        (None, 0.0, [1.0, [2.0, float("nan")]], 0.0),
        (None, 0.0, (None, float("nan")), 0.0),
    ],
)
def test_the_safe_action_takes_the_place_of_a_bad_one(space: Any, safe: Any, bad: Any, recorded: Any) -> None:
    good = np.zeros(1) if isinstance(space, spaces.Box) else 1
    source = Acting([item(n) for n in range(5)], action_space=space)
    agent = Counting([good, bad, good, good, good])
    (window,) = live(source, agent=agent, safe_action=safe).episodes()
    np.testing.assert_array_equal(source.applied[1], safe)
    np.testing.assert_array_equal(window.actions[1], recorded)
    assert window.metadata["safe_actions"] == 1


def test_a_bad_action_without_a_safe_one_is_an_error() -> None:
    source = Acting([item(n) for n in range(5)], action_space=spaces.Discrete(2))
    with pytest.raises(BadDataError, match="safe_action"):
        list(live(source, agent=Counting([0, 7])).episodes())
    assert source.applied == [0]


def test_an_unsafe_safe_action_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="safe_action"):
        LivePipeline(Acting([], action_space=spaces.Discrete(2)), safe_action=2)


def test_actions_are_brought_into_the_space() -> None:
    source = Acting([item(n) for n in range(3)], action_space=spaces.Box(0.0, 10.0, (1,)))
    (window,) = live(source, n=2, agent=Counting([np.array([0.5]), np.array([7.0]), np.zeros(1)])).episodes()
    assert [float(action[0]) for action in source.applied] == [7.5, 10.0, 5.0]
    assert window.actions[:, 0].tolist() == [0.5, 7.0]


def test_a_late_action_is_not_sent() -> None:
    now = [0.0]

    def act(n: int) -> int:
        now[0] += 5.0 if n == 1 else 0.1
        return 1

    source = Acting([item(n) for n in range(5)])
    arrivals = iter(range(100))

    class Slow(Acting):
        def stream(self) -> Iterator[Any]:
            for n in range(5):
                next(arrivals)
                while len(self.applied) < n:
                    time.sleep(0.001)
                yield item(n)

    source = Slow([])
    pipeline = live(source, agent=Counting(act), safe_action=0, action_deadline=1.0, clock=lambda: now[0])
    (window,) = pipeline.episodes()
    assert list(window.actions) == [1, 0, 1, 1]
    assert source.applied[:4] == [1, 0, 1, 1]


def test_the_safe_action_is_sent_when_the_agent_raises_or_sees_nothing() -> None:
    source = Acting([item(0), item(1), ("bad",), item(3)])
    agent = Counting([1, 1])  # its third call raises
    with pytest.raises(IndexError):
        list(live(source, agent=agent, safe_action=0).episodes())
    assert source.applied == [1, 1, 0, 0]


class Broken(Acting):
    """Raises when it is to send an action of these numbers."""

    def __init__(self, *connections: Any, error: Exception, numbers: tuple[int, ...], **options: Any) -> None:
        super().__init__(*connections, **options)
        self.error, self.numbers = error, numbers

    def apply(self, action: Any) -> None:
        super().apply(action)
        if len(self.applied) - 1 in self.numbers:
            raise self.error


def test_where_an_action_could_not_be_sent_nothing_is_learned_and_the_run_goes_on(tmp_path: Path) -> None:
    record = str(tmp_path / "session.jsonl.zst")
    source = Broken([item(n) for n in range(14)], error=ConnectionResetError(), numbers=(2, 5))
    windows = list(live(source, record=record).episodes())
    assert rows(windows) == [(n, n + 1, n + 1) for n in (0, 1, 3, 4, 6, 7, 8, 9, 10, 11, 12)]
    assert windows[0].metadata["breaks"] == (2,)
    assert windows[-1].metadata["unsent_actions"] == 2
    assert all(balanced(window.metadata) for window in windows)
    again = list(live(ReplaySource(record)).episodes())
    assert rows(again) == rows(windows)
    assert [window.metadata["breaks"] for window in again] == [window.metadata["breaks"] for window in windows]


@pytest.mark.parametrize("error", [ConnectionResetError("gone"), ValueError("refused")])
def test_an_apply_that_will_fail_again_is_an_error(error: Exception) -> None:
    class Waiting(Broken):
        is_lockstep = True

    waits = Waiting if isinstance(error, OSError) else Broken
    for kind, options in ((waits, {}), (Broken, {"reconnect_on_disconnect": False})):
        source = kind([item(n) for n in range(9)], error=error, numbers=(2,))
        with pytest.raises(FeedFatalError, match=r"apply\(2\) raised") as caught:
            list(live(source, **options).episodes())
        assert caught.value.__cause__ is error


# --- disconnects ---


@pytest.mark.parametrize(
    "end", [ConnectionError("lost"), TimeoutError(), EOFError(), FeedError("gone"), OSError(5, "io"), None]
)
def test_a_stream_that_breaks_off_is_opened_again(end: Any) -> None:
    first = [item(n) for n in range(4)] + ([] if end is None else [end])
    source = Feed(first, [item(n) for n in range(10, 3000)])  # more than fit into the buffer
    window = next(live(source, n=6).episodes())
    assert rows([window]) == [(0, 1, 1), (1, 2, 2), (2, 3, 3), (10, 11, 11), (11, 12, 12), (12, 13, 13)]
    assert list(window.truncated) == [False, False, True, False, False, False]
    assert window.metadata["reconnects"] == 1
    assert window.metadata["breaks"] == (3,)
    assert balanced(window.metadata)


def test_an_episode_of_which_a_part_is_missing_is_not_counted() -> None:
    first = [item(0), item(1, terminated=True), item(2), item(3), ConnectionError()]
    second = [item(10), item(11, terminated=True), item(12), item(13, terminated=True), item(14)]
    window = next(live(Feed(first, second), n=4).episodes())
    assert [e.total_return for e in window.completed or ()] == [1.0, 13.0]


@pytest.mark.parametrize("numbered", [False, True])
def test_an_item_alone_between_two_breaks_is_dropped(numbered: bool) -> None:
    source = Feed([item(0), ConnectionError()], [item(5), ConnectionError()], [item(n) for n in range(10, 30)])
    window = next(live(source).episodes())
    assert window.metadata["dropped"] == 2
    assert rows([window])[0] == (10, 11, 11)
    assert balanced(window.metadata)


@pytest.mark.parametrize(
    "error", [ValueError("mine"), KeyError("x"), GeneratorExit(), SystemExit(3), KeyboardInterrupt(), MemoryError()]
)
def test_whatever_else_ends_the_thread_is_heard_of(error: BaseException) -> None:
    source = Feed([item(n) for n in range(6)] + [error], [])
    windows = live(source).episodes()
    next(windows)
    with pytest.raises(FeedFatalError, match=type(error).__name__) as caught:
        next(windows)
    assert caught.value.__cause__ is error
    assert not feed_threads()


def test_a_thread_that_dies_without_a_word_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader.FeedReader, "_run", lambda self: None)
    with pytest.raises(FeedFatalError, match="without a word"):
        next(live(Feed([])).episodes())


@pytest.mark.parametrize("error", [ConnectionError("lost"), None])
def test_without_reconnecting_a_disconnect_is_the_end(error: Any) -> None:
    source = Feed([item(n) for n in range(5)] + ([error] if error else []), [])
    windows = live(source, reconnect_on_disconnect=False).episodes()
    next(windows)
    if error is None:
        assert next(windows, None) is None
    else:
        with pytest.raises(FeedFatalError, match="reconnect_on_disconnect"):
            next(windows)


@pytest.mark.parametrize(
    "error", [FeedFatalError("401"), PermissionError(), __import__("ssl").SSLCertVerificationError()]
)
def test_an_error_that_another_try_does_not_mend_is_raised(error: Exception) -> None:
    with pytest.raises(FeedFatalError):
        next(live(Feed([error], [])).episodes())


@pytest.mark.parametrize("attempts", [2000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_tries_are_far_apart_and_random(attempts: int) -> None:
    waits: list[float] = []

    class Done(Exception):
        pass

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == attempts:
            raise Done

    class Refusing:
        def stream(self) -> Iterator[Any]:
            raise ConnectionRefusedError
            yield

    pipeline = LivePipeline(Refusing(), Counting(), sleep=sleep, rng=random.Random(1))
    with pytest.raises(FeedFatalError, match="Done"):
        next(pipeline.episodes())
    assert 0.1 <= min(waits) <= max(waits) <= 60.0
    assert waits[0] <= 0.2
    assert np.mean(waits[20:]) == pytest.approx(30.05, rel=0.05)  # full jitter: half the cap
    assert len(set(waits)) > 0.99 * attempts


def test_what_brought_items_is_tried_again_soon() -> None:
    waits: list[float] = []
    source = Feed(*[[item(n), item(n + 1), ConnectionError()] for n in range(0, 400, 10)], [item(n) for n in range(9)])
    list(itertools.islice(live(source, backoff=(0.1, 60.0), sleep=waits.append).episodes(), 10))
    assert waits
    assert max(waits) <= 0.2


def test_a_silent_stream_is_opened_again() -> None:
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
                self.wake.wait(5)
                raise ConnectionError
            yield from (item(n) for n in itertools.count(30))

    source = Silent()
    pipeline = live(source, silence_timeout=0.2)
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
            go_on.wait(10)
            yield from (item(n) for n in range(1, 5))

    pipeline = live(Pausing())
    threading.Timer(0.6, go_on.set).start()
    (window,) = pipeline.episodes()
    assert rows([window]) == [(n, n + 1, n + 1) for n in range(4)]


def test_a_silent_source_that_cannot_be_closed_is_an_error() -> None:
    wake = threading.Event()

    class Deaf:
        def stream(self) -> Iterator[Any]:
            wake.wait(5)
            yield item(0)

    pipeline = live(Deaf(), silence_timeout=0.05)
    with pytest.raises(FeedError, match=r"close\(\)"):
        next(pipeline.episodes())
    wake.set()
    pipeline.teardown()


def test_a_feed_of_which_nothing_can_be_learned_is_named(caplog: pytest.LogCaptureFixture) -> None:
    assert list(live(Feed([what for n in range(200) for what in (item(n), ("bad",))])).episodes()) == []
    assert [record.args for record in caplog.records if "stood alone" in record.msg] == [(64,), (128,)]


def test_numbers_that_begin_anew_have_an_epoch(caplog: pytest.LogCaptureFixture) -> None:
    def connection(**more: Any) -> list[Any]:
        return [*(item(n, numbered=True, **more) for n in range(4)), ConnectionError()]

    pipeline = live(Feed(connection(), connection(), [item(n, numbered=True) for n in range(9)]))
    assert rows([next(pipeline.episodes())]) == [(n, n + 1, n + 1) for n in range(4)]
    pipeline.teardown()
    assert sum("info['epoch']" in record.msg for record in caplog.records) == 1
    caplog.clear()
    pipeline = live(Feed(connection(epoch=1), connection(epoch=2), connection(epoch=3)))
    assert rows([next(pipeline.episodes())]) == [(n, n + 1, n + 1) for n in (0, 1, 2, 0)]
    pipeline.teardown()
    assert not any("info['epoch']" in record.msg for record in caplog.records)


# --- more than can be learned ---


class Burst:
    """Gives `count` items as fast as they are taken; then it is over."""

    is_finite = True

    def __init__(self, count: int, numbered: bool = False) -> None:
        self.count, self.numbered, self.given = count, numbered, threading.Event()

    def stream(self) -> Iterator[Any]:
        for n in range(self.count):
            yield item(n, numbered=self.numbered)
        self.given.set()


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
            source.given.wait(5)
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
@pytest.mark.parametrize("size", [1, 2, 3, 10, 100])
def test_from_a_feed_that_is_always_faster_something_is_learned(overflow: str, numbered: bool, size: int) -> None:
    source = Burst(10**9, numbered)

    class Slow(Counting):
        def act(self, observation: Any) -> Any:
            time.sleep(0.002)  # hundreds of items, and more than the smaller buffers hold
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
                source.given.wait(0.2)
            return super().act(observation)

    with pytest.raises(FeedOverflowError, match="50 items wait"):
        list(live(source, n=5, agent=Waiting(), buffer_size=50, overflow="fail").episodes())


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


class Replayable:
    """Numbered items; each connection breaks off after some, and the next one goes on where it is told."""

    def __init__(self, count: int, breaks_after: int, start: int = 0) -> None:
        self.count, self.breaks_after, self.start = count, breaks_after, start
        self.asked: list[int | None] = []

    def stream(self, after: int | None = None) -> Iterator[Any]:
        self.asked.append(after)
        begin = self.start if after is None else after + 1
        for n in range(begin, min(begin + self.breaks_after, self.count)):
            yield item(n, numbered=True)
        raise ConnectionError


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
                assert given.wait(5)
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


# --- teardown ---


class Blocking:
    def __init__(self, closable: bool) -> None:
        self.wake = threading.Event()
        if closable:
            self.close = self.wake.set

    def stream(self) -> Iterator[Any]:
        yield item(0)
        self.wake.wait()


@pytest.mark.parametrize("numbered", [True, False])
def test_who_is_interrupted_waits_for_no_window_and_can_have_its_items_again(numbered: bool) -> None:
    class Silent(Replayable):
        closed = threading.Event()

        def stream(self, after: int | None = None) -> Iterator[Any]:
            yield from super().stream(after) if numbered else (item(n) for n in range(10))
            self.closed.wait()

        def close(self) -> None:
            self.closed.set()

    source = Silent(10, breaks_after=100)
    pipeline = live(source)
    windows = pipeline.episodes()
    assert [next(windows).length, next(windows).length] == [4, 4]
    threading.Timer(0.05, pipeline.interrupt).start()
    assert list(windows) == []  # the last two items make no window
    assert pipeline.stream_state()["after"] == (7 if numbered else None)
    pipeline.teardown()


def test_a_feed_that_waits_for_actions_finishes_its_window() -> None:
    pipeline = LivePipeline(EnvironmentSource("CartPole-v1"), Counting(lambda n: n % 2), LivePipeline.every_n_steps(4))
    windows = pipeline.episodes()
    next(windows)
    pipeline.interrupt()
    assert next(windows).length == 4
    pipeline.teardown()


@pytest.mark.parametrize("closable", [True, False])
def test_teardown_ends_a_source_that_blocks(closable: bool) -> None:
    source = Blocking(closable)
    pipeline = live(source)
    waiting = threading.Thread(target=lambda: list(pipeline.episodes()), daemon=True)
    waiting.start()
    time.sleep(0.05)
    begun = time.monotonic()
    pipeline.teardown()
    assert time.monotonic() - begun < (1.0 if closable else 1.5)  # a source that cannot be closed is given 0.8 s
    assert bool(feed_threads()) != closable
    source.wake.set()
    waiting.join(2)
    assert not waiting.is_alive()


def closes(count: int) -> tuple[float, int]:
    """Close pipelines in random states; return the slowest, and the threads that are left."""
    rng, slowest = random.Random(0), 0.0
    for _ in range(count):
        kind = rng.randrange(4)
        source: Any = [Burst(10**9), Blocking(True), Feed([ConnectionError()], []), Replayable(10**9, 30)][kind]
        pipeline = live(source, n=5, buffer_size=10, backoff=(0.05, 60.0) if kind == 2 else (0.001, 0.01))
        if kind in (0, 3):
            list(itertools.islice(pipeline.episodes(), rng.randrange(1, 4)))
        else:
            pipeline._opened()
        time.sleep(rng.random() * 0.005)
        begun = time.monotonic()
        pipeline.teardown()
        slowest = max(slowest, time.monotonic() - begun)
    return slowest, len(feed_threads())


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_teardown_from_any_state(count: int) -> None:
    slowest, left = closes(count)
    print(f"slowest of {count} teardowns: {slowest * 1e3:.1f} ms")
    assert slowest < 1.0
    assert left == 0


def test_a_forgotten_pipeline_ends_its_thread() -> None:
    pipeline = live(Burst(10**9))
    next(pipeline.episodes())
    assert feed_threads()
    del pipeline
    gc.collect()
    assert not feed_threads()


@pytest.mark.parametrize("holds_the_lock", [False, True])
def test_a_forgotten_pipeline_may_be_closed_by_its_own_thread(holds_the_lock: bool) -> None:
    ended = threading.Event()

    class Collecting:
        def __init__(self) -> None:
            self.collect: Any = None

        def stream(self) -> Iterator[Any]:
            try:
                for n in itertools.count():
                    yield item(n)
                    if n == 3:
                        with self.lock if holds_the_lock else contextlib.nullcontext():
                            self.collect()
            finally:
                ended.set()

    source = Collecting()
    pipeline = live(source, n=50)
    feed = pipeline._make_feed(pipeline._point)
    source.collect, source.lock = feed.close, feed._intake._lock  # what the collector calls
    feed.start()
    assert ended.wait(5)


def test_it_is_live_and_needs_an_agent() -> None:
    pipeline = LivePipeline(Feed([]))
    assert pipeline.is_live
    with pytest.raises(ContractError, match="no agent"):
        pipeline.setup()


def test_a_break_that_the_source_tells_of() -> None:
    items = [item(0), item(1), BREAK, item(5), item(6), item(7)]
    (window,) = live(Feed(items)).episodes()
    assert rows([window]) == [(0, 1, 1), (5, 6, 6), (6, 7, 7)]


# --- speed ---


@pytest.mark.xdist_group("timing")
@pytest.mark.slow
@pytest.mark.parametrize("numbered", [False, True])
def test_it_keeps_up_with_100_000_items_a_second(numbered: bool) -> None:
    class Endless:
        def stream(self) -> Iterator[Any]:
            observation = np.zeros(4, np.float32)
            for n in itertools.count():
                yield observation, 1.0, False, False, {"sequence": n} if numbered else {}

    pipeline = live(Endless(), n=1000, agent=NumpyAgent())
    pipeline.agent.act = lambda observation: 0  # type: ignore[union-attr, method-assign]
    windows = pipeline.episodes()
    next(windows)
    begun, busy = time.perf_counter(), time.process_time()
    for _ in range(300):
        next(windows)
    wall, busy = 300_000 / (time.perf_counter() - begun), 300_000 / (time.process_time() - busy)
    build, taken = pipeline._builder.window, []

    def timed(*args: Any) -> Any:
        begun = time.perf_counter(), time.thread_time()
        window = build(*args)
        taken.append((time.perf_counter() - begun[0], time.thread_time() - begun[1]))
        return window

    pipeline._builder.window = timed  # type: ignore[method-assign]
    for _ in range(100):
        next(windows)
    hand_over, own = np.median(taken, axis=0) * 1e3
    pipeline.teardown()
    print(
        f"numbered={numbered}: {wall:,.0f} items/s ({busy:,.0f} per CPU second), "
        f"hand-over of a window of 1000 in {own:.2f} ms ({hand_over:.2f} ms beside a source that never pauses)"
    )
    assert busy >= 100_000  # both threads together: others may use the machine
    assert own < 1.0


def test_spaces_and_seeds_are_the_source_s() -> None:
    class Seeded(Feed):
        def seed(self, seed: int) -> None:
            self.seeded = seed

    source = Seeded([item(n) for n in range(5)])
    LivePipeline(source, seed=7)
    assert source.seeded == 7


def test_windows_of_an_ordinary_pipeline_have_the_same_fields() -> None:
    env = gym.make("CartPole-v1")
    theirs = next(iter(BatchPipeline(env, NumpyAgent(), window_size=4, seed=0).episodes()))
    (ours,) = live(Feed([item(n) for n in range(5)])).episodes()
    for name in ("rewards", "terminated", "truncated"):
        assert getattr(ours, name).dtype == getattr(theirs, name).dtype
