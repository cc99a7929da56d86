"""The last test of a run: the leading snapshots are scored once more, on many fresh episodes, until the leader holds.

The best of many noisy scores is too high, and a score at an environment's ceiling says little. So the leader is played
again on episodes that no decision has seen; its score becomes what it scored there, and if that puts another snapshot
first, that one is tested too, on the same episodes. It ends when the leader's score is one of this evaluation.
"""

import dataclasses
import logging
from collections.abc import Callable

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import PlaysSeeds
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.selection import play
from tensor_optix.core.types import EvalMetrics, PolicySnapshot
from tensor_optix.errors import CheckpointCorruptError

logger = logging.getLogger(__name__)

LEADER_WINDOWS = 20
"""Validation windows per snapshot."""
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
        leader = next((s for s in registry.ranked_snapshots if s.snapshot_id not in damaged), None)
        if leader is None or leader.snapshot_id in tested or is_stopped():
            return leader
        try:
            registry.load(leader, agent)
        except CheckpointCorruptError as error:
            logger.warning("Snapshot %s is passed over: %s", leader.snapshot_id, error)
            damaged.add(leader.snapshot_id)
            continue
        found = play(pipeline, evaluator, seeds, max_steps=LEADER_STEPS, is_stopped=is_stopped)
        if is_stopped():
            return leader
        registry.rescore(leader, _rescored(leader.eval_metrics, found.score(evaluator)), found.evidence)
        tested.add(leader.snapshot_id)


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
