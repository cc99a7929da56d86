"""The tests of candidates for the best, and of the best itself, as far as the budget of validation goes."""

import logging
from collections.abc import Callable
from dataclasses import replace

from tensor_optix.core.base_pipeline import PlaysSeeds
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.candidacy import could_be_ahead
from tensor_optix.core.decisions.succession import LearnerSlot
from tensor_optix.core.faults import SEEDS
from tensor_optix.core.loop.guard import GuardedEvaluator
from tensor_optix.core.loop.longer_episodes import challenge_anew, gain_of_length
from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.scored import Scored
from tensor_optix.core.loop.selection import (
    CLOSE_SHARE,
    QUIET_EVALUATIONS,
    TEST_SHARE,
    TEST_WINDOWS,
    Challenge,
    Tested,
    challenge,
    is_retest_due,
    retest,
)
from tensor_optix.core.loop.validation import Validation
from tensor_optix.core.types import EvalMetrics, LoopState

logger = logging.getLogger(__name__)

_LONGER = (
    "Validation episodes are cut after %d steps from now on, later than those before. Scores of both do not compare: "
    "the best is tested again."
)


class CandidateTests:
    """Tests candidates against the best of a run.

    Args:
        slot: where the agent sits that is tested.
        registry: the snapshots.
        evaluator: what scores episodes.
        validation: where they are played.
        config: the knobs of the loop.
        progress: where time and faults are counted.
    """

    def __init__(
        self,
        slot: LearnerSlot,
        registry: CheckpointRegistry,
        evaluator: GuardedEvaluator,
        validation: Validation,
        config: LoopConfig,
        progress: RunProgress,
    ) -> None:
        self._slot = slot
        self._registry = registry
        self._evaluator = evaluator
        self._validation = validation
        self._config = config
        self._progress = progress

    def could_be_ahead(self, state: RunState, metrics: EvalMetrics) -> bool:
        """Return whether a candidate that is not ahead is to be tested all the same."""
        if state.best is None or state.test_steps > CLOSE_SHARE * state.env_steps:
            return False
        if not self.affords(state, 2 * TEST_WINDOWS):
            return False
        return could_be_ahead(metrics, state.best.eval_metrics, self._config.improvement_margin)

    def tested(self, state: RunState, scored: Scored, pipeline: PlaysSeeds, train_metrics: EvalMetrics) -> Scored:
        """Return a score with what a test against the best has shown; as it is where the storage failed.

        Args:
            state: where the run stands.
            scored: the score of the candidate.
            pipeline: where episodes are played.
            train_metrics: the score of the window itself.
        """
        best = state.best
        left = self._config.validation.left(state.env_steps, self._validation.spent, state.validation_part)
        with self._progress.timed("validate"), self._progress.health.surviving_storage("test a candidate"):
            outcome = challenge(
                pipeline,
                self._evaluator,
                best,
                as_incumbent=None if best is None else lambda: self._registry.loaded(best, self._slot.agent),
                margin=self._config.improvement_margin,
                is_cheap=state.test_steps > TEST_SHARE * state.env_steps or not self.affords(state, 2 * TEST_WINDOWS),
                max_steps=min(TEST_SHARE * state.env_steps - state.test_steps, left),
                played=None if self.affords(state, 1) else self._played(),
                with_training=self._with_training(train_metrics),
            )
            return self._challenged(state, train_metrics, outcome)
        return scored

    def with_longer_episodes(
        self, state: RunState, train_metrics: EvalMetrics, metrics: EvalMetrics, limit: int
    ) -> Scored:
        """Return the score of episodes that may be longer than those before, with what the best shows in them.

        Args:
            state: where the run stands.
            train_metrics: the score of the window itself.
            metrics: that of the episodes.
            limit: steps after which one of them is cut.
        """
        logger.info(_LONGER, limit)
        pipeline, window, played, best = self._validation.seeded, self._validation.newest, self._played(), state.best
        gain = 0.0 if window is None else gain_of_length(self._evaluator, window, state.cut_at, metrics)
        scored = self.untested(metrics)
        if pipeline is not None and played is not None and best is not None:
            with self._progress.timed("validate"), self._progress.health.surviving_storage("test the best"):
                outcome = challenge_anew(
                    pipeline,
                    self._evaluator,
                    best,
                    played,
                    as_incumbent=lambda: self._registry.loaded(best, self._slot.agent),
                    limit=limit,
                    margin=self._config.improvement_margin,
                    with_training=self._with_training(train_metrics),
                )
                scored = self._challenged(state, train_metrics, outcome)
        return replace(scored, gain_of_length=gain)

    def untested(self, metrics: EvalMetrics) -> Scored:
        """Return the score of a policy that is the best because it can be compared with none."""
        played = self._played()
        return Scored(metrics, metrics.is_usable, () if played is None else played.evidence)

    def _challenged(self, state: RunState, train_metrics: EvalMetrics, outcome: Challenge) -> Scored:
        steps = outcome.tested.steps + (outcome.incumbent.steps if outcome.incumbent is not None else 0)
        metrics = self._evaluator.combine(train_metrics, outcome.metrics)
        known = outcome.incumbent.metrics if outcome.incumbent is not None else state.best_metrics
        metrics = self._evaluator.graded(metrics, known)
        return Scored(metrics, outcome.wins, outcome.tested.evidence, outcome.incumbent, steps)

    def with_retest(self, state: RunState, scored: Scored, pipeline: PlaysSeeds) -> Scored:
        """Return a score with what the best has shown, where it is time to test that again."""
        best = state.best
        if best is None or not self._is_retest_due(state) or not self.affords(state, TEST_WINDOWS):
            return scored
        with self._progress.timed("validate"), self._progress.health.surviving_storage("test the best"):
            with self._registry.loaded(best, self._slot.agent):
                found = retest(pipeline, self._evaluator, best)
            return replace(scored, incumbent=found, test_steps=found.steps)
        return scored

    def awaits_retest(self, state: RunState) -> bool:
        """Return whether an evaluation waits until the incumbent can be tested again beside it."""
        # Those that were put off take what there is as soon as it is enough: a lucky best would never be tested again.
        is_learning = state.position.state in (LoopState.ACTIVE, LoopState.COOLING)
        is_quiet = is_learning and state.position.no_improvement >= QUIET_EVALUATIONS
        return is_quiet and not self._config.is_reached(state.best_score) and self._is_retest_due(state)

    def _is_retest_due(self, state: RunState) -> bool:
        """Return whether the incumbent is to be tested again, as far as tests may take so many steps."""
        if state.best is None or self._validation.seeded is None or state.test_steps > CLOSE_SHARE * state.env_steps:
            return False
        return is_retest_due(state.best, state.window_id, state.best_tested_in)

    def affords(self, state: RunState, windows: int) -> bool:
        """Return whether validation as long as so many evaluations can be afforded now."""
        return self._config.validation.affords(state.env_steps, self._validation.spent, windows, state.validation_part)

    def _with_training(self, train_metrics: EvalMetrics) -> Callable[[EvalMetrics], EvalMetrics]:
        """Return what gives the score of a test the metrics of training."""
        combine = self._evaluator.combine
        return lambda found: replace(combine(train_metrics, found), primary_score=found.primary_score)

    def _played(self) -> Tested | None:
        """Return what the evaluation itself has shown; None where its episodes cannot be played again."""
        window = self._validation.newest
        seeds = None if window is None else window.metadata.get(SEEDS)
        return Tested.of(window, seeds, self._evaluator) if window is not None and seeds is not None else None
