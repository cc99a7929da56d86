"""The untrained policy plays before anything is learned, and the best plays the same episodes at the end.

A run whose best is not ahead of it has learned nothing, however long its scores were quiet: it ends with
`StopReason.NOTHING_LEARNED`. The seeds of these episodes are used for nothing else, so no policy was chosen on them.
"""

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tensor_optix.core.base_pipeline import PlaysSeeds
from tensor_optix.core.decisions.cut_episodes import limit_of
from tensor_optix.core.decisions.untrained import (
    has_risen_from,
    is_ahead_apart,
    is_ahead_by_ranks,
    is_ahead_on_same_seeds,
    is_negligible,
    start_of,
    start_score,
)
from tensor_optix.core.decisions.validation_budget import SHORTEST_LIMIT
from tensor_optix.core.loop.guard import EvaluatorFailedError, GuardedEvaluator
from tensor_optix.core.loop.run import Run
from tensor_optix.core.loop.run_progress import span_of_run
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.selection import play
from tensor_optix.core.loop.standing import best_interval
from tensor_optix.core.loop.validation import Validation
from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.types import PlayedWindow
from tensor_optix.errors import BadDataError, CheckpointCorruptError

logger = logging.getLogger(__name__)

FEWEST_EPISODES, MOST_EPISODES = 5, 400
"""Episodes that the untrained policy plays."""
MOST_STEPS = 2_000
"""No further episodes are begun beyond so many steps."""
LONGEST = 1_000
"""An episode is cut after so many."""
SHORT_STEPS = SHORTEST_LIMIT
"""In a slow simulator they are cut here already."""


class Untrained:
    """Lets the untrained policy play, and compares the best with it.

    Args:
        run: what the hands share.
        validation: where policies are played.
    """

    def __init__(self, run: Run, validation: Validation) -> None:
        self._run = run
        self._validation = validation
        self._evaluator = GuardedEvaluator(run.parts.evaluator)

    def play(self) -> None:
        """Let the policy play as it is before the first window, where episodes are fixed by seeds; else do nothing."""
        pipeline, state = self._validation.seeded, self._run.state
        if not self._run.config.final_evaluation or pipeline is None or state.window_id >= 0 or state.start:
            return
        first = pipeline.fresh_seeds()[:FEWEST_EPISODES]
        before, cut = self._validation.spent.steps, self._validation.spent.cut
        played, limit = self._played(pipeline, [first], SHORT_STEPS, SHORT_STEPS), LONGEST
        if limit_of(played) is not None:
            if self._validation.spent.is_slow:
                limit = SHORT_STEPS
            else:  # none is left of those that were cut here
                self._validation.spent = replace(self._validation.spent, cut=cut)
                before, played = self._validation.spent.steps, self._played(pipeline, [first], MOST_STEPS, LONGEST)
        more = (pipeline.fresh_seeds()[:FEWEST_EPISODES] for _ in range(MOST_EPISODES))
        left = MOST_STEPS - (self._validation.spent.steps - before)
        self._run.change(start=self._played(pipeline, more, left, limit, played))
        spent = self._validation.spent
        self._validation.spent = replace(spent, start=spent.steps)

    def compare(self) -> None:
        """Let the best play the same episodes, where that is needed, and end the run for what has come of it."""
        state, progress = self._run.state, self._run.progress
        progress.is_ahead = self._is_ahead(state)
        self._run.change(validation=self._validation.spent)
        if (
            self._has_ended_by_itself
            and progress.is_ahead is False
            and not self._run.config.is_reached(state.best_score)
        ):
            progress.reason = StopReason.NOTHING_LEARNED

    @property
    def _has_ended_by_itself(self) -> bool:
        return self._run.progress.reason in (StopReason.CONVERGED, StopReason.BUDGET)

    def _is_ahead(self, state: RunState) -> bool | None:
        best = state.best
        if best is None or state.has_drifted:  # of another world than the one that the run began in
            return None
        if not state.start:
            return None if state.first is None else has_risen_from(state.first, state.curve, state.recent)
        if best.eval_metrics.grade is not None:  # an order of its own: it has beaten an earlier best, or nothing tells
            return True if best.eval_metrics.grade > 0.0 else None
        apart = is_ahead_of_start(self._run)
        if apart or self._run.progress.stop_asked or (apart is False and _is_where_it_began(self._run)):
            return apart
        together = is_ahead_on_same_seeds(self._best_on_same_seeds(state), state.start, best.eval_metrics.sign)
        if together is False and state.first is not None and _is_cut_sooner(state.start, best.evidence):
            risen = has_risen_from(state.first, state.curve, state.recent)  # the first steps need not tell
            return False if risen is None and self._has_ended_by_itself else risen
        return apart if together is None else together

    def _best_on_same_seeds(self, state: RunState) -> tuple[PlayedWindow, ...]:
        pipeline, registry = self._validation.seeded, self._run.parts.registry
        if pipeline is None or state.best is None:
            return ()
        self._run.slot.install(self._run.slot.first)
        left = self._run.config.validation.left(state.env_steps, self._validation.spent, part=1.0)
        most, limit = min(10 * MOST_STEPS, left), limit_of(state.start) or LONGEST
        try:
            with registry.loaded(state.best, self._run.slot.agent):
                return self._played(pipeline, (window.seeds for window in state.start), most, limit)
        except CheckpointCorruptError as error:
            logger.warning("Snapshot %s is not compared with the untrained policy: %s", state.best.snapshot_id, error)
            return ()

    def _played(
        self,
        pipeline: PlaysSeeds,
        seeds: Iterable[Sequence[int]],
        most_steps: float,
        limit: int,
        begun: Sequence[PlayedWindow] = (),
    ) -> tuple[PlayedWindow, ...]:
        """Return what the acting agent does on seeds, as far as it gets; the steps themselves are forgotten.

        Args:
            pipeline: where it plays.
            seeds: of each window.
            most_steps: no further window is begun beyond so many steps, once there are episodes enough.
            limit: steps after which an episode is cut.
            begun: what it has played already.
        """
        played, steps = list(begun), 0
        try:
            with self._run.progress.timed("validate"), self._validation.cut_at(limit):
                for window_seeds in () if _is_enough(played, steps, most_steps) else seeds:
                    tested = play(pipeline, self._evaluator, [window_seeds], is_stopped=self._is_stopped)
                    played, steps = [*played, *tested.evidence], steps + tested.steps
                    if _is_enough(played, steps, most_steps) or self._is_stopped():
                        break
        except (BadDataError, EvaluatorFailedError) as error:
            logger.warning("The untrained policy is compared on no more episodes than before: %s", error)
        return tuple(played)

    def _is_stopped(self) -> bool:
        return self._run.progress.stop_asked


def is_ahead_of_start(run: Run) -> bool | None:
    """Return whether the best is ahead of the untrained policy, each on its own episodes; None where that is not known.

    Args:
        run: what the hands share.
    """
    state, best = run.state, run.state.best
    if best is None or state.has_drifted or best.eval_metrics.grade is not None:
        return None
    span = span_of_run(state, run.parts)
    start, metrics = start_of(state.start, None, span), best.eval_metrics
    if start is None or limit_of((*state.start, *best.evidence)) is not None:  # episodes of other lengths
        return None
    if _is_where_it_began(run):
        return False
    apart = is_ahead_apart(metrics.primary_score, best_interval(best, span), start, metrics.sign)
    return is_ahead_by_ranks(best.evidence, state.start, metrics.sign) or apart


def _is_cut_sooner(start: Sequence[PlayedWindow], best: Sequence[PlayedWindow]) -> bool:
    limit = limit_of(start)
    return limit is not None and limit < (limit_of(best) or math.inf)


def _is_where_it_began(run: Run) -> bool:
    """Return whether the best has come no nearer to a known target than the untrained policy was."""
    start, best = start_score(run.state.start, None), run.state.best
    if start is None or best is None:
        return False
    metrics = best.eval_metrics
    return is_negligible(metrics.primary_score, start, run.config.patience.target, metrics.sign)


def _is_enough(played: Sequence[PlayedWindow], steps: int, most_steps: float) -> bool:
    episodes = sum(len(window.seeds) for window in played)
    return episodes >= FEWEST_EPISODES and (steps > most_steps or episodes >= MOST_EPISODES)
