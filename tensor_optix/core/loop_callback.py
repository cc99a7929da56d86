"""Observing a run: the eight hooks, and the calling of them."""

import copy
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tensor_optix.core.guard import Health
from tensor_optix.core.types import EvalMetrics, HyperparamSet, LoopState, PolicySnapshot
from tensor_optix.errors import ContractError

logger = logging.getLogger(__name__)


class LoopCallback:
    """Observes a run: override any hook. Hooks get copies, and what they raise is logged and goes no further."""

    does_loops_work: bool = False
    """True for one that trains or tests itself, whose time is no fault."""

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


HOOKS = tuple(name for name in vars(LoopCallback) if name.startswith("on_"))


def checked_callbacks(callbacks: Iterable[object]) -> list[Any]:
    """Return callbacks as a list.

    Raises:
        ContractError: no list, or something in it that no hook can be called of.
    """
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


SLOW_SHARE = 0.5
"""Of a window's time, that a callback may take."""
SLOW_SECONDS = 1.0
"""What a callback may take in a window in any case."""


class CallbackList:
    """Tells several callbacks, in order; what one of them raises is logged with its name and goes no further.

    One that takes more than half of a window's time, and more than a second, is counted, and reported once.

    Args:
        callbacks: who is told.
        clock: monotonic seconds.
        health: where the faults are counted.
    """

    def __init__(self, callbacks: Sequence[LoopCallback], clock: Callable[[], float], health: Health) -> None:
        self._callbacks = list(callbacks)
        self._clock, self._health = clock, health
        self._reported: set[int] = set()
        self._begin_window()

    def call(self, hook: str, *args: Any) -> None:
        """Call one hook of every callback, each with copies of the arguments."""
        for i, callback in enumerate(self._callbacks):
            begun = self._clock()
            try:
                method = getattr(callback, hook, None)
                if method is not None:  # an object with some of the hooks will do
                    method(*copy.deepcopy(args))
            except KeyboardInterrupt:
                raise
            except BaseException:
                self._health.count("callback")
                logger.exception("Callback %s.%s failed.", type(callback).__name__, hook)
            self._seconds[i] += self._clock() - begun
        if hook == "on_episode_end":
            self._end_window()
        elif hook == "on_loop_start":
            self._begin_window()

    def _end_window(self) -> None:
        window = self._clock() - self._window_began
        for i, seconds in self._seconds.items():
            is_own = getattr(self._callbacks[i], "does_loops_work", False)
            if is_own or seconds <= max(SLOW_SECONDS, SLOW_SHARE * window):
                continue
            self._health.count("slow callback")
            if i not in self._reported:
                self._reported.add(i)
                logger.warning(
                    "Callback %s took %.1f s of a window of %.1f s: the training waits for it. Do less in it, or do it "
                    "in a thread of its own.",
                    type(self._callbacks[i]).__name__,
                    seconds,
                    window,
                )
        self._begin_window()

    def _begin_window(self) -> None:
        self._seconds: dict[int, float] = defaultdict(float)  # that each has taken in the window in hand
        self._window_began = self._clock()
