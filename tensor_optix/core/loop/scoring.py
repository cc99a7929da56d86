"""Scoring a window: on held-out episodes where there are any, and again where the score would be the best."""

import contextlib
import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TypeVar

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.succession import LearnerSlot
from tensor_optix.core.decisions.validation_budget import CLOSING_MULTIPLE
from tensor_optix.core.faults import MOST_IN_A_ROW, PlayStoppedError
from tensor_optix.core.loop.candidate_tests import CandidateTests
from tensor_optix.core.loop.decider import waits_for_evaluation
from tensor_optix.core.loop.guard import EvaluatorFailedError, GuardedEvaluator
from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.scored import Scored as Scored
from tensor_optix.core.loop.selection import TEST_WINDOWS
from tensor_optix.core.loop.validation import Validation
from tensor_optix.core.types import Diagnostics, EpisodeData, EvalMetrics
from tensor_optix.errors import BadDataError, CheckpointCorruptError

logger = logging.getLogger(__name__)
T = TypeVar("T")
_PUT_OFF = (
    "Validation has taken %d steps for %d steps of training: evaluations are put off until it takes at most "
    "validation_share=%g of all steps. Scores keep their episodes; a larger validation_share evaluates more often."
)
_OVERRUN = (
    "Validation has taken more than its share of the time by far (%d steps for %d steps of training, "
    "validation_share=%g): evaluations are put off until it has not. They depend on the clock then, so the run does "
    "not repeat exactly; lower val_episodes, or raise validation_share."
)


class Scorer:
    """Scores the windows of a run, and tests the candidates for its best.

    Args:
        slot: where the agent sits that is scored.
        registry: the snapshots.
        evaluator: what scores a window.
        val_pipeline: where the agent acts and does not learn; None = nothing is held out.
        config: the knobs of the loop.
        progress: where time and faults are counted.
    """

    def __init__(
        self,
        slot: LearnerSlot,
        registry: CheckpointRegistry,
        evaluator: BaseEvaluator,
        val_pipeline: BasePipeline | None,
        config: LoopConfig,
        progress: RunProgress,
    ) -> None:
        self._evaluator = GuardedEvaluator(evaluator)
        self._config = config
        self._progress = progress
        self.validation = Validation(val_pipeline, self._evaluator, lambda: progress.is_urgent, progress.clock)
        self._tests = CandidateTests(slot, registry, self._evaluator, self.validation, config, progress)
        self.has_player = False
        """True where validation may be played beside training."""
        self._told: set[str] = set()

    def is_up(self, state: RunState) -> bool:
        """Return whether the window in hand is scored: it is due, and its validation can be afforded, or is put off."""
        if not state.is_due:
            return False
        budget, progress, spent = self._config.validation, self._progress, self.validation.spent
        windows = 1 + TEST_WINDOWS * self._tests.awaits_retest(state)
        is_affordable = not self.validation.is_there or self._tests.affords(state, windows)
        if not is_affordable and waits_for_evaluation(state, self._config):
            is_affordable = budget.affords(state.env_steps, spent, part=CLOSING_MULTIPLE * state.validation_part)
        is_overrun = budget.is_overrun(spent, progress.seconds["validate"], progress.total_seconds())
        if is_affordable and not is_overrun:
            return True
        self.validation.put_off(by_clock=is_affordable)
        told = _OVERRUN if is_affordable else _PUT_OFF
        if told not in self._told:
            self._told.add(told)
            logger.info(told, spent.steps, state.env_steps, budget.share)
        return False

    def score(self, state: RunState, data: EpisodeData, diagnostics: Diagnostics, *, can_be_saved: bool) -> Scored:
        """Return what a window is worth; no score where the evaluator fails, or nothing held out can be played.

        Args:
            state: where the run stands.
            data: the window.
            diagnostics: what `learn` returned for it.
            can_be_saved: True if the policy that is scored without validation was staged.

        Raises:
            Exception: what the evaluator or the validation raised, the third time in a row.
        """
        self.validation.compare_with(data)
        scored = self._surviving(state, lambda: self._scored(state, data, diagnostics, can_be_saved=can_be_saved))
        return self._result(state, scored)

    def defers(self, state: RunState) -> bool:
        """Return whether the policy is validated beside the next window: there is one, and steps were timed before."""
        has_next = self._config.spent(state.window_id + 1, state.env_steps) is None
        is_timed = self.validation.spent.is_slow is not None
        return self.has_player and has_next and is_timed and self.validation.seeded is not None

    def deferred(self, state: RunState, data: EpisodeData, diagnostics: Diagnostics) -> Scored:
        """Return the score of a window itself, as one that is pending; see `score` and `finish`."""
        self.validation.compare_with(data)
        found = self._surviving(state, lambda: self._evaluator.score(data, diagnostics))
        return Scored(no_score(state.window_id), pending=found)

    def finish(self, state: RunState, train_metrics: EvalMetrics) -> Scored:
        """Return what a window is worth whose validation was broken off; see `score`.

        Args:
            state: where the run stands.
            train_metrics: the score of the window itself.
        """
        scored = self._surviving(state, lambda: self._validated(state, train_metrics, can_be_saved=False))
        return self._result(state, scored)

    def _result(self, state: RunState, scored: Scored | None) -> Scored:
        if scored is not None:
            self._progress.health.clear("validation")
        return scored or Scored(no_score(state.window_id))

    def live(self, state: RunState, data: EpisodeData) -> EvalMetrics:
        """Return what a window itself is worth, in which nothing was learned; no score where the evaluator fails."""
        found = self._surviving(state, lambda: self._graded(state, self._evaluator.score(data, {})))
        return found or no_score(state.window_id)

    def validated(self, state: RunState, live: EvalMetrics) -> EvalMetrics:
        """Return the score of `live` with that of held-out episodes, where there are any; none if it is broken off."""
        if not self.validation.is_there:
            return live
        metrics = None
        with contextlib.suppress(PlayStoppedError), self._progress.timed("validate"), self._bounded(state):
            metrics = self._surviving(state, lambda: self._combined(state, live, self.validation.score()))
        if metrics is None:
            return no_score(state.window_id)
        self._progress.health.clear("validation")
        return metrics

    def shadowed(self, state: RunState, data: EpisodeData, actions: object) -> EvalMetrics:
        """Return what a window would be worth with other actions; for evaluators that can tell (`ScoresActions`)."""
        metrics = self._surviving(state, lambda: self._graded(state, self._evaluator.score_actions(data, actions)))
        return metrics or no_score(state.window_id)

    def _surviving(self, state: RunState, score: Callable[[], T]) -> T | None:
        """Return a score, None where the evaluator fails; raise what it raised the third time in a row."""
        health = self._progress.health
        try:
            found = score()
        except (EvaluatorFailedError, BadDataError) as error:
            kind = "evaluator" if isinstance(error, EvaluatorFailedError) else "validation"
            cause = error.__cause__ if isinstance(error, EvaluatorFailedError) else None
            logger.warning("Window %d has no score: %s %r", state.window_id, error, cause or "")
            if health.fault(kind) >= MOST_IN_A_ROW:
                raise (cause or error) from None
            return None
        health.clear("evaluator")
        return found

    def _scored(
        self, state: RunState, data: EpisodeData, diagnostics: dict[str, object], *, can_be_saved: bool
    ) -> Scored:
        return self._validated(state, self._evaluator.score(data, diagnostics), can_be_saved=can_be_saved)

    def _bounded(self, state: RunState) -> AbstractContextManager[None]:
        return self.validation.bounded(self._config.episode_limit(state, self.validation.spent))

    def _validated(self, state: RunState, train_metrics: EvalMetrics, *, can_be_saved: bool) -> Scored:
        limit, cut = self._config.episode_limit(state, self.validation.spent), self.validation.spent.cut
        try:
            with self.validation.bounded(limit):
                scored = self._compared(state, train_metrics, limit, can_be_saved=can_be_saved)
        except PlayStoppedError:
            return Scored(no_score(state.window_id), pending=train_metrics)
        return replace(scored, cut_at=limit) if limit is not None and self.validation.spent.cut > cut else scored

    def _compared(
        self, state: RunState, train_metrics: EvalMetrics, limit: int | None, *, can_be_saved: bool
    ) -> Scored:
        metrics = self._graded(state, train_metrics)
        if self.validation.is_there:
            with self._progress.timed("validate"):
                metrics = self._combined(state, train_metrics, self.validation.score())
        try:
            return self._beside_best(state, train_metrics, metrics, limit, can_be_saved=can_be_saved)
        except CheckpointCorruptError as error:
            logger.warning(
                "The best policy is damaged, and that of window %d takes its place: %s", state.window_id, error
            )
            return self._tests.untested(metrics)

    def _beside_best(
        self,
        state: RunState,
        train_metrics: EvalMetrics,
        metrics: EvalMetrics,
        limit: int | None,
        *,
        can_be_saved: bool,
    ) -> Scored:
        if limit is not None and metrics.is_usable and state.was_cut_before(limit):
            return self._tests.with_longer_episodes(state, train_metrics, metrics, limit)
        is_ahead = self._evaluator.beats(metrics, state.best_metrics, self._config.improvement_margin)
        if self.validation.seeded is None:
            # Without validation the policy that was scored is gone unless it could be staged.
            return Scored(metrics, metrics.is_usable and is_ahead and (self.validation.is_there or can_be_saved))
        if metrics.is_usable and (is_ahead or self._tests.could_be_ahead(state, metrics)):
            return self._tests.tested(state, Scored(metrics), self.validation.seeded, train_metrics)
        return self._tests.with_retest(state, Scored(metrics), self.validation.seeded)

    def _combined(self, state: RunState, train_metrics: EvalMetrics, val_metrics: EvalMetrics) -> EvalMetrics:
        return self._graded(state, self._evaluator.combine(train_metrics, val_metrics))

    def _graded(self, state: RunState, metrics: EvalMetrics) -> EvalMetrics:
        return self._evaluator.graded(metrics, state.best_metrics)


def no_score(window_id: int) -> EvalMetrics:
    """Return the metrics of a window that there is nothing to judge by."""
    return EvalMetrics(math.nan, {}, window_id, has_evidence=False)
