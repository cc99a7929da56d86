"""The last test of a run: the leading snapshots are scored once more, on many fresh episodes, until the leader holds.

The best of many noisy scores is too high, and a score at an environment's ceiling says little. So the leader is played
again on episodes that no decision has seen; its score becomes what it scored there, and if that puts another snapshot
first, that one is tested too, on the same episodes. So is one that is behind by no more than its noise explains: the
last policy above all, which a single bad episode of five may have put there. It ends when the leader's score is one of
this evaluation and nobody else could well be ahead, or when enough were tested.
"""

import dataclasses
import logging
import math
from collections.abc import Callable, Sequence

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import PlaysSeeds
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.selection import play
from tensor_optix.core.trend import DEGRADATION_ERRORS
from tensor_optix.core.types import EvalMetrics, PolicySnapshot
from tensor_optix.errors import CheckpointCorruptError

logger = logging.getLogger(__name__)

LEADER_WINDOWS = 20
"""Validation windows per snapshot."""
MOST_TESTED = 6
"""Snapshots, beyond which only who comes first is tested."""
LEADER_STEPS = 100_000
"""No further window is played for a snapshot that has already used this many steps."""


def evaluate_leaders(
    agent: BaseAgent,
    registry: CheckpointRegistry,
    pipeline: PlaysSeeds,
    evaluator: BaseEvaluator,
    is_stopped: Callable[[], bool],
) -> PolicySnapshot | None:
    """Test leaders until one holds, and return it; its weights, or another leader's, are then in the agent.

    Each snapshot is tested once at most, so that it ends. A damaged one is reported and passed over.

    Args:
        agent: who plays; its weights are replaced.
        registry: the snapshots.
        pipeline: where they are played.
        evaluator: what scores them.
        is_stopped: True as soon as the user wants an end: the leader by then is returned.
    """
    seeds = [pipeline.fresh_seeds() for _ in range(LEADER_WINDOWS)]
    tested: set[str] = set()
    damaged: set[str] = set()
    while True:
        ranked = [s for s in registry.ranked_snapshots if s.snapshot_id not in damaged]
        leader = _next(ranked, tested)
        if leader is None or is_stopped():
            return ranked[0] if ranked else None
        try:
            registry.load(leader, agent)
        except CheckpointCorruptError as error:
            logger.warning("Snapshot %s is passed over: %s", leader.snapshot_id, error)
            damaged.add(leader.snapshot_id)
            continue
        found = play(pipeline, evaluator, seeds, max_steps=LEADER_STEPS, is_stopped=is_stopped)
        if is_stopped():
            return ranked[0]
        registry.rescore(leader, _rescored(leader.eval_metrics, found.score(evaluator)), found.evidence)
        tested.add(leader.snapshot_id)


def _next(ranked: Sequence[PolicySnapshot], tested: set[str]) -> PolicySnapshot | None:
    """Return who is to be tested next, None where the first of the ranking is beyond doubt."""
    if not ranked or ranked[0].snapshot_id not in tested:
        return ranked[0] if ranked else None
    if len(tested) >= MOST_TESTED:
        return None
    first = ranked[0]
    for snapshot in ranked:
        metrics = snapshot.eval_metrics
        error = metrics.std_err if math.isfinite(metrics.std_err) else 0.0
        could_be = metrics.primary_score + DEGRADATION_ERRORS * error
        if snapshot.era == first.era and snapshot.snapshot_id not in tested and could_be > first.eval_metrics.primary_score:
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
