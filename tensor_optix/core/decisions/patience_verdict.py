"""How far the patience with a learning curve is used up, the sentence that says it, and when to evaluate next."""

import enum
import math
from dataclasses import dataclass

from tensor_optix.support.arguments import check_count

DENSITY = 0.005
"""Growth of the steps after which a curve is evaluated again at the latest."""
LONGER = 1.25
"""Multiple of the steps that are waited for from which a quiet run is told by its evaluations."""


class Phase(enum.Enum):
    """What a curve looks like."""

    UNLEARNED = "unlearned"
    """Nothing that stands out of the noise of the start."""
    EMERGED = "emerged"
    """Risen out of returns that spread far at the start, to such as do not."""
    SATURATING = "saturating"
    """Learned, and more may come."""
    SATURATED = "saturated"
    """A plateau that many low-noise episodes support, or a known target that was reached."""


@dataclass(frozen=True, kw_only=True)
class PatienceVerdict:
    """How far the patience is used up; `str` gives the sentence for the view."""

    phase: Phase
    """What the curve looks like."""
    quiet_steps: int
    """Steps since the last rise."""
    quiet_evaluations: int
    """Evaluations since then."""
    allowed_steps: int
    """Steps without a rise that are waited for."""
    allowed_evaluations: int
    """Evaluations that are waited for at least, whatever the steps."""
    chance_of_rise: float | None
    """Chance that the run still gains more than 5 % of its final gain; None where it is not known."""
    reason: str
    """Why so long."""

    @property
    def remaining_steps(self) -> int:
        """Steps until the patience runs out."""
        return max(0, self.allowed_steps - self.quiet_steps)

    @property
    def remaining_evaluations(self) -> int:
        """Evaluations that are still due, whatever the steps."""
        return max(0, self.allowed_evaluations - self.quiet_evaluations)

    @property
    def is_exhausted(self) -> bool:
        """True if neither steps nor evaluations remain."""
        return self.remaining_steps == 0 and self.remaining_evaluations == 0

    @property
    def waits_for_evaluations(self) -> bool:
        """True on a plateau that is certain, or quiet for long enough, while evaluations remain."""
        return self.remaining_evaluations > 0 and (self.phase is Phase.SATURATED or self.remaining_steps == 0)

    def __str__(self) -> str:
        """Return such as 'quiet for 180k of 600k steps; 7 % chance of a further rise (saturating)'."""
        if self.allowed_steps == 0 and self.chance_of_rise is None:
            return self.reason
        chance = "" if self.chance_of_rise is None else f"; {self.chance_of_rise:.0%} chance of a further rise"
        more = f", {self.remaining_evaluations} evaluations to go" if self.remaining_evaluations else ""
        quiet = f"{short(self.quiet_steps)} of {short(self.allowed_steps)} steps{more}"
        if self.quiet_steps > LONGER * self.allowed_steps:  # what is waited for are evaluations
            quiet = (
                f"{self.quiet_evaluations} of {self.allowed_evaluations} evaluations, {short(self.quiet_steps)} steps"
            )
        return f"quiet for {quiet}{chance.replace('%', ' %')} ({self.reason})"


def short(steps: float) -> str:
    """Return a number of steps such as 180k."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if steps >= size:
            return f"{steps / size:.3g}{unit}"
    return f"{steps:.0f}"


def chance_of_rise(used: float) -> float:
    """Return the chance of a further rise by more than 5 % of the final gain, after a share `used` of the patience.

    1 / (1 + exp(4.2·√used − 2.7)), fitted to the public curves that were not yet stopped: 0.9 right after a rise, 0.4
    in the middle, 0.2 at the end.
    """
    return 1.0 / (1.0 + math.exp(min(4.2 * math.sqrt(max(used, 0.0)) - 2.7, 50.0)))


def windows_until_due(verdict: PatienceVerdict, steps: int, interval: int, steps_per_window: int) -> int:
    """Return in how many windows to evaluate next: `interval`, but never later than the patience runs out.

    The evaluations that the threshold still asks for are spread over the steps that remain, and there is one each time
    the run has grown by `DENSITY`, so that a large interval neither stretches the patience nor hides a rise:

        min(interval, remaining steps / (remaining evaluations · window), DENSITY · steps / window), at least 1

    Args:
        verdict: the patience at this evaluation.
        steps: environment steps so far.
        interval: windows to the next evaluation, as the backoff has it.
        steps_per_window: environment steps of one window.
    """
    check_count("interval", interval, 1)
    check_count("steps_per_window", steps_per_window, 1)
    if verdict.allowed_steps == 0:
        return interval
    due = min(verdict.remaining_steps / max(1, verdict.remaining_evaluations), DENSITY * steps)
    return max(1, min(interval, math.ceil(due / steps_per_window)))
