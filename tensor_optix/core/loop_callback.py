"""Observing a run: the hooks, and the check of those who have them."""

# pyright: reportUnnecessaryIsInstance=false
# (What users hand in is checked for those who run no type checker.)

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tensor_optix.core.types import EvalMetrics, HyperparamSet, LoopState, PolicySnapshot
from tensor_optix.errors import ContractError

logger = logging.getLogger(__name__)


class LoopCallback:
    """Observes a run: override any hook. Hooks get copies, and what they raise is logged and goes no further."""

    def on_loop_start(self) -> None:
        """Called before the first window."""

    def on_loop_stop(self) -> None:
        """Called last, when everything is saved and the best policy restored."""

    def on_window_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        """Called after every window; `eval_metrics` is None where the window was not evaluated."""

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        """Called right after `on_window_end`, with the same: "episode" means a window in this name, not an episode."""

    def on_improvement(self, snapshot: PolicySnapshot) -> None:
        """Called when a new best policy has been saved."""

    def on_plateau(self, window_id: int, state: LoopState) -> None:
        """Called when the loop enters COOLING."""

    def on_dormant(self, window_id: int) -> None:
        """Called once per entry into DORMANT: the model is trained."""

    def on_degradation(self, window_id: int, eval_metrics: EvalMetrics) -> None:
        """Called when the score has fallen too far below the best."""

    def on_hyperparam_update(self, old: HyperparamSet, new: HyperparamSet) -> None:
        """Called when new hyper-parameters are in force."""


@runtime_checkable
class FollowsRun(Protocol):
    """A callback that reads what the run writes to its folder, as trackers do."""

    def follow(self, run_dir: Path) -> None:
        """Learn where that is; the loop calls it when it is made."""
        ...


HOOKS = tuple(name for name in vars(LoopCallback) if name.startswith("on_"))


def checked_callbacks(callbacks: Iterable[object] | None) -> list[Any]:
    """Return callbacks as a list, an empty one for None.

    Raises:
        ContractError: no list, or something in it that no hook can be called of.
    """
    if callbacks is None:
        return []
    if not isinstance(callbacks, Iterable):
        raise ContractError(f"callbacks must be a list of callbacks, but got {callbacks!r}. Write callbacks=[...].")
    checked = list(callbacks)
    for callback in checked:
        if isinstance(callback, type):
            raise ContractError(
                f"callbacks must hold objects, but got the class {callback.__name__}. Write {callback.__name__}()."
            )
        if not any(callable(getattr(callback, hook, None)) for hook in HOOKS):
            raise ContractError(f"callbacks must have at least one hook of {HOOKS}, but got {callback!r}.")
    return checked
