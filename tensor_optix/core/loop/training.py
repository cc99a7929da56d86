"""One window of training: learn from it, and score the policy where the window is due."""

import logging
from dataclasses import replace
from pathlib import Path

from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.succession import LearnerSlot
from tensor_optix.core.loop.learning import LEARN, Fault, Learning
from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.scheduling import Scheduling
from tensor_optix.core.loop.scoring import Scored, Scorer
from tensor_optix.core.types import Diagnostics, EpisodeData, EvalMetrics

logger = logging.getLogger(__name__)


class Training:
    """Brings learning and scoring together.

    Args:
        slot: where the learner sits.
        registry: where policies are staged.
        optimizer: what may have a value on trial.
        learning: what lets the learner learn.
        scorer: what scores the policy.
        progress: where time and faults are counted.
        scheduling: puts the values of schedules in force.
    """

    def __init__(
        self,
        slot: LearnerSlot,
        registry: CheckpointRegistry,
        optimizer: BaseOptimizer,
        learning: Learning,
        scorer: Scorer,
        progress: RunProgress,
        scheduling: Scheduling,
    ) -> None:
        self._slot = slot
        self._registry = registry
        self._optimizer = optimizer
        self._learning = learning
        self._scorer = scorer
        self._progress = progress
        self._scheduling = scheduling

    def step(self, state: RunState, window: EpisodeData) -> Outcome:
        """Learn from a window, and score the policy if the window is due.

        Args:
            state: where the run stands, with the window counted.
            window: what to learn from.

        Raises:
            Exception: what the agent raised twice, or the evaluator or the validation three times in a row.
        """
        self._scheduling.put_in_force(state, window.length)
        outcome = Outcome(
            hyperparams=self._slot.agent.get_hyperparams().copy(), probed_param=self._optimizer.probed_param
        )
        # Without validation the score belongs to the policy that collected the window, which learning then changes.
        staged = self._stage() if state.is_due and not self._scorer.validation.is_there else None
        is_over = False
        try:
            learned = self._learned(state, window)
            if isinstance(learned, Fault):
                return replace(outcome, fault=learned)
            outcome = replace(outcome, diagnostics=learned)
            if not self._scorer.is_up(state):
                return outcome
            if self._scorer.defers(state):
                return self._scored(outcome, self._scorer.deferred(state, window, learned), None)
            scored = self._scorer.score(state, window, learned, can_be_saved=staged is not None)
            is_over = True
        finally:
            if staged is not None and not is_over:
                self._registry.discard(staged)
        return self._scored(outcome, scored, staged)

    def _learned(self, state: RunState, window: EpisodeData) -> Diagnostics | Fault:
        try:
            with self._progress.timed("learn"):
                return self._learning.learn(window, state.window_id)
        except Exception as error:
            if state.escape is None or not state.escape.is_other_algorithm:
                raise
            logger.exception("learn() raised again")
            return Fault(LEARN, f"learn() raised twice in window {state.window_id}: {error!r}")

    def finish(self, state: RunState, train_metrics: EvalMetrics) -> Outcome:
        """Score the policy after a window that was learned from, and whose validation was broken off.

        Args:
            state: where the run stands, with the window in hand.
            train_metrics: the score of the window itself.
        """
        outcome = Outcome(
            hyperparams=self._slot.agent.get_hyperparams().copy(), probed_param=self._optimizer.probed_param
        )
        return self._scored(outcome, self._scorer.finish(state, train_metrics), None)

    def _scored(self, outcome: Outcome, scored: Scored, staged: Path | None) -> Outcome:
        if scored.pending is not None:
            return replace(outcome, pending=scored.pending)
        return replace(
            outcome,
            is_probing=self._optimizer.is_probing,
            metrics=scored.metrics,
            is_best=scored.is_best,
            evidence=scored.evidence,
            staged=staged,
            incumbent=scored.incumbent,
            test_steps=scored.test_steps,
            cut_at=scored.cut_at,
            gain_of_length=scored.gain_of_length,
            is_repeatable=self._scorer.validation.seeded is not None,
            is_validated=self._scorer.validation.is_there,
        )

    def _stage(self) -> Path | None:
        with self._progress.health.surviving_storage("write the policy"):
            return self._registry.stage(self._slot.agent)
        return None
