"""A scorer with what it needs."""

from pathlib import Path
from typing import Any

from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop.learner import Single
from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.scoring import Scorer
from tensor_optix.core.types import EvalMetrics, PolicySnapshot
from tests.fakes.loops import ByWeight
from tests.helpers import NumpyAgent, ScoreEvaluator, window_of


class ScoringRig:
    """One scorer, with an agent whose weight is what it is worth where episodes are seeded."""

    def __init__(
        self,
        folder: Path,
        evaluator: BaseEvaluator | None = None,
        held_out: BasePipeline | None = None,
        *,
        is_seeded: bool = False,
        config: LoopConfig | None = None,
    ) -> None:
        self.agent = NumpyAgent()
        self.registry = CheckpointRegistry(folder)
        self.progress = RunProgress(lambda: 0.0)
        self.pipeline = ByWeight(self.agent) if is_seeded else held_out
        self.scorer = Scorer(
            Single(self.agent),
            self.registry,
            evaluator or ScoreEvaluator(),
            self.pipeline,
            config or LoopConfig(),
            self.progress,
        )

    @property
    def faults(self) -> dict[str, int]:
        return self.progress.health.counts

    def save(self, score: float, weight: float) -> PolicySnapshot:
        self.agent.weight = weight
        return self.registry.save(self.agent, EvalMetrics(score))

    def score(
        self, score: float | None, best: PolicySnapshot | None = None, *, saves: bool = True, **state: Any
    ) -> Any:
        at = RunState(position=BackoffScheduler().initial(), window_id=4, best=best, **state)
        return self.scorer.score(at, window_of(score, 4), {}, can_be_saved=saves)
