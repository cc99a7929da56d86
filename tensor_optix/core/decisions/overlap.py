"""Whether updates of an off-policy agent are made beside collecting: where a second core is idle, and both take long.

    time of a step, one after the other    step + update
    at the same time                       max(step, update)

The quotient is 2 where both take the same, and 1 where one of them takes no time. Below the margin nothing is gained
that would be worth acting with weights that are one update older.
"""

from dataclasses import dataclass

MARGIN = 1.2
"""What must be gained."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What learning beside collecting gains; its text says it."""

    step: float
    """Seconds of a step of the environment, acting included."""
    update: float
    """Seconds of the updates per step."""

    @property
    def gain(self) -> float:
        """Of time, as a factor."""
        return (self.step + self.update) / max(self.step, self.update, 1e-12)

    @property
    def pays(self) -> bool:
        """Whether that is enough."""
        return self.gain >= MARGIN

    def __str__(self) -> str:
        how, flag = ("beside collecting", "on") if self.pays else ("after collecting", "off")
        return (
            f"Updating {how} (milliseconds: a step {1e3 * self.step:,.2g}, its updates {1e3 * self.update:,.2g}); "
            f"--learn-beside {flag} does the same without measuring."
        )
