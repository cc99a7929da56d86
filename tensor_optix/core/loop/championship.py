"""Which policy is champion, and in which era: what is written while a trained policy is watched."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from tensor_optix.core.backoff_scheduler import Event
from tensor_optix.core.decisions.drift import KnowsItsLevel
from tensor_optix.core.decisions.trend import train_scores
from tensor_optix.core.loop.decider import DRIFT_EVENT
from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.loop.run import Run
from tensor_optix.core.loop.run_state import WatchState
from tensor_optix.core.loop.watch import Watch
from tensor_optix.core.types import EvalMetrics, PolicySnapshot
from tensor_optix.errors import CheckpointCorruptError


class Championship:
    """Crowns, and begins eras, as the decisions on watch ask for; a part of the controller's hands.

    Args:
        run: what the hands share.
        watch: what lets policies act in turn.
    """

    def __init__(self, run: Run, watch: Watch) -> None:
        self._run = run
        self._watch = watch
        detector = run.parts.drift_detector
        self._informed = detector if isinstance(detector, KnowsItsLevel) else None
        """The detector, where it can be told what is usual."""

    def begin(self) -> None:
        """Let the champion act, and put whatever else has become the best on trial."""
        position = self._run.config.scheduler.transition(self._run.state.position, Event.WATCH)
        self._run.change(position=position, next_evaluation=self._run.state.window_id + position.interval)
        best, watch = self._run.state.best, replace(self._run.state.watch, challenger=None)
        usual: Sequence[float] = ()
        if best is not None:
            trial = self._watch.challenge(watch, best)
            if trial is not None:
                self._run.progress.count_watch("trials")
                watch = trial
            else:
                if watch.champion is None or watch.champion.snapshot_id != best.snapshot_id:
                    usual = self._plateau()
                self._crown(self._run.parts.registry.load_best(self._run.slot.agent, best))
                watch = replace(self._run.state.watch, challenger=None)
        self._watch_anew(usual)
        self._run.change(watch=replace(watch, newest=()))

    def keep(self) -> None:
        """Where the run ends without a trial of what was learned since, the champion is its best."""
        if self._run.state.watch.champion is not None:
            self._run.change(best=self._run.state.watch.champion)

    def wake(self, outcome: Outcome, metrics: EvalMetrics) -> None:
        """Begin an era, in which the champion is scored anew and learning goes on from it."""
        self._run.progress.count_watch("wakes")
        self._run.progress.count_watch("drifts" if outcome.event == DRIFT_EVENT else "degradations")
        if self._run.state.watch.champion is not None:
            self._crown(self._in_new_era(self._run.state.watch.champion, metrics))
        self._run.parts.optimizer.on_new_learner()  # its scores are of a world that is gone
        self._run.parts.drift_detector.reset()

    def settle_trial(self, outcome: Outcome) -> None:
        """Let the winner of a trial be the champion."""
        watch = self._run.state.watch
        winner = watch.challenger if outcome.is_promoted else watch.champion
        if winner is None:
            return
        self._run.progress.count_watch("promotions" if outcome.is_promoted else "demotions")
        scores = watch.trial.challenger if outcome.is_promoted else watch.trial.champion
        self._run.change(watch=WatchState(champion=watch.champion, newest=watch.newest))
        # An era of its own puts it before the one that lost, and whatever else was learned.
        self._crown(self._in_new_era(winner, self._watch.settled_score(winner, scores)))
        self._run.parts.registry.load_best(self._run.slot.agent, self._run.state.watch.champion)
        if outcome.is_promoted:
            self._watch_anew(self._watch.usual_scores(scores))
            self._run.change(watch=replace(self._run.state.watch, newest=()))

    def _watch_anew(self, usual: Sequence[float]) -> None:
        """Let the detector begin anew, and tell it what windows like those to come have scored."""
        self._run.parts.drift_detector.reset()
        if self._informed is not None and usual:
            self._informed.expect(usual)

    def _plateau(self) -> Sequence[float]:
        """Return the scores of the windows since the last rise: a new champion is no worse than those policies.

        Where patience is short they are few, so earlier ones that are no lower count, too, up to three times as many.
        One that was woken and has not been beaten may be worse: it acts with the exploration that it was saved with,
        and the windows of its successors would wake it again and again.
        """
        quiet, recent = self._run.state.position.no_improvement, self._run.state.recent
        if not quiet or not recent:
            return ()
        scores = train_scores(recent)
        lowest = scores[-quiet:].min()
        return [float(score) for score in scores[-3 * quiet :] if score >= lowest]

    def _in_new_era(self, snapshot: PolicySnapshot, metrics: EvalMetrics) -> PolicySnapshot:
        """Begin an era, in which a snapshot is the first and has this score."""
        registry = self._run.parts.registry
        registry.era += 1
        begun = replace(snapshot, era=registry.era)
        health = self._run.progress.health
        with contextlib.suppress(CheckpointCorruptError), health.surviving_storage("save a new score"):
            return registry.rescore(begun, metrics)
        return replace(begun, eval_metrics=metrics, evidence=())

    def _crown(self, snapshot: PolicySnapshot) -> None:
        champion = self._run.state.watch.champion
        if champion is not None:
            self._run.parts.registry.unpin(champion.snapshot_id)
        self._run.change(best=snapshot, watch=replace(self._run.state.watch, champion=snapshot))
        self.pin_champion()

    def pin_champion(self) -> None:
        """Keep the champion from being pruned, however many better ones learning finds meanwhile."""
        champion = self._run.state.watch.champion
        if champion is not None:
            with contextlib.suppress(CheckpointCorruptError):  # it is reported where it is to act
                self._run.parts.registry.pin(champion.snapshot_id)
