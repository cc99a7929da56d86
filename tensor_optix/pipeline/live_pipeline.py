"""Windows from a feed that does not wait, breaks off, and goes on."""

import os
import random
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tensor_optix.core.base_agent import BaseAgent, Seedable
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.types import Action, EpisodeData
from tensor_optix.errors import BadDataError
from tensor_optix.pipeline._items import BREAK, Break, Malformed
from tensor_optix.pipeline.environment.environment import check_agent_fits
from tensor_optix.pipeline.feed.acting import LiveActing
from tensor_optix.pipeline.feed.boundaries import Boundary, BoundaryFn, EveryNSeconds, EveryNSteps, OnDoneSignal
from tensor_optix.pipeline.feed.feed import Checked, Feed, FeedOptions, ResumePoint
from tensor_optix.pipeline.feed.reader import TRANSIENT, DataSource, check_source
from tensor_optix.pipeline.feed.recording import SessionRecorder
from tensor_optix.pipeline.feed.stream import Acted, Taken, stream_builder
from tensor_optix.support.optional import require
from tensor_optix.support.plain import SavedState


class LivePipeline(BasePipeline):
    """Reads a feed in a thread of its own, acts on each item, and cuts what comes of it into windows.

    `data_source.stream()` yields `(observation, reward, terminated, truncated, info)`: the reward is that of the action
    sent after the item before. `data_source.apply(action)`, where there is one, receives each action. A source that
    numbers its items in `info["sequence"]` and takes `stream(after=number)` is read exactly once, also across a crash
    (`stream_state`, `restore_stream`); one that only numbers them has every gap counted. One with `is_finite` may end.
    One with `is_lockstep` waits for each action: the time that the agent learns is then in no window. A source that
    does not wait runs ahead of the agent: `GeneratorSource` makes any source wait.

    Every window's `metadata` counts, since the beginning: `received` (each item once) = `learned` + `dropped` +
    `quarantined` + `buffered`; `reconnects`; `gaps` (numbers that never came); `late` (came after their gap was
    declared; among the dropped); `duplicates` (in no other count); `safe_actions`; `unsent_actions`; `stale_decisions`
    (the source had given the next item before the action was sent). Its `breaks` are the rows before which items are
    missing: nothing is learned across them.

    Args:
        data_source: what to read.
        agent: the acting policy; `RLOptimizer` fills it in.
        episode_boundary_fn: `(step_count, elapsed_seconds, observation) -> bool` ends a window, also one of
            `every_n_steps`, `every_n_seconds`, `on_done_signal`; None = `every_n_steps(200)`.
        buffer_size: items that may wait while the agent learns.
        reconnect_on_disconnect: open the stream again when it ends or fails by an error of `transient`.
        overflow: what a full buffer does: "block" the source, "drop_oldest" or "drop_newest" (half of it), or "fail".
        reward_timing: "next", or "same" where logs have each reward beside its own action.
        safe_action: what is sent when the agent's action is not finite, not in the source's `action_space`, or late.
        action_deadline: seconds from an item's arrival after which the agent's action is late; None = never.
        silence_timeout: seconds without an item after which the stream is opened again; None = silence is no failure.
        max_item_bytes: of one observation.
        reorder: (items, seconds) that an item waits for those numbered before it.
        backoff: (low, high) seconds between tries; exponential with full jitter.
        transient: kinds of errors after which the stream is opened again; an `apply` that raises one sent nothing.
        record: file ("*.jsonl.zst") to which the session is appended, for `ReplaySource`.
        seed: of the source, where it can be seeded.
        clock: seconds, monotonic.
        sleep: waits between tries; None waits in real time, and no longer than until teardown.
        rng: of the jitter.

    Raises:
        ContractError: a source without `stream`, or with `is_lockstep` and no `apply`, or a boundary that is no
            function.
        InvalidArgumentError: an argument breaks its rule.
        MissingDependencyError: zstandard (to record) is not installed.
    """

    is_live = True
    every_n_steps = EveryNSteps
    every_n_seconds = EveryNSeconds
    on_done_signal = OnDoneSignal

    def __init__(
        self,
        data_source: DataSource | Any,
        agent: BaseAgent | None = None,
        episode_boundary_fn: BoundaryFn | None = None,
        buffer_size: int = 1000,
        reconnect_on_disconnect: bool = True,
        *,
        overflow: str = "block",
        reward_timing: str = "next",
        safe_action: Action = None,
        action_deadline: float | None = None,
        silence_timeout: float | None = None,
        max_item_bytes: int = 1 << 20,
        reorder: tuple[int, float] = (64, 0.2),
        backoff: tuple[float, float] = (0.1, 60.0),
        transient: tuple[type[BaseException], ...] = TRANSIENT,
        record: str | os.PathLike[str] | None = None,
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        check_source(data_source)
        self.data_source, self.agent = data_source, agent
        self._boundary = Boundary(EveryNSteps(200) if episode_boundary_fn is None else episode_boundary_fn)
        kinds = transient if reconnect_on_disconnect else ()
        self._acting = LiveActing(data_source, kinds, safe_action, action_deadline, clock)
        self._wiring = self._acting.wiring
        self._is_lockstep = bool(getattr(data_source, "is_lockstep", False))
        stacks = self._wiring.stacked_observations, self._wiring.stacked_actions
        self._make_builder = partial(stream_builder(reward_timing), getattr(data_source, "is_episodic", None), *stacks)
        options = FeedOptions(
            buffer_size=buffer_size,
            overflow=overflow,
            max_item_bytes=max_item_bytes,
            reorder=reorder,
            reconnect=bool(reconnect_on_disconnect),
            backoff=backoff,
            transient=transient,
            silence_timeout=silence_timeout,
        )
        jitter = rng if rng is not None else random.Random(seed)  # noqa: S311
        self._make_feed = partial(Feed, data_source, options, clock=clock, sleep=sleep, rng=jitter)
        self._clock = clock
        self._record = None if record is None else Path(record).absolute()  # the process may go elsewhere meanwhile
        if record is not None:
            require("zstandard", "LivePipeline(record=...)", "live")
        self._close: Callable[[], object] = lambda: None
        self._point = ResumePoint()
        self._forget_feed()
        if seed is not None:
            self.seed(seed)

    def _forget_feed(self) -> None:
        self._feed: Feed | None = None
        self._recorder: SessionRecorder | None = None
        self._stash: Checked | None = None
        """What the next window begins with."""
        self._last: Checked | None = None
        self._window_began: float | None = None
        self._builder = self._make_builder()
        self._acting.begin_episode()

    def seed(self, seed: int) -> None:
        """Seed the source, where it can be seeded."""
        if isinstance(self.data_source, Seedable) and callable(self.data_source.seed):
            self.data_source.seed(seed)

    def setup(self) -> None:
        """Check that the agent fits what the source says of itself."""
        self._checked_agent()

    def episodes(self) -> Iterator[EpisodeData]:
        """Yield windows for as long as the feed lasts.

        Raises:
            FeedFatalError: the feed ended, or `apply` failed, by an error that another try does not cure.
            ContractError: `episode_boundary_fn` raised, or never ends a window; or a source with `is_lockstep` does
                not wait.
            BadDataError: the agent's action must not be sent, and there is no `safe_action`.
        """
        agent, feed = self._checked_agent(), self._opened()
        while self._feed is feed and (window := self._collect(agent, feed)) is not None:
            yield window
            self._acting.connect(agent)

    def interrupt(self) -> None:
        """Wait no longer for the window in progress; it is in no stream state, so its items can be asked for again.

        A source that waits for each action is not waited for: its window is finished.
        """
        if self._feed is not None and not self._is_lockstep:
            self._feed.interrupt()

    def teardown(self) -> None:
        """Stop reading, within a second; what was read and not learned is forgotten."""
        if self._feed is not None:
            self._close()
            self._forget_feed()

    def stream_state(self) -> dict[str, Any]:
        """Return where the feed stands after the last window, as plain JSON values."""
        acting = self._acting.state()
        return self._point.to_dict() if acting is None else {**self._point.to_dict(), "acting": acting}

    def restore_stream(self, state: SavedState) -> None:
        """Go on from what `stream_state` returned; before the first window.

        A replayable source goes on with the next item; of another one that numbers its items, the gap is counted.

        Raises:
            CheckpointMismatchError: it is no such state.
        """
        self._point = ResumePoint.from_dict(state)
        # Items without numbers may have been missed meanwhile.
        self._acting.restore(None if self._point.after is None else state.get("acting"))

    def _checked_agent(self) -> BaseAgent:
        self._acting.connect(agent := check_agent_fits(self.agent))
        return check_agent_fits(agent, self._wiring.form.space, self._wiring.action_space)

    def _opened(self) -> Feed:
        feed = self._feed  # another thread may tear it down as soon as it is there, or while `episodes` waits
        if feed is None:
            feed = self._make_feed(self._point)
            self._acting.restart_counts()
            space = self._wiring.observation_space
            self._recorder = None if self._record is None else SessionRecorder(self._record, space)
            self._close, self._feed = weakref.finalize(self, _close, feed, self._recorder), feed
            feed.start()
        return feed

    # --- one window ---

    def _collect(self, agent: BaseAgent, feed: Feed) -> EpisodeData | None:
        recorder, act = self._recorder, partial(self._act, agent)
        if self._stash is not None:
            item, self._stash = self._acting.as_seen(self._stash), None
            self._window_began = self._began_after_hold(item)
            taken = self._builder.begin(item, act, self._ends)
            self._acting.follow(item)
            if taken is Taken.ENDS:
                return self._window(feed, item)
        while (item := feed.take()) is not None:
            if not isinstance(item, Checked):
                self._cut(item)
                continue
            if recorder is not None:
                recorder.item(*item[:6])
            self._last = item = self._acting.as_seen(item)
            taken = self._builder.take(item, act, self._ends)
            if taken is Taken.ENDS_BEFORE:
                self._stash = item  # it is acted on when the agent has learned
            else:
                self._acting.follow(item)
            if taken is not Taken.GOES_ON:
                return self._window(feed, item)
        if feed.is_interrupted:
            return None
        self._builder.abandon()
        return self._window(feed, self._last) if len(self._builder) and self._last is not None else None

    def _ends(self, item: Checked, is_over: bool) -> bool:
        began = item.arrival if self._window_began is None else self._window_began
        return self._boundary(len(self._builder), item.arrival - began, item.observation, is_over)

    def _began_after_hold(self, item: Checked) -> float:
        """Return from when the seconds of a window count whose first item was held while the agent learned."""
        began = item.arrival
        if item.acted is not None:
            began = item.acted
        elif self._is_lockstep:
            began = self._clock()
        if self._recorder is not None and began != item.arrival:
            self._recorder.acted(began)
        return began

    def _act(self, agent: BaseAgent, item: Checked) -> Acted:
        memories = self._acting.memories_of(agent)
        action, is_sent = self._acting.act(agent, item, self._recorder, self._feed)
        if self._window_began is None:
            self._window_began = item.arrival
        final = self._acting.final_of(item)
        acted = Acted(item.seen, action, item.reward, item.info, item.mask, final, memories)
        self._builder.act(acted)
        if not is_sent and self._builder.needs_sent_actions:
            self._cut(BREAK)  # what comes now does not come of this action
        return acted

    def _cut(self, why: Break | Malformed) -> None:
        """Break the stream here: what follows does not follow from what was done."""
        self._builder.cut()
        self._acting.begin_episode()
        if not len(self._builder):
            self._window_began = None  # what was acted on is in no window
        if self._recorder is not None:
            self._recorder.broken()
        if not isinstance(why, Malformed) or (self._is_lockstep and why.is_over):  # no action is waited for
            return
        if not self._acting.send_safe_action(why.reason) and self._is_lockstep:
            raise BadDataError(
                f"{type(self.data_source).__name__} gave an item that cannot be acted on: {why.reason}. It waits for "
                f"an action: give LivePipeline(safe_action=...) what to send in such a case."
            )

    def _window(self, feed: Feed, following: Checked) -> EpisodeData:
        """Return the window; `following` is what follows its last step."""
        number, is_held, builder = self._point.next_window_id, self._stash is not None, self._builder
        counts = feed.counts(builder.learned, builder.isolated, self._acting.counts(), held=is_held)
        self._point, self._window_began = feed.resume_point(counts, number + 1, self._last, is_held=is_held), None
        self._acting.end_window(number)
        if self._recorder is not None:
            self._recorder.window(number)
        return builder.window(number, following.seen, following.mask, counts)


def _close(feed: Feed, recorder: SessionRecorder | None) -> None:  # no method, which would keep the pipeline alive
    try:
        feed.close()
    finally:
        if recorder is not None:
            recorder.close()
