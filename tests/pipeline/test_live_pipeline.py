"""Windows from a live feed, and how the pipeline ends."""

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import BatchPipeline, EpisodeReturnEvaluator
from tensor_optix.errors import (
    ContractError,
    MissingDependencyError,
)
from tensor_optix.pipeline.feed.feed import Feed as FeedReader
from tensor_optix.pipeline.feed.stream import StreamBuilder
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tensor_optix.pipeline.sources.environment_source import EnvironmentSource
from tests.fakes.feeds import Acting, Burst, Counting, Feed, Replayable, balanced, item, live, rows
from tests.helpers import NumpyAgent

# --- windows ---


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


def test_a_missing_package_is_missed_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'tensor-optix-core\[live\]'"):
        LivePipeline(Feed([]), record=str(tmp_path / "session.jsonl.zst"))
    LivePipeline(Feed([]))


# --- a source that does not wait ---


class Hasty(Burst):
    """Gives everything before the first action."""

    def apply(self, action: Any) -> None: ...


class Late(Counting):
    """Acts when its source has given everything."""

    def __init__(self, source: Burst) -> None:
        super().__init__()
        self.source = source

    def act(self, observation: Any) -> Any:
        assert self.source.given.wait(60)
        return super().act(observation)


def test_decisions_behind_the_source_are_counted_and_spoken_of_once(caplog: pytest.LogCaptureFixture) -> None:
    source = Hasty(300)
    windows = list(live(source, n=100, agent=Late(source)).episodes())
    assert [window.metadata["stale_decisions"] for window in windows][:2] == [100, 200]
    assert sum("decisions were stale" in record.msg for record in caplog.records) == 1


def test_a_source_that_only_says_that_it_waits_is_not_believed() -> None:
    class Boaster(Hasty):
        is_lockstep = True

    source = Boaster(300)
    with pytest.raises(ContractError, match="Boaster says is_lockstep = True"):
        next(live(source, n=100, agent=Late(source)).episodes())


def test_one_whose_stream_has_ended_since_is_not_believed_either() -> None:
    class Boaster(Hasty):
        is_lockstep = True
        is_finite = False
        opened = 0

        def stream(self) -> Any:
            self.opened += 1
            if self.opened > 1:
                self.given.set()
                return
            yield from (item(n) for n in range(30))

    source = Boaster(30)
    with pytest.raises(ContractError, match="Boaster says is_lockstep = True"):
        next(live(source, n=10, agent=Late(source)).episodes())


# --- interrupt and set up ---


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


def test_one_that_is_torn_down_while_it_opens_yields_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    start, pipeline = FeedReader.start, live(Feed([item(n) for n in range(9)]))

    def torn_down_at_once(self: FeedReader) -> None:  # as by another thread
        start(self)
        pipeline.teardown()

    monkeypatch.setattr(FeedReader, "start", torn_down_at_once)
    assert list(pipeline.episodes()) == []
    monkeypatch.undo()
    assert next(pipeline.episodes()).length == 4
    pipeline.teardown()


def test_it_is_live_and_needs_an_agent() -> None:
    pipeline = LivePipeline(Feed([]))
    assert pipeline.is_live
    with pytest.raises(ContractError, match="no agent"):
        pipeline.setup()


# --- speed ---


@pytest.mark.xdist_group("timing")
@pytest.mark.slow
@pytest.mark.parametrize("numbered", [False, True])
def test_it_keeps_up_with_a_source_that_never_pauses(
    numbered: bool, monkeypatch: pytest.MonkeyPatch, timing: Any
) -> None:
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
    assert [next(windows).length for _ in range(300)] == [1000] * 300
    wall, busy = 300_000 / (time.perf_counter() - begun), 300_000 / (time.process_time() - busy)
    build, taken = StreamBuilder.window, []

    def timed(*args: Any) -> Any:
        begun = time.perf_counter(), time.thread_time()
        window = build(*args)
        taken.append((time.perf_counter() - begun[0], time.thread_time() - begun[1]))
        return window

    monkeypatch.setattr(StreamBuilder, "window", timed)
    last = [next(windows) for _ in range(100)][-1]
    assert last.metadata["dropped"] == 0  # the source waits for the learner, and nothing is lost
    hand_over, own = np.median(taken, axis=0) * 1e3
    pipeline.teardown()
    measured = f"{busy:,.0f} ({wall:,.0f} by the clock), {own:.2f} ms ({hand_over:.2f} by the clock)"
    promised = f"numbered={numbered}: >= 100,000 items per CPU second, hand-over of a window of 1000 in < 1 ms"
    timing("live speed", promised, measured, busy >= 100_000 and own < 1.0)


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


def test_windows_end_with_the_pipeline_that_they_are_of() -> None:
    source = Feed([item(n) for n in range(99)])
    pipeline = live(source)
    windows = pipeline.episodes()
    next(windows)
    pipeline.teardown()
    assert list(windows) == []
    assert source.opened == 1
