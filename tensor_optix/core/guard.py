"""What keeps a run going when something goes wrong in it: faults are caught where they enter, named, and counted.

- A window with values that are not finite, or rows missing, is not learned from and not scored.
- Where `learn` raises, the agent is given back what it was and learns from the window once more. Twice ends the run.
- A loss or a weight that is not finite after `learn` is a *strike*: the agent is given back what it was, the last
  tuning step is undone, and the learning rate is halved.
- Where the evaluator raises or returns no metrics, there is no score, and nothing is decided.
- What the optimizer suggests and the agent cannot have is not tried.
- A policy that the storage does not take is not the best; training goes on.

The third of a kind without a good window between ends the run, except of the last, which never does.
A run that ends so has its state saved: `tensor-optix resume` goes on from the last good window.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent, ReportsNonFinite, Restorable
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.search_space import is_real
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet
from tensor_optix.errors import CheckpointStorageError, ContractError, NonFiniteError

logger = logging.getLogger(__name__)

MOST_IN_A_ROW = 3
"""The third fault of a kind without a good window between ends the run."""
_FIELDS = ("observations", "next_observations", "rewards", "actions", "log_probs", "values")


class Health:
    """How often each kind of fault was met, and how often in a row."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._in_a_row: dict[str, int] = {}

    def met(self, kind: str) -> int:
        """Count a fault, and return how many there have been in a row by now."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._in_a_row[kind] = self._in_a_row.get(kind, 0) + 1
        return self._in_a_row[kind]

    def passed(self, kind: str) -> None:
        """Note that what could have gone wrong has not."""
        self._in_a_row.pop(kind, None)

    @contextmanager
    def surviving_storage(self, what: str) -> Iterator[None]:
        """Let the block fail for the storage's sake: counted, and reported once per streak."""
        try:
            yield
        except CheckpointStorageError as error:
            if self.met("storage") == 1:
                logger.warning(
                    "Could not %s; training goes on, and what is not saved counts for nothing: %s", what, error
                )
        else:
            self.passed("storage")

    def state_dict(self) -> dict[str, Any]:
        """Return the counts as plain JSON values."""
        return {"counts": dict(self.counts), "in_a_row": dict(self._in_a_row)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.counts, self._in_a_row = dict(state["counts"]), dict(state["in_a_row"])


class EvaluatorFailedError(Exception):
    """The evaluator raised, or returned what is no score; the cause says what."""


class GuardedEvaluator(BaseEvaluator):
    """Another evaluator, whose failures are told apart from everybody else's."""

    def __init__(self, evaluator: BaseEvaluator) -> None:
        self._evaluator = evaluator

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        """Score a window."""
        return self._checked("score", episode_data, train_diagnostics)

    def combine(self, train_metrics: EvalMetrics, val_metrics: EvalMetrics) -> EvalMetrics:
        """Put two scores together."""
        return self._checked("combine", train_metrics, val_metrics)

    def score_actions(self, episode_data: EpisodeData, actions: Any) -> EvalMetrics:
        """Score a window with other actions, where the evaluator is one of `ScoresActions`."""
        return self._checked("score_actions", episode_data, actions)

    def _checked(self, method: str, *arguments: Any) -> EvalMetrics:
        try:
            found = getattr(self._evaluator, method)(*arguments)
            if not isinstance(found, EvalMetrics) or not _is_number(found.primary_score):
                raise ContractError(
                    f"{type(self._evaluator).__name__}.{method} must return EvalMetrics with a number for "
                    f"primary_score, but returned {str(found)[:200]!r}."
                )
        except Exception as error:
            raise EvaluatorFailedError(f"{type(self._evaluator).__name__}.{method} failed") from error
        return found


class LearningGuard:
    """Lets an agent learn, and gives it back what it was where that has spoilt it.

    Args:
        agent: who learns. A `Restorable` one is kept in memory before each window; any other gets the best snapshot.
        registry: where that is.
        health: where faults are counted.
    """

    def __init__(self, agent: BaseAgent, registry: CheckpointRegistry, health: Health) -> None:
        self._agent = agent
        self._registry = registry
        self._health = health

    def learn(self, window: EpisodeData) -> tuple[dict[str, Any], str | None]:
        """Let the agent learn from a window; return its diagnostics, and what is not finite, if anything is.

        Raises:
            Exception: what `learn` raised twice.
        """
        kept = self._agent.keep() if isinstance(self._agent, Restorable) else None
        try:
            diagnostics = self._agent.learn(window)
        except Exception as error:
            self._health.met("learn")
            logger.warning("learn() raised in window %d, and is tried once more: %r", window.episode_id, error)
            self._give_back(kept)
            try:
                diagnostics = self._agent.learn(window)
            except Exception:
                self._give_back(kept)
                raise
        fault = non_finite_loss(diagnostics)
        if fault is None and isinstance(self._agent, ReportsNonFinite):
            name = self._agent.first_non_finite()
            fault = None if name is None else f"{name} is not finite after learn()"
        if fault is not None:
            self._give_back(kept)
        return diagnostics, fault

    def _give_back(self, kept: object) -> None:
        if isinstance(self._agent, Restorable):
            self._agent.give_back(kept)
        elif self._registry.best is not None:
            self._registry.load_best(self._agent)


def window_fault(window: EpisodeData) -> str | None:
    """Return what is wrong with a window, None if nothing is: the field, the row and the environment."""
    length = len(np.asarray(window.rewards))
    for name in _FIELDS:
        value = getattr(window, name)
        if value is None:
            continue
        array = np.asarray(value)
        if array.ndim == 0 or len(array) != length:
            return f"{name} has {len(array) if array.ndim else 'no'} rows, where the rewards have {length}"
        if array.dtype.kind not in "fc" or np.isfinite(array).all():
            continue
        row = int(np.flatnonzero(~np.isfinite(array).reshape(length, -1).all(axis=1))[0])
        steps = max(length // window.n_envs, 1)
        return f"{name} is not finite in row {row} (environment {row // steps}, step {row % steps})"
    return None


def non_finite_loss(diagnostics: Mapping[str, Any]) -> str | None:
    """Return which loss that `learn` reported is not finite, None if all are."""
    for name, value in diagnostics.items():
        if "loss" not in name or isinstance(value, str):
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        if not math.isfinite(number):
            return f"learn() reported {name}={number!r}"
    return None


def after_strike(agent: BaseAgent, lived_before: HyperparamSet) -> HyperparamSet:
    """Return what to go on with after a strike: the values before the last tuning step, half the learning rate.

    Args:
        agent: whose they are; the learning rate stays within its `default_param_bounds`.
        lived_before: what the last good window was lived with.
    """
    params = dict(lived_before.params)
    rate = params.get("learning_rate")
    if rate is not None and is_real(rate):
        bound = agent.default_param_bounds.get("learning_rate")
        low = getattr(bound, "low", bound[0] if isinstance(bound, tuple) else 0.0)
        params["learning_rate"] = max(rate / 2, low)
    return HyperparamSet(params, lived_before.episode_id)


def parked(fault: str, window_id: int, registry: CheckpointRegistry) -> NonFiniteError:
    """Return the error that ends a run after too many strikes."""
    best = registry.best
    kept = f"snapshot {best.snapshot_id} is kept" if best is not None else "no snapshot could be scored before"
    return NonFiniteError(
        f"{fault} in window {window_id}, the third time in a row: the run is parked; {kept}, and its state is that of "
        f"the last good window. Lower the learning rate, look for observations or rewards that are too large, and go "
        f"on with resume."
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
