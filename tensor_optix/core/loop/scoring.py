"""Scoring a window: on held-out episodes where there are any, and again where the score would be the best."""

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.decisions.trend import is_improvement
from tensor_optix.core.faults import MOST_IN_A_ROW
from tensor_optix.core.loop.guard import EvaluatorFailedError, GuardedEvaluator
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.loop.selection import TEST_SHARE, Challenge, challenge
from tensor_optix.core.loop.validation import Validation
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet, PlayedWindow
from tensor_optix.errors import BadDataError

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Evaluation:
    """One evaluated window, before anything is done about it."""

    metrics: EvalMetrics
    is_best: bool
    evidence: tuple[PlayedWindow, ...]
    """The episodes behind the score, where they are fixed by seeds."""
    lived_with: HyperparamSet
    staged: Path | None
    """The weights that were scored, where learning has changed them since."""


class Scorer:
    """Scores the windows of a run, and tests the candidates for its best.

    Args:
        evaluator: what scores a window.
        val_pipeline: where the agent acts and does not learn; None = nothing is held out.
        config: the knobs of the loop.
        progress: what the run has come to; the best's score and the steps of tests are kept up to date in it.
    """

    def __init__(
        self, evaluator: BaseEvaluator, val_pipeline: BasePipeline | None, config: LoopConfig, progress: RunProgress
    ) -> None:
        self._evaluator = GuardedEvaluator(evaluator)
        self._config = config
        self._progress = progress
        self.validation = Validation(val_pipeline, self._evaluator)

    def evaluate(
        self,
        parts: LoopParts,
        data: EpisodeData,
        diagnostics: dict[str, Any],
        lived_with: HyperparamSet,
        staged: Path | None,
    ) -> Evaluation:
        """Return what a window is worth; no score where the evaluator fails, or nothing held out can be played.

        Args:
            parts: what the loop is made of at present.
            data: the window.
            diagnostics: what `learn` returned for it.
            lived_with: the hyper-parameters that it was lived with.
            staged: the weights that it was lived with, where they are what is scored.

        Raises:
            Exception: what the evaluator or the validation raised, the third time in a row.
        """
        scored = self._surviving(lambda: self._scored(parts, data, diagnostics, can_be_saved=staged is not None))
        if scored is not None:
            self._progress.health.passed("validation")
        metrics, is_best, evidence = scored or (no_score(self._progress.window_id), False, ())
        return Evaluation(metrics, is_best, evidence, lived_with, staged)

    def live(self, data: EpisodeData) -> EvalMetrics:
        """Return what a window itself is worth, in which nothing was learned; no score where the evaluator fails."""
        return self._surviving(lambda: self._evaluator.score(data, {})) or no_score(self._progress.window_id)

    def validated(self, live: EvalMetrics) -> EvalMetrics:
        """Return the score of `live` with that of held-out episodes, where there are any."""
        if not self.validation.is_there:
            return live
        with self._progress.timed("validate"):
            metrics = self._surviving(lambda: self._evaluator.combine(live, self.validation.score()))
        if metrics is None:
            return no_score(self._progress.window_id)
        self._progress.health.passed("validation")
        return metrics

    def shadowed(self, data: EpisodeData, actions: Any) -> EvalMetrics:
        """Return what a window would be worth with other actions; for evaluators that can tell (`ScoresActions`)."""
        metrics = self._surviving(lambda: self._evaluator.score_actions(data, actions))
        return metrics or no_score(self._progress.window_id)

    def _surviving(self, score: Callable[[], T]) -> T | None:
        """Return a score, None where the evaluator fails; raise what it raised the third time in a row."""
        health = self._progress.health
        try:
            found = score()
        except (EvaluatorFailedError, BadDataError) as error:
            kind = "evaluator" if isinstance(error, EvaluatorFailedError) else "validation"
            cause = error.__cause__ if isinstance(error, EvaluatorFailedError) else None
            logger.warning("Window %d has no score: %s %r", self._progress.window_id, error, cause or "")
            if health.met(kind) >= MOST_IN_A_ROW:
                raise (cause or error) from None
            return None
        health.passed("evaluator")
        return found

    def _scored(
        self, parts: LoopParts, data: EpisodeData, diagnostics: dict[str, Any], *, can_be_saved: bool
    ) -> tuple[EvalMetrics, bool, tuple[PlayedWindow, ...]]:
        """Return the score, whether it is the best, and the episodes behind it."""
        metrics = train_metrics = self._evaluator.score(data, diagnostics)
        if self.validation.is_there:
            with self._progress.timed("validate"):
                metrics = self._evaluator.combine(train_metrics, self.validation.score())
        if not self._beats_best(metrics):
            return metrics, False, ()
        if self.validation.seeded is None:
            # Without validation the policy that was scored is gone unless it could be staged.
            return metrics, self.validation.is_there or can_be_saved, ()
        outcome = self._tested(parts)
        if outcome is None:
            return metrics, False, ()
        return self._evaluator.combine(train_metrics, outcome.metrics), outcome.wins, outcome.tested.evidence

    def _beats_best(self, metrics: EvalMetrics) -> bool:
        return metrics.is_usable and is_improvement(
            metrics.primary_score, self._progress.best_score, self._config.improvement_margin
        )

    def _tested(self, parts: LoopParts) -> Challenge | None:
        """Test the policy against the best; None where the storage failed."""
        seeded, progress = self.validation.seeded, self._progress
        assert seeded is not None  # noqa: S101 - for the type checker; the caller has looked

        def as_best() -> AbstractContextManager[None]:
            assert progress.best is not None  # noqa: S101 - for the type checker; there is an incumbent
            return parts.registry.loaded(progress.best, parts.agent)

        outcome = None
        with progress.timed("validate"), progress.health.surviving_storage("test a candidate"):
            outcome = challenge(
                seeded,
                self._evaluator,
                progress.best,
                as_incumbent=as_best,
                margin=self._config.improvement_margin,
                is_cheap=progress.test_steps > TEST_SHARE * progress.env_steps,
            )
        if outcome is None:
            return None
        progress.test_steps += outcome.tested.steps
        if outcome.incumbent is not None and progress.best is not None:
            progress.test_steps += outcome.incumbent.steps
            with progress.health.surviving_storage("save a new score"):
                progress.best = parts.registry.rescore(
                    progress.best, outcome.incumbent.metrics, outcome.incumbent.evidence
                )
        return outcome


def no_score(window_id: int) -> EvalMetrics:
    """Return the metrics of a window that there is nothing to judge by."""
    return EvalMetrics(math.nan, {}, window_id, has_evidence=False)
