"""What keeps a run going when something goes wrong in it: faults are caught where they enter, named, and counted.

- A step with a NaN, another shape, a reward that is no number: its environment is reset, see `pipeline`. A window says
  in its metadata which there were.
- A window with values that are not finite, or rows missing, is not learned from and not scored.
- Where `learn` raises, the agent is restored and learns from the window once more. Twice ends the run.
- A loss or a weight that is not finite after `learn` is a *divergence*: the agent is restored, the last tuning step is
  undone, and the learning rate is halved.
- Where the evaluator raises or returns no metrics, there is no score, and nothing is decided.
- What the optimizer suggests and the agent cannot have is not tried.
- A policy that the storage does not take is not the best; training goes on.

The third of a kind without a good window between ends the run, except of the last, which never does.
A run that ends so has its state saved: `tensor-optix resume` goes on from the last good window.
"""

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import numpy as np

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.decisions.preference import graded
from tensor_optix.core.loop.ordered_evaluator import name_of
from tensor_optix.core.types import Action, Diagnostics, EpisodeData, EvalMetrics
from tensor_optix.errors import CheckpointStorageError, ContractError

logger = logging.getLogger(__name__)


MOST_REASONS, OTHER_REASONS = 20, "other reasons"
"""Of the failures of a kind, so many reasons are told apart: a text with a number in it is another one each time."""


class Health:
    """How often each kind of fault was met, and how often in a row."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.in_a_row: dict[str, int] = {}
        self.failed_episodes: dict[str, dict[str, int]] = {}
        """Those that were left because their environment failed: by how it failed, and by reason, how many."""

    def count(self, kind: str, times: int = 1) -> None:
        """Count faults that nothing is made of here."""
        self.counts[kind] = self.counts.get(kind, 0) + times

    def fault(self, kind: str) -> int:
        """Count a fault, and return how many there have been in a row by now."""
        self.count(kind)
        self.in_a_row[kind] = self.in_a_row.get(kind, 0) + 1
        return self.in_a_row[kind]

    def name_failures(self, kind: str, known: Mapping[str, int]) -> None:
        """Add up why environments failed, whichever of them it was.

        Args:
            kind: how they failed, one of `core.faults.FAILURES`.
            known: how often, by what the pipeline tells of it: "Environment 1 of 4 raised in step: ...".
        """
        reasons = self.failed_episodes.setdefault(kind, {})
        for told, times in known.items():
            reason = told.partition(f" {kind} in ")[2] or told
            if reason not in reasons and len(reasons) >= MOST_REASONS:
                reason = OTHER_REASONS
            reasons[reason] = reasons.get(reason, 0) + times

    def clear(self, kind: str) -> None:
        """Note that what could have gone wrong has not."""
        self.in_a_row.pop(kind, None)

    @contextmanager
    def surviving_storage(self, what: str, kind: str = "storage") -> Generator[None]:
        """Let the block fail for the storage's sake: counted as `kind`, and reported once per streak."""
        try:
            yield
        except CheckpointStorageError as error:
            if self.fault(kind) == 1:
                logger.warning(
                    "Could not %s; training goes on, and what is not saved counts for nothing: %s", what, error
                )
        else:
            self.clear(kind)


class EvaluatorFailedError(Exception):
    """The evaluator raised, or returned what is no score; the cause says what."""


class GuardedEvaluator(BaseEvaluator):
    """Another evaluator, whose failures are told apart from everybody else's."""

    def __init__(self, evaluator: BaseEvaluator) -> None:
        self._evaluator = evaluator

    def score(self, episode_data: EpisodeData, train_diagnostics: Diagnostics) -> EvalMetrics:
        """Score a window."""
        return self._checked("score", episode_data, train_diagnostics)

    def score_validation(self, episode_data: EpisodeData, train_diagnostics: Diagnostics | None = None) -> EvalMetrics:
        """Score a held-out window."""
        return self._checked("score_validation", episode_data)

    def combine(self, train_metrics: EvalMetrics, val_metrics: EvalMetrics) -> EvalMetrics:
        """Put two scores together."""
        return self._checked("combine", train_metrics, val_metrics)

    def score_actions(self, episode_data: EpisodeData, actions: Action) -> EvalMetrics:
        """Score a window with other actions, where the evaluator is one of `ScoresActions`."""
        return self._checked("score_actions", episode_data, actions)

    def beats(self, candidate: EvalMetrics, reference: EvalMetrics | None, margin: float = 0.0) -> bool:
        """Compare two scores."""
        try:
            return self._evaluator.beats(candidate, reference, margin)
        except Exception as error:
            raise EvaluatorFailedError(f"{name_of(self._evaluator)}.compare failed") from error

    def graded(self, metrics: EvalMetrics, best: EvalMetrics | None) -> EvalMetrics:
        """Return a score with its grade, see `preference.graded`."""
        return graded(self.beats, metrics, best)

    def _checked(self, method: str, *arguments: object) -> EvalMetrics:
        try:
            found = getattr(self._evaluator, method)(*arguments)
            if not isinstance(found, EvalMetrics) or not _is_number(found.primary_score):
                raise ContractError(
                    f"{name_of(self._evaluator)}.{method} must return EvalMetrics with a number for "
                    f"primary_score, but returned {str(found)[:200]!r}."
                )
        except Exception as error:
            raise EvaluatorFailedError(f"{name_of(self._evaluator)}.{method} failed") from error
        return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
