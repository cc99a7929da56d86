"""Observing a run: the eight hooks, and the calling of them."""

import copy
import logging
from collections.abc import Sequence
from typing import Any

from tensor_optix.core.types import EvalMetrics, HyperparamSet, LoopState, PolicySnapshot

logger = logging.getLogger(__name__)


class LoopCallback:
    """Observes a run: override any hook. Hooks get copies, and what they raise is logged and goes no further."""

    def on_loop_start(self) -> None:
        """Called before the first window."""

    def on_loop_stop(self) -> None:
        """Called last, when everything is saved and the best policy restored."""

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        """Called after every window; `eval_metrics` is None where the window was not evaluated."""

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


class CallbackList:
    """Tells several callbacks, in order; what one of them raises is logged with its name and goes no further."""

    def __init__(self, callbacks: Sequence[LoopCallback]) -> None:
        self._callbacks = list(callbacks)

    def call(self, hook: str, *args: Any) -> None:
        """Call one hook of every callback, each with copies of the arguments."""
        for callback in self._callbacks:
            try:
                method = getattr(callback, hook, None)
                if method is not None:  # an object with some of the hooks will do
                    method(*copy.deepcopy(args))
            except KeyboardInterrupt:
                raise
            except BaseException:
                logger.exception("Callback %s.%s failed; the run goes on.", type(callback).__name__, hook)
