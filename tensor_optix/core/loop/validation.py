"""Scoring a policy on held-out windows, one after the other, within a budget that all of them share."""

import itertools
import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from tensor_optix.core.agent_memory import on_a_copy_of_memory
from tensor_optix.core.base_agent import BaseAgent, GreedyAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline, Boundable, CutsEpisodes, PlaysSeeds
from tensor_optix.core.decisions.repetition import Repetition, starts_of
from tensor_optix.core.decisions.validation_budget import ValidationSpent, is_slow
from tensor_optix.core.faults import CUT_EPISODES, PlayStoppedError
from tensor_optix.core.loop.further_windows import FurtherWindows
from tensor_optix.core.loop.step_timer import StepTimer
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.errors import BadDataError, TensorOptixError
from tensor_optix.support.preserving import Leftover

logger = logging.getLogger(__name__)

MOST_STARTS = 64
"""So many first observations of training's episodes are remembered."""
_ALIKE = (
    "Every validation episode so far was the same, step for step (%d of %d steps each), and no seed has changed that. "
    "In a simulator without chance this is as it should be: one episode tells all. If the environment replays recorded "
    "data, validation plays the very rows that the agent learns from, and its scores say nothing about new data: cut "
    "the data by time with tensor_optix.split_by_time. See docs/data.md; this is said once."
)
_SLOW = (
    "A step of validation takes %.2g s, so none are free: validation takes at most its share of the steps from the "
    "beginning. It is measured once, and a seed may go another way on a machine of another speed."
)


class Validation:
    """The validation pipeline of a run, asked for windows as they are needed.

    Args:
        pipeline: where the agent acts and does not learn; None = nothing is held out.
        evaluator: what scores the windows.
        is_stopped: True as soon as validation is to be left between two steps, where the pipeline can be (`Boundable`).
        clock: monotonic seconds.
    """

    def __init__(
        self,
        pipeline: BasePipeline | None,
        evaluator: BaseEvaluator,
        is_stopped: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pipeline = pipeline
        self._evaluator = evaluator
        self._is_stopped = is_stopped
        self._timer = StepTimer(clock)
        if isinstance(pipeline, Boundable):
            pipeline.bound(None, self._between_steps(is_stopped))
        self._counted = _Counted(pipeline, self._timer, self._count) if isinstance(pipeline, PlaysSeeds) else None
        self.spent = ValidationSpent()
        """What it has cost so far."""
        self.newest: EpisodeData | None = None
        """The window that was scored last."""
        self.repetition = Repetition()
        """How far its episodes were alike."""
        self._starts: set[bytes] = set()
        """First observations of episodes of training."""
        self.is_repetitive = False
        """True once it has been said that all its episodes are the same as training's."""
        self.ahead: Callable[[], EpisodeData | None] | None = None
        """Returns the episodes of the next score where they were played beside training (`beside`)."""
        self._windows: Iterator[EpisodeData] | None = None
        self._since_opened, self._windows_per_pass = 0, 0
        self._agent: BaseAgent | None = None
        """The agent that acts in them."""
        self._remembered: Leftover | None = None
        """What it remembers of an episode that goes on in the next of them."""

    @property
    def is_there(self) -> bool:
        """True where something is held out."""
        return self._pipeline is not None

    @property
    def seeded(self) -> PlaysSeeds | None:
        """The pipeline, if its episodes are fixed by seeds: only then can policies be compared on the same ones."""
        return self._counted

    @contextmanager
    def bounded(self, max_steps: int | None, is_stopped: Callable[[], bool] | None = None) -> Generator[None]:
        """Let the block play with episodes of at most so many steps; one that is broken off has not played at all.

        Args:
            max_steps: of an episode; None = no bound.
            is_stopped: when it is to be left, in place of what the whole run is left for.

        Raises:
            PlayStoppedError: validation was to be left. The seeds and what is spent stand where they stood before, so
                that the same is played again.
        """
        pipeline = self._pipeline
        if not isinstance(pipeline, Boundable):
            yield
            return
        spent, stream = self.spent, pipeline.stream_state()
        pipeline.bound(max_steps, self._between_steps(is_stopped or self._is_stopped))
        try:
            yield
        except PlayStoppedError:
            pipeline.restore_stream(stream)
            self.spent, self._windows = spent, None
            raise
        finally:
            pipeline.bound(None, self._between_steps(self._is_stopped))

    def _between_steps(self, is_stopped: Callable[[], bool]) -> Callable[[], bool]:
        """Return what is asked between steps: whether to stop, with the step timed."""

        def asked() -> bool:
            self._timer.tick()
            return is_stopped()

        return asked

    @contextmanager
    def cut_at(self, most_steps: int) -> Generator[None]:
        """Let the block cut its episodes after so many steps at most, where the pipeline can."""
        pipeline = self._pipeline
        if not isinstance(pipeline, CutsEpisodes):
            yield
            return
        usual = pipeline.max_episode_steps
        pipeline.max_episode_steps = min(usual, most_steps)
        try:
            yield
        finally:
            pipeline.max_episode_steps = usual

    def further(self) -> PlaysSeeds | None:
        """Return the further windows of a pipeline whose episodes are not fixed by seeds; None where it gives none.

        To see whether they are other ones, the policy in hand plays a few. A feed that does not end is not waited for.
        """
        if self._pipeline is None or self._pipeline.is_live:
            return None
        further = FurtherWindows(self._next)
        try:
            again = further.repeat(self._windows_per_pass + 1)
        except BadDataError as error:
            logger.info("The best stays unconfirmed: %s", error)
            return None
        if again is None:
            return further
        logger.info("The best stays unconfirmed: val_pipeline gives the same episodes again.")
        if self._starts & set(starts_of(again, is_new=True)):
            self._tell(max(len(again.completed_episodes()), 1), again.length)
        return None

    def compare_with(self, window: EpisodeData) -> None:
        """Remember how the episodes of a training window begin, as those of validation may begin alike."""
        if len(self._starts) < MOST_STARTS and not self.is_repetitive:
            self._starts.update(starts_of(window, is_new=window.episode_id == 0))

    def put_off(self, *, by_clock: bool) -> None:
        """Count a window in which an evaluation was due and could not be afforded.

        Args:
            by_clock: True if it was for the time and not for the steps.
        """
        spent = self.spent
        self.spent = replace(spent, put_off=spent.put_off + 1, by_clock=spent.by_clock + by_clock)

    def _count(self, window: EpisodeData) -> None:
        self._timer.end(window.length)
        step_seconds = self._timer.step_seconds
        if self.spent.is_slow is None and step_seconds is not None:
            self.spent = replace(self.spent, is_slow=is_slow(step_seconds))
            if self.spent.is_slow:
                logger.info(_SLOW, step_seconds)
        self._note(window)

    def _note(self, window: EpisodeData) -> None:
        cut = int(window.metadata.get(CUT_EPISODES, 0))
        self.spent = replace(self.spent, steps=self.spent.steps + window.length, cut=self.spent.cut + cut)
        self.repetition = self.repetition.seen(window)
        if self.repetition.is_certain and (self.seeded or self._starts & set(starts_of(window, is_new=True))):
            self._tell(self.repetition.episodes, self.repetition.length)

    def _tell(self, episodes: int, length: int) -> None:
        if not self.is_repetitive:
            self.is_repetitive = True
            logger.warning(_ALIKE, episodes, length)

    def score(self) -> EvalMetrics:
        """Score the next window; a pipeline that has run out starts over.

        Raises:
            TensorOptixError: it yields nothing.
        """
        window = self._played_ahead() or self._next()
        self.newest, self.spent = window, replace(self.spent, newest=window.length)
        return self._evaluator.score_validation(window)

    def following(self) -> list[int]:
        """Return the seeds of the next score's episodes without spending them, where seeds fix them."""
        assert self._pipeline is not None and self._counted is not None  # noqa: S101, PT018 - the caller has looked
        stream, seeds = self._pipeline.stream_state(), self._counted.fresh_seeds()
        self._pipeline.restore_stream(stream)
        return seeds

    def _played_ahead(self) -> EpisodeData | None:
        """Return the next window where somebody has played it; the stream goes on as if it had been played here."""
        window, self.ahead = None if self.ahead is None else self.ahead(), None
        if window is not None and self._pipeline is not None and self._counted is not None:
            self._counted.fresh_seeds()
            stream = self._pipeline.stream_state()
            window = replace(window, episode_id=stream["window_id"])
            self._pipeline.restore_stream({**stream, "window_id": window.episode_id + 1})
            self._note(window)
        return window

    def _next(self) -> EpisodeData:
        assert self._pipeline is not None  # noqa: S101 - for the type checker; the caller has looked
        if self._pipeline.agent is not self._agent:  # an iterator may hold an agent that no longer acts
            self._windows, self._agent, self._remembered = None, self._pipeline.agent, None
        for _ in range(2):
            if self._windows is None:
                self._windows, self._since_opened = iter(self._pipeline.episodes()), 0
                self._remembered = None
            for window in self._next_window(self._windows):
                self._since_opened += 1
                self._count(window)
                return window
            self._windows, self._windows_per_pass = None, self._since_opened
        raise TensorOptixError(
            f"{type(self._pipeline).__name__}.episodes() yields nothing; validation needs at least one window. "
            f"Give it data, or pass val_pipeline=None."
        )

    def _next_window(self, windows: Iterator[EpisodeData]) -> list[EpisodeData]:
        """Return the next window in a list, which is empty where there is none; the training notices nothing of it."""
        self._timer.begin()
        acting = None if self._pipeline is None else self._pipeline.agent
        if acting is None:
            return list(itertools.islice(windows, 1))
        with on_a_copy_of_memory(acting, self._remembered) as preserved:
            found = list(itertools.islice(windows, 1))
        is_over = all(window.dones[window.segment_ends()].all() for window in found)
        self._remembered = None if is_over else preserved.leftover
        return found

    def scores_alone(self, agents: Sequence[BaseAgent]) -> list[EvalMetrics]:
        """Score each agent by itself, on the same fresh episodes; nothing where episodes are not fixed by seeds."""
        pipeline, counted = self._pipeline, self._counted
        if pipeline is None or counted is None:
            return []
        acting, seeds = pipeline.agent, counted.fresh_seeds()
        try:
            scores: list[EvalMetrics] = []
            for agent in agents:
                pipeline.agent = GreedyAgent(agent)
                scores.append(self._evaluator.score_validation(counted.play(seeds)))
            return scores
        finally:
            pipeline.agent = acting

    def close(self) -> None:
        """Close the pipeline; the next score opens a new iterator."""
        self._windows = None
        if self._pipeline is not None:
            self._pipeline.teardown()


class _Counted:
    """Another pipeline whose episodes are fixed by seeds, with what it plays counted.

    Args:
        pipeline: the other one.
        timer: told when a window begins.
        count: told each window.
    """

    def __init__(self, pipeline: PlaysSeeds, timer: StepTimer, count: Callable[[EpisodeData], None]) -> None:
        self._pipeline = pipeline
        self._timer = timer
        self._count = count

    def fresh_seeds(self) -> list[int]:
        """Return the other one's."""
        return self._pipeline.fresh_seeds()

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        """Play one whole greedy episode per seed."""
        self._timer.begin()
        window = self._pipeline.play(seeds)
        self._count(window)
        return window
