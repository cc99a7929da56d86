"""The end of a run at a score that the user asked for: reached by a confirmed score, not by a lucky evaluation."""

import logging
from collections.abc import Callable

from tensor_optix.core.loop.run import Run
from tensor_optix.core.loop.standing import is_confirmed
from tensor_optix.core.loop.validation import Validation

logger = logging.getLogger(__name__)


class Target:
    """Tells when a confirmed score reaches `LoopConfig.target_score`.

    A best that claims to reach it is put to the last test, whose result replaces its score. So a claim that was luck
    costs one test, and the next one has to beat the score that was confirmed. Where validation has no further episodes
    nothing can be tested again, and the score of an evaluation counts as it is.

    Args:
        run: the state of the run, and the knobs, with the target.
        validation: where policies are tested.
        settle: tests the leading policies, the learner's own included, until one holds.
    """

    def __init__(self, run: Run, validation: Validation, settle: Callable[[], None]) -> None:
        self._run = run
        self._tests = run.config.final_evaluation and validation.is_there
        self._always_can = self._tests and validation.seeded is not None
        self._settle = settle

    def is_reached(self) -> bool:
        """Return whether the target is reached, testing the best where it only claims so."""
        best = self._run.state.best
        if self._is_claimed and self._tests and best is not None and not is_confirmed(best):
            try:
                self._settle()
            except Exception:  # the same as before an escape: the run goes on
                logger.exception(
                    "The best policy could not be tested for target_score; it keeps the score that it has."
                )
        return self.is_confirmed

    @property
    def is_confirmed(self) -> bool:
        """True if the score of the best reaches the target, and was confirmed where it can be."""
        best = self._run.state.best
        return self._is_claimed and best is not None and (is_confirmed(best) or not self._always_can)

    @property
    def _is_claimed(self) -> bool:
        best = self._run.state.best
        return self._run.config.reaches_target(best.eval_metrics if best else None)
