"""What has become of the escapes of a run, and what they have left in force. Pure."""

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

WINDOW_SIZE = "window_size"
"""What a change of the windows is called among those of an escape."""
ALGORITHM = "algorithm"
"""What a change of the algorithm is called among those of an escape."""


class EscapeOutcome(enum.StrEnum):
    """What has become of an escape."""

    RUNNING = "running"
    KEPT = "kept"
    GIVEN_UP = "given up"
    BROKEN_OFF = "broken off"


@dataclass(frozen=True, kw_only=True)
class EscapeRecord:
    """One escape of a run."""

    name: str
    began_window: int
    began_step: int
    began_evaluation: int
    """Evaluations on the learning curve before it."""
    share: int
    """Steps that it may take."""
    score_before: float
    """Of the best policy, from which it began."""
    changes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    """Hyper-parameters that it changed: (before, then)."""
    outcome: EscapeOutcome = EscapeOutcome.RUNNING
    steps: int = 0
    """Steps that it took; 0 while it is running."""
    last_window: int | None = None
    score: float = math.nan
    """Of the best policy when it ended."""

    @property
    def is_running(self) -> bool:
        """True until it has ended."""
        return self.outcome is EscapeOutcome.RUNNING

    @property
    def is_other_algorithm(self) -> bool:
        """True where an agent of another algorithm learns in it."""
        return ALGORITHM in self.changes

    @property
    def stretch(self) -> float:
        """Steps of one of its windows over those of the windows before."""
        before, then = self.changes.get(WINDOW_SIZE, (1, 1))
        return then / before

    def ended(self, outcome: EscapeOutcome, *, window_id: int, env_steps: int, score: float) -> Self:
        """Return the record of an escape that is over."""
        return replace(self, outcome=outcome, last_window=window_id, steps=env_steps - self.began_step, score=score)

    @property
    def text(self) -> str:
        """Such as 'entropy: given up after 40,960 steps', or 'entropy, 40,960 steps at most' while it is running."""
        if self.is_running:
            return f"{self.name}, {self.share:,} steps at most"
        return f"{self.name}: {self.outcome} after {self.steps:,} steps"


def running(escapes: Sequence[EscapeRecord]) -> EscapeRecord | None:
    """Return the escape in progress."""
    return escapes[-1] if escapes and escapes[-1].is_running else None


def windows_left(escape: EscapeRecord, env_steps: int, steps_per_window: int) -> int:
    """Return how many more windows an escape in progress may take.

    Args:
        escape: the one in progress.
        env_steps: environment steps of the run so far.
        steps_per_window: of the windows outside of it; of another algorithm's own ones.
    """
    stretch = 1.0 if escape.is_other_algorithm else escape.stretch
    return max(0, int((escape.share - (env_steps - escape.began_step)) / (steps_per_window * stretch)))


def other_algorithm(escapes: Sequence[EscapeRecord]) -> EscapeRecord | None:
    """Return the escape of a run since which another algorithm learns; None where the run's own one does."""
    return next((one for one in reversed(escapes) if one.is_other_algorithm and _is_in_force(one)), None)


def mean_window(escapes: Sequence[EscapeRecord], windows: int, env_steps: int) -> int:
    """Return the mean steps of a window, at least 1; only windows of the algorithm that learns at present count.

    Args:
        escapes: those of the run.
        windows: of the run so far.
        env_steps: environment steps of the run so far.
    """
    for one in escapes:
        if one.is_other_algorithm and _is_in_force(one) and windows > one.began_window:
            windows, env_steps = windows - one.began_window, env_steps - one.began_step
        elif one.is_other_algorithm and one.last_window is not None:
            windows, env_steps = windows - (one.last_window + 1 - one.began_window), env_steps - one.steps
    return max(1, round(env_steps / windows))


def window_size_in_force(escapes: Sequence[EscapeRecord]) -> int | None:
    """Return how long windows are by what escapes have made of them; None where none has changed that.

    Args:
        escapes: those of the run, in the order of time.
    """
    for one in reversed(escapes):
        if WINDOW_SIZE in one.changes:
            before, then = one.changes[WINDOW_SIZE]
            return then if _is_in_force(one) else before
    return None


def with_best(escapes: Iterable[EscapeRecord], window_id: int | None) -> tuple[EscapeRecord, ...]:
    """Return the escapes as the last test of the run leaves them: the one that found the best policy is kept.

    Args:
        escapes: those of the run.
        window_id: in which the best policy was found.
    """
    return tuple(
        replace(one, outcome=EscapeOutcome.KEPT)
        if window_id is not None and one.last_window is not None and one.began_window <= window_id <= one.last_window
        else one
        for one in escapes
    )


def failed_since_kept(escapes: Sequence[EscapeRecord]) -> int:
    """Return how many escapes of a run were in vain since the last that was kept; those that took no step are none.

    Args:
        escapes: those that have ended, in the order of time.
    """
    return sum(one.steps > 0 for one in since_kept(escapes))


def since_kept(escapes: Sequence[EscapeRecord]) -> Sequence[EscapeRecord]:
    """Return the escapes of a run since the last that was kept, all of them where none was."""
    kept = max((i for i, one in enumerate(escapes) if one.outcome is EscapeOutcome.KEPT), default=-1)
    return escapes[kept + 1 :]


def _is_in_force(escape: EscapeRecord) -> bool:
    return escape.outcome in (EscapeOutcome.RUNNING, EscapeOutcome.KEPT)
