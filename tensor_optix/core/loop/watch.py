"""On watch: the champion acts and nothing is learned, until its scores fall; who would take its place must beat it.

    DORMANT:    the best policy acts. It is the champion, unless there is one: then it is on trial as challenger
    trial:      both are scored on the same windows, by `ScoresActions` evaluators; with any other one they take turns
                and neighbours are pairs. Promoted or demoted (`challenger`), the winner stays on watch as champion
    each window that the champion lives:   its score -> drift detector, at no cost; validation, where there is any, only
                when it is due. A trial ends undecided where it has drifted: its pairs are of a world that is gone
    drift, or degradation of the validated score:
                an era begins: earlier scores are those of a world that is gone, and bar nobody. The champion's is
                measured anew, on the newest windows; it is kept from pruning, and learning begins from its weights

Whatever was learned since is a challenger at the next DORMANT, and nothing but a trial makes it the champion.
"""

import contextlib
import dataclasses
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import takes_masks
from tensor_optix.core.base_evaluator import ScoresActions
from tensor_optix.core.decisions.paired_trial import Outcome, Trial
from tensor_optix.core.decisions.trend import Verdict, standard_error
from tensor_optix.core.loop.parts import LoopParts
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.loop.scoring import Scorer
from tensor_optix.core.types import EpisodeData, EvalMetrics, PolicySnapshot
from tensor_optix.errors import CheckpointCorruptError, CheckpointStorageError

logger = logging.getLogger(__name__)

NEWEST = 3
"""Windows whose median is the champion's new score when it wakes: the first of them may be from before the drift."""


@dataclass(frozen=True)
class Sighting:
    """What a window on watch came to, where it came to anything."""

    metrics: EvalMetrics
    verdict: Verdict
    event: str | None = None


class Watch:
    """Watches over a trained policy.

    Args:
        scorer: scores the windows.
        progress: what the run has come to; its best and the counts of the watch are kept up to date.
        judge: says what a validated score means.
        margin: by how much a champion must be beaten, in units of the score.
    """

    def __init__(
        self, scorer: Scorer, progress: RunProgress, judge: Callable[[EvalMetrics], Verdict], margin: float
    ) -> None:
        self._scorer = scorer
        self._progress = progress
        self._judge = judge
        self._margin = margin
        self._champion: PolicySnapshot | None = None
        self._challenger: PolicySnapshot | None = None
        """Who is on trial; None = nobody."""
        self._trial = Trial()
        self._half: float | None = None
        """Score of the first window of a pair, where they take turns."""
        self._newest: deque[float] = deque(maxlen=NEWEST)

    def begin(self, parts: LoopParts) -> None:
        """Let the champion act, and put whatever else has become the best on trial."""
        best, self._challenger = self._progress.best, None
        if best is not None:
            if self._champion is not None and self._champion.snapshot_id != best.snapshot_id:
                if self._hold(parts, self._champion):
                    self._challenger, self._trial, self._half = best, Trial(), None
                    self._progress.count_watch("trials")
            if self._challenger is None:
                self._crown(parts, parts.registry.load_best(parts.agent, best))
        self._forget(parts)

    def look(self, parts: LoopParts, data: EpisodeData, *, due: bool) -> Sighting | None:
        """Look at a window in which nothing was learned; None where there is nothing to decide.

        Args:
            parts: what the loop is made of at present.
            data: the window.
            due: True if it is to be evaluated whatever the detector says.
        """
        self._progress.count_watch("windows")
        live = self._scorer.live(data)
        if live.is_usable and not self._challenger_acts(parts):
            self._newest.append(live.primary_score)
            if parts.drift_detector.update(live.primary_score):
                return self._wake(parts, self._new_score(live), "drift")
        if self._challenger is not None:
            return self._compare(parts, data, live, self._challenger)
        if not due:
            return None
        metrics = self._scorer.validated(live)
        # Without validation a single window says little: that is what the detector is for.
        verdict = self._judge(metrics) if self._scorer.validation.is_there else Verdict.FLAT
        if not metrics.is_usable:
            return Sighting(metrics, Verdict.NO_EVIDENCE)
        if verdict is Verdict.DEGRADED:
            return self._wake(parts, metrics, "degradation")
        return Sighting(metrics, Verdict.FLAT)  # who does not learn has not improved, whatever the score

    def take_place(self, parts: LoopParts) -> None:
        """Let the agent be again who was acting when the run stopped."""
        acting = self._challenger if self._challenger_acts(parts) else self._champion
        if acting is not None:
            self._hold(parts, acting)

    def stand_by(self) -> None:
        """Where the run ends without a trial of what was learned since, the champion is its best."""
        if self._champion is not None:
            self._progress.best = self._champion

    def state_dict(self) -> dict[str, Any]:
        """Return the champion, the trial and the newest scores as plain JSON values; the detector's are its own."""
        return {
            "champion": self._champion and self._champion.to_dict(),
            "challenger": self._challenger and self._challenger.to_dict(),
            "trial": self._trial.to_dict(),
            "half": self._half,
            "newest": list(self._newest),
        }

    def load_state_dict(self, state: Mapping[str, Any], parts: LoopParts) -> None:
        """Go on from `state_dict`."""
        self._champion = PolicySnapshot.from_dict(state["champion"]) if state["champion"] else None
        self._challenger = PolicySnapshot.from_dict(state["challenger"]) if state["challenger"] else None
        trial = state["trial"]
        self._trial = Trial(tuple(map(float, trial["champion"])), tuple(map(float, trial["challenger"])))
        self._half = None if state["half"] is None else float(state["half"])
        self._newest = deque(map(float, state["newest"]), maxlen=NEWEST)
        self._keep_champion(parts)

    # --- waking ---

    def _wake(self, parts: LoopParts, metrics: EvalMetrics, event: str) -> Sighting:
        progress = self._progress
        progress.count_watch("wakes")
        progress.count_watch("drifts" if event == "drift" else "degradations")
        self._challenger = self._half = None
        if self._champion is not None:
            self._crown(parts, self._in_new_era(parts, self._champion, metrics))
        progress.recent.clear()
        progress.era_began = progress.window_id
        parts.optimizer.on_new_learner()  # its scores are of a world that is gone
        self._forget(parts)
        return Sighting(metrics, Verdict.DEGRADED, event)

    def _new_score(self, live: EvalMetrics) -> EvalMetrics:
        """Return what the champion is worth after a drift: validated, or else by its newest windows."""
        validated = self._scorer.validated(live)
        if self._scorer.validation.is_there and validated.is_usable:
            return validated
        return _measured(live, tuple(self._newest))

    def _in_new_era(self, parts: LoopParts, snapshot: PolicySnapshot, metrics: EvalMetrics) -> PolicySnapshot:
        """Begin an era, in which a snapshot is the first and has this score."""
        parts.registry.era += 1
        begun = dataclasses.replace(snapshot, era=parts.registry.era)
        health = self._progress.health
        with contextlib.suppress(CheckpointCorruptError), health.surviving_storage("save a new score"):
            return parts.registry.rescore(begun, metrics)
        return dataclasses.replace(begun, eval_metrics=metrics, evidence=())

    def _crown(self, parts: LoopParts, snapshot: PolicySnapshot) -> None:
        if self._champion is not None:
            parts.registry.unpin(self._champion.snapshot_id)
        self._champion = self._progress.best = snapshot
        self._keep_champion(parts)

    def _keep_champion(self, parts: LoopParts) -> None:
        """Keep the champion from being pruned, however many better ones learning finds meanwhile."""
        if self._champion is not None:
            with contextlib.suppress(CheckpointCorruptError):  # it is reported where it is to act
                parts.registry.pin(self._champion.snapshot_id)

    def _forget(self, parts: LoopParts) -> None:
        parts.drift_detector.reset()
        self._newest.clear()

    def _hold(self, parts: LoopParts, snapshot: PolicySnapshot) -> bool:
        """Let a policy act; False where it cannot be read."""
        try:
            parts.registry.load(snapshot, parts.agent)
        except (CheckpointCorruptError, CheckpointStorageError) as error:
            logger.warning("Snapshot %s cannot act: %s", snapshot.snapshot_id, error)
            return False
        return True

    # --- a trial ---

    def _compare(
        self, parts: LoopParts, data: EpisodeData, live: EvalMetrics, challenger: PolicySnapshot
    ) -> Sighting | None:
        if isinstance(parts.evaluator, ScoresActions):
            metrics = self._shadow(parts, data, challenger)
        else:
            metrics = self._take_turns(parts, live)
        outcome = Outcome.DEMOTED if metrics is None else self._trial.outcome(self._margin)
        return None if outcome is None else self._settle(parts, outcome, metrics or live)

    def _shadow(self, parts: LoopParts, data: EpisodeData, challenger: PolicySnapshot) -> EvalMetrics | None:
        """Score both on a window that the champion lived; None where the challenger cannot be read."""
        champion = self._scorer.shadowed(data, data.actions)
        if not self._hold(parts, challenger):
            return None
        seen, masks = data.observations, data.action_masks
        if masks is not None and takes_masks(parts.agent):
            actions = parts.agent.act_masked(seen, masks)
        else:
            actions = parts.agent.act_batch(seen)
        self._restore(parts)
        found = self._scorer.shadowed(data, actions)
        if champion.is_usable and found.is_usable:
            self._trial = self._trial.with_pair(champion.primary_score, found.primary_score)
        return champion

    def _take_turns(self, parts: LoopParts, metrics: EvalMetrics) -> EvalMetrics | None:
        """Score who lived the window, and let the other one act next, where it is its turn; None where it cannot."""
        if not metrics.is_usable:
            return metrics
        acted = self._challenger_acts(parts)
        if self._half is None:
            self._half = metrics.primary_score
        else:
            pair = (self._half, metrics.primary_score)
            self._trial = self._trial.with_pair(*(pair if acted else pair[::-1]))
            self._half = None
        if self._challenger_acts(parts) is acted:
            return metrics
        if acted:
            self._restore(parts)
        elif self._challenger is not None and not self._hold(parts, self._challenger):
            return None
        return metrics

    def _challenger_acts(self, parts: LoopParts) -> bool:
        """Whether it is the challenger's turn: who is first in a pair is second in the next."""
        if self._challenger is None or isinstance(parts.evaluator, ScoresActions):
            return False
        return (len(self._trial.champion) % 2 == 1) is (self._half is None)

    def _restore(self, parts: LoopParts) -> None:
        parts.registry.load_best(parts.agent, self._champion)

    def _settle(self, parts: LoopParts, outcome: Outcome, metrics: EvalMetrics) -> Sighting:
        trial, progress = self._trial, self._progress
        is_promoted = outcome is Outcome.PROMOTED
        winner = self._challenger if is_promoted else self._champion
        assert winner is not None  # noqa: S101 - for the type checker; both are there during a trial
        progress.count_watch("promotions" if is_promoted else "demotions")
        score = winner.eval_metrics
        if not self._scorer.validation.is_there:
            score = _measured(score, trial.challenger if is_promoted else trial.champion)
        self._challenger = None
        # An era of its own puts it before the one that lost, and whatever else was learned.
        self._crown(parts, self._in_new_era(parts, winner, score))
        self._restore(parts)
        if is_promoted:
            self._forget(parts)
        verdict = Verdict.FLAT if metrics.is_usable else Verdict.NO_EVIDENCE
        return Sighting(metrics, verdict, f"{outcome.value}: {trial.summary(self._margin)}")


def _measured(metrics: EvalMetrics, scores: Sequence[float]) -> EvalMetrics:
    """Return a score that is the median of the scores of windows, where there are any."""
    if not scores:
        return metrics
    measured = {**metrics.metrics, "score_std_err": standard_error(scores)}
    return dataclasses.replace(metrics, primary_score=float(np.median(scores)), metrics=measured)
