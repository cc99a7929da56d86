"""What scoring a window has come to."""

from dataclasses import dataclass

from tensor_optix.core.loop.selection import Retest
from tensor_optix.core.types import EvalMetrics, PlayedWindow


@dataclass(frozen=True)
class Scored:
    """What a window is worth, and what a test against the best has shown, where there was one."""

    metrics: EvalMetrics
    is_best: bool = False
    evidence: tuple[PlayedWindow, ...] = ()
    """The episodes behind the score, where they are fixed by seeds."""
    incumbent: Retest | None = None
    test_steps: int = 0
    cut_at: int = 0
    """Steps after which episodes behind the score, or of the test, were cut; 0 = none was."""
    gain_of_length: float | None = None
    """What longer episodes add to the score, the higher the better; None = those before were not cut sooner."""
    pending: EvalMetrics | None = None
    """The score of the window itself, where its validation was broken off, or is played beside the next one."""
