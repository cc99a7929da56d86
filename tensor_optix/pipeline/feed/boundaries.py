"""Where the windows of a feed end."""

import math
from collections.abc import Callable

from tensor_optix.core.types import Observation
from tensor_optix.errors import ContractError, InvalidArgumentError
from tensor_optix.pipeline.environment.environment import check_size
from tensor_optix.support.arguments import is_real

BoundaryFn = Callable[[int, float, Observation], bool]
"""(steps in the window, seconds since it began, the last observation) -> whether it ends here"""

MAX_STEPS = 100_000
"""A window that is still not over after so many steps has a boundary that never fires, unless it fires by itself."""


class EveryNSteps:
    """A window of so many steps."""

    def __init__(self, n: int) -> None:
        check_size("n", n)
        self._n = int(n)

    def __call__(self, step_count: int, elapsed_seconds: float, observation: object) -> bool:
        """Return whether the window ends here."""
        return step_count >= self._n


class EveryNSeconds:
    """A window of so many seconds, by the times at which items came; it ends at the first item after them.

    A feed that waits for each action (`is_lockstep`) is not to blame for the time that the agent learns: its seconds
    count from the first action of the window.
    """

    def __init__(self, n: float) -> None:
        if not (is_real(n) and n > 0):
            raise InvalidArgumentError(f"n must be a positive number of seconds, but got {n!r}.")
        self._n = n

    def __call__(self, step_count: int, elapsed_seconds: float, observation: object) -> bool:
        """Return whether the window ends here."""
        return elapsed_seconds >= self._n


class OnDoneSignal:
    """A window that ends where the feed says that an episode ended (terminated or truncated)."""

    def __call__(self, step_count: int, elapsed_seconds: float, observation: object) -> bool:
        """Return False: the flags, which the pipeline knows, end the window."""
        return False


class Boundary:
    """Asks the function of the user, or of this file, and speaks of it when it fails.

    Raises:
        ContractError: it cannot be called.
    """

    def __init__(self, ends: BoundaryFn) -> None:
        if ends is OnDoneSignal:  # it has no arguments, so the parentheses may be left out
            ends = OnDoneSignal()
        if not callable(ends) or isinstance(ends, type):
            raise ContractError(
                f"episode_boundary_fn must be a function (step_count, elapsed_seconds, observation) -> bool, but got "
                f"{ends!r}. See LivePipeline.every_n_steps(200), every_n_seconds(60) and on_done_signal()."
            )
        self._ends = ends
        self._most = math.inf if isinstance(ends, EveryNSteps | EveryNSeconds) else MAX_STEPS

    def __call__(self, step_count: int, elapsed_seconds: float, observation: object, is_over: bool) -> bool:
        """Return whether the window ends after its last step.

        Raises:
            ContractError: the function raised, or the window has grown beyond all measure.
        """
        if isinstance(self._ends, OnDoneSignal) and is_over:
            return True
        try:
            ends = bool(self._ends(step_count, elapsed_seconds, observation))
        except Exception as error:
            raise ContractError(
                f"episode_boundary_fn raised {type(error).__name__}: {error}. It must return a bool for "
                f"(step_count={step_count}, elapsed_seconds={elapsed_seconds:.3f}, observation)."
            ) from error
        if not ends and step_count >= self._most:
            raise ContractError(
                f"episode_boundary_fn has not ended a window in {step_count} steps. Use one that fires, for example "
                f"LivePipeline.every_n_steps(200)."
            )
        return ends
