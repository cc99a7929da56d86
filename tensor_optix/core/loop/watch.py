"""On watch: the champion acts and nothing is learned, until its scores fall; a challenger must beat it first.

    DORMANT:    the best policy acts. It is the champion, unless there is one: then it is on trial as challenger
    trial:      both are scored on the same windows, by `ScoresActions` evaluators; with any other one they take turns
                and neighbours are pairs. Promoted or demoted (`paired_trial`), the winner stays on watch as champion
    each window that the champion collects:   its score -> drift detector, at no cost; validation, where there is any,
                only when it is due. A trial ends undecided where the champion has drifted: its pairs are of a world
                that is gone
    drift, or degradation of the validated score:
                an era begins: earlier scores are those of a world that is gone, and bar no policy. The champion's is
                measured anew, on the newest windows; it is kept from pruning, and learning begins from its weights

Whatever was learned since is a challenger at the next DORMANT, and nothing but a trial makes it the champion.
This module observes and lets policies act in turn; who is champion, and in which era, is written by the controller.
"""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tensor_optix.core.agent_memory import actions_along
from tensor_optix.core.base_evaluator import BaseEvaluator, ScoresActions
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.drift import DriftDetector
from tensor_optix.core.decisions.paired_trial import TrialOutcome
from tensor_optix.core.decisions.succession import LearnerSlot
from tensor_optix.core.decisions.trend import standard_error
from tensor_optix.core.loop.decider import DRIFT_EVENT
from tensor_optix.core.loop.learning import Learning
from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.loop.run_state import RunState, WatchState
from tensor_optix.core.loop.scoring import Scorer
from tensor_optix.core.types import EpisodeData, EvalMetrics, PolicySnapshot
from tensor_optix.errors import CheckpointCorruptError, CheckpointStorageError

logger = logging.getLogger(__name__)

NEWEST = 3
"""Windows whose median is the champion's new score when it wakes: the first of them may be from before the drift."""


class Watch:
    """Watches a trained policy.

    Args:
        slot: where the acting agent sits.
        registry: the snapshots that act in turn.
        evaluator: what scores a window; one of `ScoresActions` lets a challenger be scored without acting.
        detector: what tells that scores have fallen.
        scorer: scores the windows.
        learning: checks them.
        margin: by how much a champion must be beaten, in units of the score.
    """

    def __init__(
        self,
        slot: LearnerSlot,
        registry: CheckpointRegistry,
        evaluator: BaseEvaluator,
        detector: DriftDetector,
        scorer: Scorer,
        learning: Learning,
        margin: float,
    ) -> None:
        self._slot = slot
        self._registry = registry
        self._evaluator = evaluator
        self._detector = detector
        self._scorer = scorer
        self._learning = learning
        self._margin = margin

    def challenge(self, watch: WatchState, best: PolicySnapshot) -> WatchState | None:
        """Let the champion act and begin the trial of another best; None where the best is to be the champion."""
        champion = watch.champion
        if champion is None or champion.snapshot_id == best.snapshot_id or not self.act_with(champion):
            return None
        return WatchState(champion=champion, challenger=best)

    def observe(self, state: RunState, window: EpisodeData) -> Outcome:
        """Return what a window has come to in which nothing was learned.

        Args:
            state: where the run stands, with the window counted.
            window: what was collected.

        Raises:
            Exception: what the evaluator or the validation raised, the third time in a row.
        """
        outcome = Outcome(hyperparams=self._slot.agent.get_hyperparams().copy())
        fault = self._learning.check(window, state.window_id)
        if fault is not None:
            return replace(outcome, fault=fault)
        watch = state.watch
        live = self._scorer.live(state, window)
        if live.is_usable and not self._challenger_acts(watch):
            watch = replace(watch, newest=(*watch.newest, live.utility)[-NEWEST:])
            if self._detector.update(live.utility):
                return replace(outcome, watch=watch, metrics=self._new_score(state, watch, live), event=DRIFT_EVENT)
        if watch.challenger is not None:
            return self._compare(state, replace(outcome, watch=watch), watch, window, live)
        if not self._scorer.is_up(state):
            return replace(outcome, watch=watch)
        metrics = self._scorer.validated(state, live)
        return replace(outcome, watch=watch, metrics=metrics, is_validated=self._scorer.validation.is_there)

    def act_again(self, watch: WatchState) -> None:
        """Let the policy act that was acting when the run stopped."""
        acting = watch.challenger if self._challenger_acts(watch) else watch.champion
        if acting is not None:
            self.act_with(acting)

    def act_with(self, snapshot: PolicySnapshot) -> bool:
        """Let a policy act; False where it cannot be read."""
        try:
            self._registry.load(snapshot, self._slot.agent)
        except (CheckpointCorruptError, CheckpointStorageError) as error:
            logger.warning("Snapshot %s cannot act: %s", snapshot.snapshot_id, error)
            return False
        return True

    def settled_score(self, winner: PolicySnapshot, scores: Sequence[float]) -> EvalMetrics:
        """Return the score that the winner of a trial goes on with: validated, or else that of its windows."""
        return winner.eval_metrics if self._scorer.validation.is_there else _measured(winner.eval_metrics, scores)

    def usual_scores(self, scores: Sequence[float]) -> Sequence[float]:
        """Return what windows are expected to score that are collected by the winner of a trial; empty if unknown.

        A shadow's scores are those of windows that another policy collected.
        """
        return () if isinstance(self._evaluator, ScoresActions) else scores

    def _new_score(self, state: RunState, watch: WatchState, live: EvalMetrics) -> EvalMetrics:
        """Return what the champion is worth after a drift: validated, or else by its newest windows."""
        validated = self._scorer.validated(state, live)
        if self._scorer.validation.is_there and validated.is_usable:
            return validated
        return _measured(live, watch.newest)

    # --- a trial ---

    def _compare(
        self, state: RunState, outcome: Outcome, watch: WatchState, window: EpisodeData, live: EvalMetrics
    ) -> Outcome:
        if isinstance(self._evaluator, ScoresActions):
            metrics, watch = self._shadow(state, watch, window)
        else:
            metrics, watch = self._take_turns(watch, live)
        outcome = replace(outcome, watch=watch)
        ended = TrialOutcome.DEMOTED if metrics is None else watch.trial.outcome(self._margin)
        if ended is None:
            return outcome
        return replace(
            outcome,
            metrics=metrics or live,
            event=f"{ended.value}: {watch.trial.summary(self._margin)}",
            is_promoted=ended is TrialOutcome.PROMOTED,
        )

    def _shadow(self, state: RunState, watch: WatchState, window: EpisodeData) -> tuple[EvalMetrics | None, WatchState]:
        """Score both on a window that the champion collected; no score where the challenger cannot be read."""
        champion = self._scorer.shadowed(state, window, window.actions)
        if watch.challenger is None or not self.act_with(watch.challenger):
            return None, watch
        actions = actions_along(self._slot.agent, window)
        self._restore_champion(watch)
        found = self._scorer.shadowed(state, window, actions)
        if champion.is_usable and found.is_usable:
            watch = replace(watch, trial=watch.trial.with_pair(champion.utility, found.utility))
        return champion, watch

    def _take_turns(self, watch: WatchState, metrics: EvalMetrics) -> tuple[EvalMetrics | None, WatchState]:
        """Score the policy that acted, and let the other one act next where it is its turn; no score if it cannot."""
        if not metrics.is_usable:
            return metrics, watch
        acted = self._challenger_acts(watch)
        if watch.first_of_pair is None:
            watch = replace(watch, first_of_pair=metrics.utility)
        else:
            pair = (watch.first_of_pair, metrics.utility)
            trial = watch.trial.with_pair(*(pair if acted else pair[::-1]))
            watch = replace(watch, trial=trial, first_of_pair=None)
        if self._challenger_acts(watch) is acted:
            return metrics, watch
        if acted:
            self._restore_champion(watch)
        elif watch.challenger is not None and not self.act_with(watch.challenger):
            return None, watch
        return metrics, watch

    def _challenger_acts(self, watch: WatchState) -> bool:
        """Whether it is the challenger's turn: the first in a pair is second in the next."""
        if watch.challenger is None or isinstance(self._evaluator, ScoresActions):
            return False
        return (len(watch.trial.champion) % 2 == 1) is (watch.first_of_pair is None)

    def _restore_champion(self, watch: WatchState) -> None:
        self._registry.load_best(self._slot.agent, watch.champion)


def _measured(metrics: EvalMetrics, scores: Sequence[float]) -> EvalMetrics:
    """Return a score that is the median of those of windows, whose utilities are given; a grade stays as it is."""
    if not scores or metrics.grade is not None:
        return metrics
    measured = {**metrics.metrics, "score_std_err": standard_error(scores)}
    return dataclasses.replace(metrics, primary_score=metrics.sign * float(np.median(scores)), metrics=measured)
