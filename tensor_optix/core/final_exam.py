"""The last test of a run: the leading snapshots are scored once more, on many fresh episodes, until the leader holds.

The best of many noisy scores is too high, and a score at an environment's ceiling says little. So the leader is played
again on episodes that no decision has seen; its score becomes what it scored there, and if that puts another snapshot
first, that one is tested too, on the same episodes. It ends when the leader's score is one of the exam.
"""

import dataclasses

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import PlaysSeeds
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.types import EpisodeData, EvalMetrics, PolicySnapshot

EXAM_WINDOWS = 20
"""Validation windows per snapshot."""
EXAM_STEPS = 100_000
"""No further window is played for a snapshot that has already used this many steps."""


def hold_exam(
    agent: BaseAgent, registry: CheckpointRegistry, pipeline: PlaysSeeds, evaluator: BaseEvaluator
) -> PolicySnapshot | None:
    """Test leaders until one holds, and return it; its weights are then in the agent.

    Returns None where there is nothing to test. Each snapshot is tested once at most, so that it ends.
    """
    seeds = [pipeline.fresh_seeds() for _ in range(EXAM_WINDOWS)]
    examined: dict[str, PolicySnapshot] = {}
    while (leader := registry.best) is not None and leader.snapshot_id not in examined:
        registry.load(leader, agent)
        metrics = _rescored(leader.eval_metrics, evaluator.score(_play(pipeline, seeds), {}))
        examined[leader.snapshot_id] = registry.rescore(leader, metrics)
    return examined.get(leader.snapshot_id) if leader else None


def _play(pipeline: PlaysSeeds, seeds: list[list[int]]) -> EpisodeData:
    windows: list[EpisodeData] = []
    for window_seeds in seeds:
        if sum(window.length for window in windows) > EXAM_STEPS:
            break
        windows.append(_without_observations(pipeline.play(window_seeds)))
    return EpisodeData.concatenate(windows)


def _without_observations(window: EpisodeData) -> EpisodeData:
    return dataclasses.replace(window, next_observations=None)


def _rescored(selected: EvalMetrics, exam: EvalMetrics) -> EvalMetrics:
    """Return the exam's score in place of the one that the snapshot was selected by, which is kept beside it."""
    metrics = {
        **selected.metrics,
        "selection_score": selected.primary_score,
        "val_score": exam.primary_score,
        "score_std_err": exam.std_err,
        "exam_episodes": exam.metrics.get("episodes", 0.0),
    }
    if "train_score" in metrics:
        metrics["generalization_gap"] = metrics["train_score"] - exam.primary_score
    return dataclasses.replace(selected, primary_score=exam.primary_score, metrics=metrics)
