"""The last test of a learner: the leading snapshots are scored once more, on many fresh episodes, until one holds.

The best of many noisy scores is too high, and a score at an environment's ceiling says little. So the leader is played
again on episodes that no decision has seen; its score becomes what it scored there, and if that puts another snapshot
first, that one is tested too, on the same episodes. So is one that is behind by no more than its noise explains: the
last policy above all, which a single bad episode of five may have put there. It ends when the leader's score is one of
this evaluation and nobody else could well be ahead, or when enough were tested. Those that the test cannot tell apart
then play off: as many fresh episodes again, the same ones for each, twice at most. Whenever it ends, the last policy
ranks only if it was tested: the few episodes that nobody challenged are no evidence beside the tests of the others.
"""

import dataclasses
import logging
import math
from collections.abc import Callable, Collection, Sequence

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import PlaysSeeds
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.ranking import ranked
from tensor_optix.core.decisions.trend import DEGRADATION_ERRORS, standard_error
from tensor_optix.core.loop.selection import Tested, play, with_evidence
from tensor_optix.core.types import EvalMetrics, PolicySnapshot
from tensor_optix.errors import BadDataError, CheckpointCorruptError

logger = logging.getLogger(__name__)

LEADER_WINDOWS = 20
"""Validation windows per snapshot."""
MOST_TESTED = 6
"""Snapshots, beyond which only who comes first is tested."""
PLAY_OFFS = 2
"""Rounds of play-off, each of as many windows as were played before."""
MOST_IN_PLAY_OFF = 3
LEADER_STEPS = 100_000
"""No further window is played for a snapshot that has already used this many steps, and no play-off that would."""


def evaluate_leaders(
    agent: BaseAgent,
    registry: CheckpointRegistry,
    pipeline: PlaysSeeds,
    evaluator: BaseEvaluator,
    is_stopped: Callable[[], bool],
    challenger: PolicySnapshot | None = None,
    *,
    windows: int = LEADER_WINDOWS,
    most_steps: float = math.inf,
) -> PolicySnapshot | None:
    """Test leaders until one holds, and return it; another one's weights may be in the agent then.

    Each snapshot is tested once at most, and plays off twice at most, so that it ends. A damaged one is reported and
    passed over.

    Args:
        agent: who plays; its weights are replaced.
        registry: the snapshots.
        pipeline: where they are played.
        evaluator: what scores them.
        is_stopped: True as soon as the user wants an end: the leader by then is returned.
        challenger: one that is saved without evidence, with the score that it claims: it decides when it is tested.
        windows: of episodes per snapshot.
        most_steps: nothing is played that would take the test beyond so many steps, as far as it can be told before.
    """
    return _LastTest(agent, registry, pipeline, evaluator, is_stopped, challenger, windows, most_steps).run()


@dataclasses.dataclass
class _LastTest:
    agent: BaseAgent
    registry: CheckpointRegistry
    pipeline: PlaysSeeds
    evaluator: BaseEvaluator
    is_stopped: Callable[[], bool]
    challenger: PolicySnapshot | None
    windows: int
    most_steps: float
    steps: dict[str, int] = dataclasses.field(default_factory=dict)
    """Of those that were tested."""
    damaged: set[str] = dataclasses.field(default_factory=set)

    def run(self) -> PolicySnapshot | None:
        try:
            self._test_leaders()
            self._play_offs()
        except BadDataError as error:
            logger.warning("The best policies are not tested any further: %s", error)
        return next(iter(self._evident()), None)

    def _play_offs(self) -> None:
        for _ in range(PLAY_OFFS):
            close = self._close()
            costs = [self.steps[snapshot.snapshot_id] for snapshot in close]
            if self.is_stopped() or len(close) < 2 or max(costs) * 2 > LEADER_STEPS or not self._affords(sum(costs)):
                break
            self._play_off(close)

    def _evident(self) -> list[PolicySnapshot]:
        return [s for s in self.registry.ranked_snapshots if s.snapshot_id not in self.damaged]

    def _affords(self, steps: int) -> bool:
        return sum(self.steps.values()) + steps <= self.most_steps

    def _test_leaders(self) -> None:
        seeds = [self.pipeline.fresh_seeds() for _ in range(self.windows)]
        while not self.is_stopped() and self._affords(max(self.steps.values(), default=0)):
            done = self.damaged | self.steps.keys()
            claiming = [] if self.challenger is None or self.challenger.snapshot_id in done else [self.challenger]
            leader = _next(ranked([*self._evident(), *claiming]), self.steps.keys())
            if leader is None:
                break
            tested = self._play(leader, seeds)
            if tested is not None:
                metrics = _rescored(leader.eval_metrics, tested.score(self.evaluator))
                self.registry.rescore(leader, metrics, tested.evidence)

    def _close(self) -> list[PolicySnapshot]:
        """Return the first, and the tested ones that cannot be told from it."""
        tested = [snapshot for snapshot in self._evident() if snapshot.snapshot_id in self.steps]
        close = [other for other in tested[1:] if _is_close(tested[0], other)]
        return [*tested[:1], *close][:MOST_IN_PLAY_OFF]

    def _play_off(self, snapshots: Sequence[PolicySnapshot]) -> None:
        seeds = [self.pipeline.fresh_seeds() for _ in range(min(len(s.evidence) for s in snapshots))]
        for snapshot in snapshots:
            tested = self._play(snapshot, seeds)
            if tested is None:
                continue
            retest = with_evidence(snapshot, tested, self.evaluator, most=len(snapshot.evidence) + len(seeds))
            episodes = {"final_episodes": float(sum(len(window.returns) for window in retest.evidence))}
            metrics = dataclasses.replace(retest.metrics, metrics={**retest.metrics.metrics, **episodes})
            self.registry.rescore(snapshot, metrics, retest.evidence)

    def _play(self, snapshot: PolicySnapshot, seeds: Sequence[Sequence[int]]) -> Tested | None:
        """Play a snapshot; None where it is damaged or the test was cut short, which is none then."""
        try:
            self.registry.load(snapshot, self.agent)
        except CheckpointCorruptError as error:
            logger.warning("Snapshot %s is passed over: %s", snapshot.snapshot_id, error)
            self.damaged.add(snapshot.snapshot_id)
            return None
        tested = play(self.pipeline, self.evaluator, seeds, max_steps=LEADER_STEPS, is_stopped=self.is_stopped)
        if self.is_stopped():
            return None
        self.steps[snapshot.snapshot_id] = self.steps.get(snapshot.snapshot_id, 0) + tested.steps
        return tested


def _is_close(first: PolicySnapshot, other: PolicySnapshot) -> bool:
    """Return True if two policies differ on the same windows by no more than chance would have it, but differ."""
    differences = np.array([a.score - b.score for a, b in zip(first.evidence, other.evidence, strict=False)])
    return bool(differences.any() and differences.mean() <= DEGRADATION_ERRORS * standard_error(differences))


def _next(ranking: Sequence[PolicySnapshot], tested: Collection[str]) -> PolicySnapshot | None:
    """Return who is to be tested next, None where the first of the ranking is beyond doubt."""
    if not ranking or ranking[0].snapshot_id not in tested:
        return ranking[0] if ranking else None
    if len(tested) >= MOST_TESTED:
        return None
    first = ranking[0]
    for snapshot in ranking:
        metrics = snapshot.eval_metrics
        error = metrics.std_err if math.isfinite(metrics.std_err) else 0.0
        could_be = metrics.primary_score + DEGRADATION_ERRORS * error
        if (
            snapshot.era == first.era
            and snapshot.snapshot_id not in tested
            and could_be > first.eval_metrics.primary_score
        ):
            return snapshot
    return None


def _rescored(selected: EvalMetrics, final: EvalMetrics) -> EvalMetrics:
    """Return the final score in place of the one that the snapshot was selected by, which is kept beside it."""
    metrics = {
        **selected.metrics,
        "selection_score": selected.primary_score,
        "val_score": final.primary_score,
        "score_std_err": final.std_err,
        "final_episodes": final.metrics.get("episodes", 0.0),
    }
    if "train_score" in metrics:
        metrics["generalization_gap"] = metrics["train_score"] - final.primary_score
    return dataclasses.replace(selected, primary_score=final.primary_score, metrics=metrics)
