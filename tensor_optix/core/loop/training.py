"""One window of training: learn from it, and score the policy where the window is due."""

from dataclasses import replace
from pathlib import Path

from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.succession import LearnerSlot
from tensor_optix.core.loop.learning import Fault, Learning
from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.scoring import Scorer
from tensor_optix.core.types import EpisodeData


class Training:
    """Brings learning and scoring together.

    Args:
        slot: where the learner sits.
        registry: where policies are staged.
        optimizer: what may have a value on trial.
        learning: what lets the learner learn.
        scorer: what scores the policy.
        progress: where time and faults are counted.
    """

    def __init__(
        self,
        slot: LearnerSlot,
        registry: CheckpointRegistry,
        optimizer: BaseOptimizer,
        learning: Learning,
        scorer: Scorer,
        progress: RunProgress,
    ) -> None:
        self._slot = slot
        self._registry = registry
        self._optimizer = optimizer
        self._learning = learning
        self._scorer = scorer
        self._progress = progress

    def step(self, state: RunState, window: EpisodeData) -> Outcome:
        """Learn from a window, and score the policy if the window is due.

        Args:
            state: where the run stands, with the window counted.
            window: what to learn from.

        Raises:
            Exception: what the agent raised twice, or the evaluator or the validation three times in a row.
        """
        outcome = Outcome(
            hyperparams=self._slot.agent.get_hyperparams().copy(), probed_param=self._optimizer.probed_param
        )
        # Without validation the score belongs to the policy that collected the window, which learning then changes.
        staged = self._stage() if state.is_due and not self._scorer.validation.is_there else None
        is_over = False
        try:
            with self._progress.timed("learn"):
                learned = self._learning.learn(window, state.window_id)
            if isinstance(learned, Fault):
                return replace(outcome, fault=learned)
            if not state.is_due:
                return outcome
            scored = self._scorer.score(state, window, learned, can_be_saved=staged is not None)
            is_over = True
        finally:
            if staged is not None and not is_over:
                self._registry.discard(staged)
        return replace(
            outcome,
            is_probing=self._optimizer.is_probing,
            metrics=scored.metrics,
            is_best=scored.is_best,
            evidence=scored.evidence,
            staged=staged,
            incumbent=scored.incumbent,
            test_steps=scored.test_steps,
            is_validated=self._scorer.validation.is_there,
        )

    def _stage(self) -> Path | None:
        with self._progress.health.surviving_storage("write the policy"):
            return self._registry.stage(self._slot.agent)
        return None
