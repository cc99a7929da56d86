"""Which action is sent, and what is recorded of it."""

import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.errors import (
    BadDataError,
    FeedFatalError,
    InvalidArgumentError,
)
from tensor_optix.pipeline.environment.environment import ActionScaler
from tensor_optix.pipeline.feed.actions import ActionChannel, ActionGuard, is_finite
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tensor_optix.pipeline.sources.generator_source import GeneratorSource
from tensor_optix.pipeline.sources.replay_source import ReplaySource
from tests.fakes.feeds import Acting, Counting, Feed, balanced, item, live, rows


class Unit(Counting):
    action_range = (-1.0, 1.0)


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
    agent = Unit([good, bad, good, good, good])
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


def test_actions_in_a_range_of_the_agents_own_are_brought_into_the_space() -> None:
    source = Acting([item(n) for n in range(3)], action_space=spaces.Box(0.0, 10.0, (1,)))
    (window,) = live(source, n=2, agent=Unit([np.array([0.5]), np.array([7.0]), np.zeros(1)])).episodes()
    assert [float(action[0]) for action in source.applied] == [7.5, 10.0, 5.0]
    assert window.actions[:, 0].tolist() == [0.5, 7.0]


@pytest.mark.parametrize("action", [30.0, [30.0], np.array([30.0]), np.array([30], np.int64), np.float32(30)])
def test_other_actions_are_sent_as_the_very_objects_that_the_agent_returned(action: Any) -> None:
    source = Acting([item(n) for n in range(3)], action_space=spaces.Box(0.0, 100.0, (1,)))
    (window,) = live(source, n=2, agent=Counting([action] * 3)).episodes()
    assert all(sent is action for sent in source.applied)
    assert window.actions.reshape(-1).tolist() == [30.0, 30.0]


@pytest.mark.parametrize("action", [100.5, np.array([-0.5]), np.zeros(2), np.array(["30"]), {"valve": 30.0}])
def test_other_actions_outside_the_space_are_neither_clipped_nor_sent(action: Any) -> None:
    source = Acting([item(n) for n in range(3)], action_space=spaces.Box(0.0, 100.0, (1,)))
    with pytest.raises(BadDataError, match="not finite or not inside"):
        list(live(source, agent=Counting([action])).episodes())
    assert source.applied == []


def test_dicts_and_tuples_of_actions_are_sent_and_recorded_as_they_are() -> None:
    space = spaces.Dict({"valve": spaces.Box(0.0, 100.0, (2,)), "pump": spaces.Tuple([spaces.Discrete(3)])})
    action = {"valve": np.array([30.0, 40.5]), "pump": (2,)}
    source = Acting([item(n) for n in range(3)], action_space=space)
    (window,) = live(source, n=2, agent=Counting([action] * 3)).episodes()
    assert all(sent is action for sent in source.applied)
    assert window.actions["valve"].tolist() == [[30.0, 40.5]] * 2
    assert window.actions["pump"][0].tolist() == [2, 2]


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
    def broken() -> Broken:
        return Broken([item(n) for n in range(9)], error=error, numbers=(2,))

    waits = GeneratorSource(broken()) if isinstance(error, OSError) else broken()
    for source, options in ((waits, {}), (broken(), {"reconnect_on_disconnect": False})):
        pipeline = live(source, **options)
        with pytest.raises(FeedFatalError, match=r"apply\(2\) raised") as caught:
            list(pipeline.episodes())
        assert caught.value.__cause__ is error
        pipeline.teardown()


class Tensor:
    """What a framework returns: numbers that numpy can read."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __repr__(self) -> str:
        return f"Tensor({self.values})"  # the names of tests must not depend on the process

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype)

    def __int__(self) -> int:
        return int(self.values)


@pytest.mark.parametrize(
    ("space", "action"),
    [
        (spaces.Discrete(3), Tensor(2)),
        (spaces.Discrete(2), np.True_),
        (spaces.Discrete(3, start=5), Tensor(6)),
        (spaces.MultiDiscrete([3, 4]), Tensor([2, 3])),
        (spaces.MultiBinary(2), Tensor([True, False])),
        (spaces.Dict(a=spaces.Discrete(3), b=spaces.Box(0.0, 9.0, (2,))), {"a": Tensor(1), "b": Tensor([1.0, 8.0])}),
    ],
    ids=str,
)
def test_choices_of_any_kind_of_number_are_sent_as_they_are(space: Any, action: Any) -> None:
    source = Acting([item(n) for n in range(5)], action_space=space)
    list(live(source, agent=Counting(lambda _: action)).episodes())
    sent = source.applied[0]
    assert sent is action


@pytest.mark.parametrize("action", [Tensor(3), Tensor(0.5), np.float32(1.0), Tensor([1, 1])], ids=str)
def test_what_is_no_choice_of_the_space_is_not_sent(action: Any) -> None:
    source = Acting([item(n) for n in range(5)], action_space=spaces.Discrete(3))
    with pytest.raises(BadDataError, match="safe_action"):
        list(live(source, agent=Counting([action])).episodes())


# --- the guard and the channel alone ---

BOX = spaces.Box(np.float32([-1.0, 0.0]), np.float32([1.0, 2.0]))
BOTH = spaces.Dict(a=spaces.Discrete(3), b=spaces.Box(0.0, 9.0, (2,)))
PAIR = spaces.Tuple([spaces.Discrete(2), spaces.Box(0.0, 1.0, (1,))])


def test_a_guard_needs_no_space() -> None:
    guard = ActionGuard(None, safe_action=0)
    assert guard.has_safe_action
    assert guard(3) == (3, 3)
    assert guard(math.nan) == (0, 0)
    assert guard.safe_actions == 1


@pytest.mark.parametrize(
    ("action", "is_so"),
    [
        (1.0, True),
        (math.inf, False),
        ({"a": 1.0, "b": [1.0, math.nan]}, False),
        ({"a": 1.0, "b": [1.0, 2.0]}, True),
        (([1.0], [1.0, 2.0]), True),
        (([1.0], [1.0, math.nan]), False),
        ((1.0, {"a": math.nan}), False),
        ((1.0, {"a": 2.0}), True),
        ("text", True),
        (np.array([1, 2]), True),
        (np.array([1j, complex(math.inf)]), False),
    ],
)
def test_numbers_are_finite_at_any_depth(action: Any, is_so: bool) -> None:
    assert is_finite(action) is is_so


@pytest.mark.parametrize(
    ("space", "action", "is_allowed"),
    [
        (spaces.Discrete(3, start=5), 5, True),
        (spaces.Discrete(3, start=5), 7, True),
        (spaces.Discrete(3, start=5), 4, False),
        (spaces.Discrete(3, start=5), 8, False),
        (spaces.Discrete(3), None, False),
        (spaces.MultiDiscrete([2, 3]), [1, 2], True),
        (spaces.MultiDiscrete([2, 3]), [2, 2], False),
        (spaces.MultiDiscrete([2, 3]), [1.0, 2.0], False),
        (BOX, np.float64([-1.0, 2.0]), True),
        (BOX, [1.0, 0.0], True),
        (BOX, np.float32([1.5, 1.0]), False),
        (BOX, np.float32([0.0, -0.5]), False),
        (BOX, np.float32([0.0, math.nan]), False),
        (BOX, np.float32([0.0]), False),
        (BOX, np.array([1j, 0]), False),
        (spaces.Box(0, 9, (1,), np.int64), 3, True),
        (spaces.Box(0, 9, (1,), np.int64), 3.5, False),
        (spaces.Box(0.0, 9.0, (1,)), [[3.0]], True),
        (spaces.Box(0.0, 9.0, (2,)), 3.0, False),
        (BOTH, {"a": 1, "b": [1.0, 2.0]}, True),
        (BOTH, {"a": 1}, False),
        (BOTH, {"a": 1, "b": [1.0, 2.0], "c": 0}, False),
        (BOTH, {"a": 3, "b": [1.0, 2.0]}, False),
        (BOTH, {"a": 1, "b": [1.0, 10.0]}, False),
        (BOTH, 3, False),
        (PAIR, (1, [0.5]), True),
        (PAIR, (1,), False),
        (PAIR, (1, [0.5], 0), False),
        (PAIR, (2, [0.5]), False),
        (PAIR, (1, [1.5]), False),
        (spaces.Text(3), "abc", True),
        (spaces.Text(3), "abcd", False),
        (spaces.Text(3), 1.0, False),
    ],
)
def test_only_what_is_inside_the_space_is_sent(space: Any, action: Any, is_allowed: bool) -> None:
    guard = ActionGuard(space)
    guard.connect(ActionScaler(None))  # as it is, whatever the agent makes of it
    assert not guard.has_safe_action
    if is_allowed:
        assert guard(action)[1] is action
    else:
        with pytest.raises(BadDataError, match="is not finite or not inside"):
            guard(action)


@pytest.mark.parametrize(
    ("space", "safe"), [(BOX, [0.0, 3.0]), (BOX, [0.0]), (spaces.Discrete(2), 2), (None, math.nan)]
)
def test_a_safe_action_is_one_that_may_be_sent(space: Any, safe: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="safe_action must be finite and inside"):
        ActionGuard(space, safe)


def test_safe_actions_are_counted_and_logged_less_and_less(caplog: pytest.LogCaptureFixture) -> None:
    guard = ActionGuard(spaces.Discrete(3), safe_action=0)
    with caplog.at_level(logging.WARNING):
        assert [guard(2, is_late=True)[1] for _ in range(9)] == [0] * 9
    told = [record.getMessage() for record in caplog.records]
    assert [int(text.partition("(")[2].partition(")")[0]) for text in told] == [1, 2, 4, 8]
    assert told[0].endswith("it was late")
    assert (guard(2)[1], guard(3)[1], guard.safe_actions) == (2, 0, 10)


@pytest.mark.parametrize("action", [3, None, "text", {"a": 1}, [1, 2]])
def test_an_action_of_another_form_than_the_spaces_is_not_sent(action: Any) -> None:
    safe = {"a": 0, "b": np.zeros(2, np.float32)}
    for space, instead in ((BOTH, safe), (PAIR, (0, np.zeros(1, np.float32)))):
        guard = ActionGuard(space, instead)
        assert guard(action)[1] is instead
        assert guard.safe_actions == 1


@pytest.mark.parametrize(("safe", "deadline"), [(None, 1.0), (0, 0), (0, -1.0), (0, math.nan), (0, True), (0, "1")])
def test_a_deadline_needs_seconds_and_a_safe_action(safe: Any, deadline: Any) -> None:
    guard = ActionGuard(spaces.Discrete(3), safe)
    with pytest.raises(InvalidArgumentError, match="action_deadline must be a positive number of seconds"):
        guard.checked_deadline(deadline)
    assert guard.checked_deadline(None) is None
    assert ActionGuard(spaces.Discrete(3), 0).checked_deadline(0.5) == 0.5


def test_actions_that_cannot_be_sent_are_counted_and_logged_less_and_less(caplog: pytest.LogCaptureFixture) -> None:
    source = Broken([], error=ConnectionResetError(), numbers=tuple(range(9)))
    channel = ActionChannel(source, (OSError,))
    with caplog.at_level(logging.WARNING):
        assert [channel(n) for n in range(10)] == [False] * 9 + [True]
    assert (channel.is_there, channel.unsent) == (True, 9)
    told = [int(record.getMessage().partition("(")[2].split()[0]) for record in caplog.records]
    assert told == [1, 2, 4, 8]


def test_a_source_that_takes_no_actions_is_sent_none() -> None:
    channel = ActionChannel(Feed([]), (OSError,))
    assert not channel.is_there
    assert channel(3)
    assert channel.unsent == 0
