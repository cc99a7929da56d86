"""Learning from the windows, and recovering where one has harmed the agent; see `guard` for the whole of it."""

# pyright: reportUnnecessaryIsInstance=false
# (What users hand in is checked for those who run no type checker.)

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from tensor_optix._visible import in_line
from tensor_optix.core.base_agent import BaseAgent, ReportsNonFinite, Restorable
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.succession import LearnerSlot
from tensor_optix.core.faults import BAD_STEPS, FAILED_EPISODES, MOST_IN_A_ROW, BadStepsError, EpisodesFailedError
from tensor_optix.core.loop.guard import Health
from tensor_optix.core.types import Diagnostics, EpisodeData, HyperparamSet
from tensor_optix.errors import BadDataError, ContractError, NonFiniteError
from tensor_optix.support.arguments import is_real
from tensor_optix.support.trees import is_tree, leaves

logger = logging.getLogger(__name__)

_FIELDS = ("observations", "next_observations", "rewards", "actions", "log_probs", "values")


WINDOW, DIVERGENCE, LEARN = "window", "divergence", "learn"
"""Kinds of faults: a window that cannot be learned from, one that has left values that are not finite, and one from
which `learn` raised, twice."""


@dataclass(frozen=True)
class Fault:
    """Why nothing could be made of a window."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class Learning:
    """Trains the learner on each window, and recovers from a fault or ends the run after too many in a row.

    Args:
        slot: where the learner sits. A `Restorable` one is copied in memory before each window; any other gets the best
            snapshot after a fault.
        registry: the snapshots.
        optimizer: what forgets its trial after a divergence.
        health: where faults are counted.
    """

    def __init__(
        self, slot: LearnerSlot, registry: CheckpointRegistry, optimizer: BaseOptimizer, health: Health
    ) -> None:
        self._slot = slot
        self._registry = registry
        self._optimizer = optimizer
        self._health = health

    def collected(self, windows: Iterator[EpisodeData]) -> EpisodeData | None:
        """Return the next window, None at the end; bad steps and failed episodes on the way are counted.

        Raises:
            Exception: what the pipeline raised.
        """
        try:
            window = next(windows, None)
        except BadStepsError as error:
            self._count_steps(error.found)
            raise
        except EpisodesFailedError as error:
            self._count_failures(error.found)
            raise
        if window is not None:
            self._count_steps(window.metadata.get(BAD_STEPS, {}))
            self._count_failures(window.metadata.get(FAILED_EPISODES, {}))
        return window

    def _count_steps(self, found: Mapping[str, int]) -> None:
        if found:
            self._health.count("step", sum(found.values()))

    def _count_failures(self, found: Mapping[str, Mapping[str, int]]) -> None:
        for kind, known in found.items():
            self._health.count(f"environment {kind}", sum(known.values()))
            self._health.name_failures(kind, known)

    def check(self, window: EpisodeData, window_id: int) -> Fault | None:
        """Return what is wrong with a window, None where it can be learned from."""
        found = window_fault(window)
        if found is None:
            self._health.clear(WINDOW)
            return None
        return Fault(WINDOW, f"Window {window_id} is not learned from: {found}")

    def learn(self, window: EpisodeData, window_id: int) -> Diagnostics | Fault:
        """Learn from a window and return the diagnostics, or the fault that it has, or has caused.

        Raises:
            ContractError: `learn` returned no diagnostics.
            Exception: what `learn` raised twice.
        """
        fault = self.check(window, window_id)
        if fault is not None:
            return fault
        diagnostics, found = learn_guarded(self._slot.agent, self._registry, self._health, window)
        if found is not None:
            return Fault(DIVERGENCE, f"{found} in window {window_id}")
        self._health.clear(DIVERGENCE)
        self._health.clear(LEARN)
        return diagnostics

    def recover(self, fault: Fault, window_id: int, last_good: HyperparamSet) -> HyperparamSet | None:
        """Count a fault; after a divergence put milder values in force and return them.

        Args:
            fault: what it was.
            window_id: its window.
            last_good: the values in force in the last window without a fault.

        Raises:
            BadDataError: the third window in a row that cannot be learned from.
            NonFiniteError: the third divergence in a row.
        """
        logger.warning("%s", in_line(fault.text))
        is_too_often = self._health.fault(fault.kind) >= MOST_IN_A_ROW
        if fault.kind == WINDOW:
            if is_too_often:
                raise _no_better(fault.text)
            return None
        if is_too_often:
            raise aborted(fault.text, self._registry)
        self._optimizer.on_divergence()
        agent = self._slot.agent
        milder = after_divergence(agent, last_good)
        agent.set_hyperparams(milder.copy())
        return milder


def learn_guarded(
    agent: BaseAgent, registry: CheckpointRegistry, health: Health, window: EpisodeData
) -> tuple[dict[str, object], str | None]:
    """Let an agent learn from a window; return its diagnostics, and what is not finite, if anything is.

    The agent is restored where `learn` raises, and where it has left something that is not finite.

    Raises:
        ContractError: `learn` returned no diagnostics.
        Exception: what `learn` raised twice.
    """
    before = agent.snapshot() if isinstance(agent, Restorable) else None

    def restore() -> None:
        if isinstance(agent, Restorable):
            agent.restore(before)
        elif registry.best is not None and registry.fits(registry.best, agent):
            registry.load_best(agent)

    try:
        diagnostics = agent.learn(window)
    except Exception as error:
        health.fault(LEARN)
        logger.warning("learn() raised in window %d, and is tried once more: %r", window.episode_id, error)
        restore()
        try:
            diagnostics = agent.learn(window)
        except Exception:
            restore()
            raise
    if not isinstance(diagnostics, Mapping):
        raise ContractError(
            f"{type(agent).__name__}.learn must return diagnostics by name, but returned "
            f"{str(diagnostics)[:100]!r}. Return {{}} where there are none."
        )
    fault = non_finite_loss(diagnostics)
    if fault is None and isinstance(agent, ReportsNonFinite):
        name = agent.first_non_finite()
        fault = None if name is None else f"{name} is not finite after learn()"
    if fault is not None:
        restore()
    return diagnostics, fault


def window_fault(window: EpisodeData) -> str | None:
    """Return what is wrong with a window, None if nothing is: the field, the row and the environment."""
    length = len(np.asarray(window.rewards))
    for name in _FIELDS:
        value = getattr(window, name)
        if value is None:
            continue
        for array in _arrays_of(value, length):
            if array.ndim == 0 or len(array) != length:
                return f"{name} has {len(array) if array.ndim else 'no'} rows, where the rewards have {length}"
            if array.dtype.kind not in "fc" or np.isfinite(array).all():
                continue
            row = int(np.flatnonzero(~np.isfinite(array).reshape(length, -1).all(axis=1))[0])
            steps = length // window.n_envs
            return f"{name} is not finite in row {row} (environment {row // steps}, step {row % steps})"
    return None


def _arrays_of(value: object, length: int) -> list[np.ndarray]:
    """Return the arrays of a window's field: one, or those of dicts and tuples of arrays with `length` rows."""
    if not is_tree(value):
        return [np.asarray(value)]
    parts = leaves(value)
    are_columns = all(isinstance(part, np.ndarray) and np.shape(cast("Any", part))[:1] == (length,) for part in parts)
    is_of_columns = isinstance(value, Mapping) or are_columns
    return [np.asarray(part) for part in parts] if is_of_columns else [np.asarray(value)]  # a tuple may be of rows


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


def after_divergence(agent: BaseAgent, last_good: HyperparamSet) -> HyperparamSet:
    """Return what to go on with after a divergence: the values before the last tuning step, half the learning rate.

    Args:
        agent: whose they are; the learning rate stays within its `default_param_bounds`.
        last_good: the values in force in the last window without a fault.
    """
    params = dict(last_good.params)
    rate = params.get("learning_rate")
    if rate is not None and is_real(rate):
        bound = agent.default_param_bounds.get("learning_rate")
        low = getattr(bound, "low", bound[0] if isinstance(bound, tuple) else 0.0)
        params["learning_rate"] = max(rate / 2, low)
    return HyperparamSet(params, last_good.episode_id)


def _no_better(fault: str) -> BadDataError:
    return BadDataError(
        f"{fault}, and the windows before were no better. Look where the environment makes its observations and "
        f"rewards."
    )


def aborted(fault: str, registry: CheckpointRegistry) -> NonFiniteError:
    """Return the error that ends a run after too many divergences."""
    best = registry.best
    kept = f"snapshot {best.snapshot_id} is kept" if best is not None else "no snapshot could be scored before"
    return NonFiniteError(
        f"{fault}, the third time in a row: the run is aborted; {kept}, and its state is that of the last good window. "
        f"Lower the learning rate, look for observations or rewards that are too large, and go on with resume."
    )
