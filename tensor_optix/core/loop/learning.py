"""Learning from a window, and what is done where that has spoilt the agent; see `guard` for the whole of it."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent, ReportsNonFinite, Restorable
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.faults import BAD_STEPS, MOST_IN_A_ROW, BadStepsError
from tensor_optix.core.loop.guard import Health
from tensor_optix.core.loop.parts import LoopParts
from tensor_optix.core.loop.tuning import Tuner
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import BadDataError, ContractError, NonFiniteError
from tensor_optix.support.arguments import is_real

logger = logging.getLogger(__name__)

_FIELDS = ("observations", "next_observations", "rewards", "actions", "log_probs", "values")


@dataclass(frozen=True)
class Lesson:
    """What came of a window."""

    diagnostics: dict[str, Any] | None
    """What `learn` returned; None where nothing could be made of the window."""
    fault: str | None = None
    """Why nothing could be made of it: the kind, and what was found."""
    error: Exception | None = None
    """What the run is to end with, where that was once too often."""


class Learning:
    """Lets who learns learn from one window after the other, and gives up after too many faults in a row.

    Args:
        health: where faults are counted.
    """

    def __init__(self, health: Health) -> None:
        self._health = health
        self._lived_before: HyperparamSet | None = None
        """The values that the last good window was lived with."""

    def collected(self, windows: Iterator[EpisodeData]) -> EpisodeData | None:
        """Return the next window, None at the end; the bad steps that there were on the way are counted.

        Raises:
            Exception: what the pipeline raised.
        """
        try:
            window = next(windows, None)
        except BadStepsError as error:
            self._count_steps(error.found)
            raise
        if window is not None:
            self._count_steps(window.metadata.get(BAD_STEPS, {}))
        return window

    def _count_steps(self, found: Mapping[str, int]) -> None:
        if found:
            self._health.count("step", sum(found.values()))

    def check(self, window: EpisodeData, window_id: int) -> Lesson:
        """Return a lesson without any diagnostics, or with what is wrong with the window."""
        fault = window_fault(window)
        if fault is None:
            self._health.passed("window")
            return Lesson({})
        return self._failed(
            "window", f"Window {window_id} is not learned from: {fault}", lambda: _no_better(fault, window_id)
        )

    def learn(
        self, parts: LoopParts, tuner: Tuner, window: EpisodeData, window_id: int, lived_with: HyperparamSet
    ) -> Lesson:
        """Learn from a window; after a strike the agent goes on as `after_strike` says.

        Args:
            parts: what the loop is made of at present.
            tuner: what forgets its trial after a strike.
            window: what to learn from.
            window_id: its number in the run.
            lived_with: the hyper-parameters that it was lived with.

        Raises:
            Exception: what `learn` raised twice.
        """
        lesson = self.check(window, window_id)
        if lesson.fault is not None:
            return lesson
        diagnostics, fault = LearningGuard(parts.agent, parts.registry, self._health).learn(window)
        if fault is None:
            self._health.passed("strike")
            self._health.passed("learn")
            self._lived_before = lived_with
            return Lesson(diagnostics)
        lesson = self._failed(
            "strike", f"{fault} in window {window_id}", lambda: parked(fault, window_id, parts.registry)
        )
        if lesson.error is None:
            tuner.forget_trial()
            self._lived_before = after_strike(parts.agent, self._lived_before or lived_with)
            parts.agent.set_hyperparams(self._lived_before.copy())
        return lesson

    def _failed(self, kind: str, fault: str, error: Callable[[], Exception]) -> Lesson:
        logger.warning("%s", fault)
        is_too_often = self._health.met(kind) >= MOST_IN_A_ROW
        return Lesson(None, f"{kind}: {fault}", error() if is_too_often else None)

    def state_dict(self) -> dict[str, Any]:
        """Return what the next strike goes back to, as plain JSON values."""
        return {"lived_before": self._lived_before.to_dict() if self._lived_before is not None else None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        lived_before = state["lived_before"]
        self._lived_before = None if lived_before is None else HyperparamSet.from_dict(lived_before)


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
            ContractError: `learn` returned no diagnostics.
            Exception: what `learn` raised twice.
        """
        kept = self._agent.snapshot() if isinstance(self._agent, Restorable) else None
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
        if not isinstance(diagnostics, Mapping):
            raise ContractError(
                f"{type(self._agent).__name__}.learn must return diagnostics by name, but returned "
                f"{str(diagnostics)[:100]!r}. Return {{}} where there are none."
            )
        fault = non_finite_loss(diagnostics)
        if fault is None and isinstance(self._agent, ReportsNonFinite):
            name = self._agent.first_non_finite()
            fault = None if name is None else f"{name} is not finite after learn()"
        if fault is not None:
            self._give_back(kept)
        return diagnostics, fault

    def _give_back(self, kept: object) -> None:
        if isinstance(self._agent, Restorable):
            self._agent.restore(kept)
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


def _no_better(fault: str, window_id: int) -> BadDataError:
    return BadDataError(
        f"{fault} in window {window_id}, and the windows before were no better. Look where the environment makes its "
        f"observations and rewards."
    )


def parked(fault: str, window_id: int, registry: CheckpointRegistry) -> NonFiniteError:
    """Return the error that ends a run after too many strikes."""
    best = registry.best
    kept = f"snapshot {best.snapshot_id} is kept" if best is not None else "no snapshot could be scored before"
    return NonFiniteError(
        f"{fault} in window {window_id}, the third time in a row: the run is parked; {kept}, and its state is that of "
        f"the last good window. Lower the learning rate, look for observations or rewards that are too large, and go "
        f"on with resume."
    )
