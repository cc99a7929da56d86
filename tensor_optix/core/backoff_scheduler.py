"""The state machine of the loop: one table, two pure functions.

| from | event | to | what else |
|---|---|---|---|
| any | IMPROVED | ACTIVE | counter 0, interval = base |
| ACTIVE | FLAT, fewer than `plateau_threshold` without improvement | ACTIVE | counter + 1 |
| ACTIVE | FLAT, `plateau_threshold` reached | COOLING | counter + 1, interval grows; *plateau* |
| COOLING | FLAT, fewer than `dormant_threshold` | COOLING | counter + 1, interval grows |
| ACTIVE, COOLING | FLAT, `dormant_threshold` reached | DORMANT | counter + 1; *dormant* |
| ACTIVE, COOLING | DEGRADED, fewer than `dormant_threshold` | ACTIVE | counter + 1, interval = base; *degradation* |
| ACTIVE, COOLING | DEGRADED, `dormant_threshold` reached | DORMANT | counter + 1; *degradation*, *dormant* |
| ACTIVE | WAITING | COOLING | counter + 1, interval grows; *plateau* |
| COOLING | WAITING | COOLING | counter + 1, interval grows |
| DORMANT, WATCHDOG | WAITING | as it was | |
| DORMANT, WATCHDOG | DEGRADED | ACTIVE | counter 0, interval = base; *degradation* |
| DORMANT, WATCHDOG | FLAT | as it was | |
| any | SPAWNED | ACTIVE | counter 0, interval = base |
| DORMANT | WATCH | WATCHDOG | interval = max |
| any | NO_EVIDENCE | as it was | |

A new best is saved (*checkpoint*) whatever the move: rising and being the best are two things.
The counter is `no_improvement`, the evaluations in a row without one. A degradation does not reset it: a policy that
swings below its best for the whole patience has stopped improving, and a collapsed one must not train for ever.
WAITING is FLAT or DEGRADED with `dormant_threshold` reached, while the patience with the learning curve, which grows
with the scale of the task (`decisions.patience`), is not used up: the thresholds are its floors.
The interval grows as intervalₙ = min(max(⌊intervalₙ₋₁ · backoff_factor⌋, intervalₙ₋₁ + 1), max_interval).
"""

import enum
import math
from dataclasses import dataclass, replace

from tensor_optix.core.decisions.trend import Verdict
from tensor_optix.core.types import LoopState
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.arguments import check_count, check_threshold


class Event(enum.Enum):
    """What moves the state machine: the verdicts of evaluations, and what the loop does when it is dormant."""

    IMPROVED = Verdict.IMPROVED.value
    FLAT = Verdict.FLAT.value
    DEGRADED = Verdict.DEGRADED.value
    NO_EVIDENCE = Verdict.NO_EVIDENCE.value
    WAITING = "waiting"
    """No improvement for long enough, but not for the scale of the task."""
    SPAWNED = "spawned"
    WATCH = "watch"


class Effect(enum.Enum):
    """What the controller has to do after a move."""

    CHECKPOINT = "checkpoint"
    DEGRADATION = "degradation"
    PLATEAU = "plateau"
    DORMANT = "dormant"


@dataclass(frozen=True, kw_only=True)
class BackoffScheduler:
    """The knobs of the state machine, and its moves.

    Args:
        base_interval: windows between evaluations while learning.
        backoff_factor: growth of the interval on a plateau, >= 1; at exactly 1 it does not grow.
        max_interval: cap of the interval, in windows.
        plateau_threshold: evaluations without improvement until COOLING.
        dormant_threshold: evaluations without improvement until DORMANT; above `plateau_threshold`.

    Raises:
        InvalidArgumentError: a knob out of its range, or thresholds in the wrong order.
    """

    base_interval: int = 1
    backoff_factor: float = 2.0
    max_interval: int = 100
    plateau_threshold: int = 5
    dormant_threshold: int = 20

    def __post_init__(self) -> None:
        for name in ("base_interval", "max_interval", "plateau_threshold", "dormant_threshold"):
            check_count(name, getattr(self, name), 1)
            object.__setattr__(self, name, int(getattr(self, name)))  # numpy's integers are no JSON
        check_threshold("backoff_factor", self.backoff_factor, 1.0)
        if math.isinf(self.backoff_factor):
            raise InvalidArgumentError(f"backoff_factor must be finite, but got {self.backoff_factor!r}.")
        if self.max_interval < self.base_interval:
            raise InvalidArgumentError(
                f"max_interval_episodes must be at least base_interval, "
                f"but got max_interval_episodes={self.max_interval!r}, base_interval={self.base_interval!r}."
            )
        if self.dormant_threshold <= self.plateau_threshold:
            raise InvalidArgumentError(
                f"dormant_threshold must be above plateau_threshold, but got "
                f"dormant_threshold={self.dormant_threshold!r}, plateau_threshold={self.plateau_threshold!r}."
            )

    def initial(self) -> "SchedulerState":
        """Return the state in which a run starts."""
        return SchedulerState(LoopState.ACTIVE, interval=self.base_interval, no_improvement=0)

    def transition(self, old: "SchedulerState", event: Event) -> "SchedulerState":
        """Return the state after `event`; total over all pairs, see the module's table."""
        dormant = old.state in (LoopState.DORMANT, LoopState.WATCHDOG)
        count = old.no_improvement + 1
        match event:
            case Event.NO_EVIDENCE:
                return old
            case Event.IMPROVED | Event.SPAWNED:
                return self.initial()
            case Event.DEGRADED if dormant:
                return self.initial()
            case Event.FLAT | Event.WAITING if dormant:
                return old
            case Event.DEGRADED if count < self.dormant_threshold:
                return replace(self.initial(), no_improvement=count)
            case Event.FLAT if count >= self.dormant_threshold:
                return replace(old, state=LoopState.DORMANT, no_improvement=count)
            case Event.DEGRADED:
                return replace(old, state=LoopState.DORMANT, no_improvement=count)
            case Event.WAITING:
                return SchedulerState(LoopState.COOLING, self.grown(old.interval), count)
            case Event.FLAT if count >= self.plateau_threshold:
                return SchedulerState(LoopState.COOLING, self.grown(old.interval), count)
            case Event.FLAT:
                return replace(old, no_improvement=count)
            case Event.WATCH:
                return SchedulerState(LoopState.WATCHDOG, self.max_interval, old.no_improvement) if dormant else old

    def bounded(self, state: "SchedulerState") -> "SchedulerState":
        """Return a state that was read, with an interval that this scheduler can have."""
        return replace(state, interval=min(max(state.interval, 1), self.max_interval))

    def grown(self, interval: int) -> int:
        """Return the interval that follows `interval` on a plateau."""
        if self.backoff_factor == 1.0:
            return interval
        return min(max(int(interval * self.backoff_factor), interval + 1), self.max_interval)


@dataclass(frozen=True)
class SchedulerState:
    """Where the state machine stands."""

    state: LoopState
    interval: int
    """Windows from one evaluation to the next."""
    no_improvement: int
    """Evaluations in a row without an improvement."""


def effects(old: SchedulerState, new: SchedulerState, verdict: Verdict, *, is_best: bool) -> tuple[Effect, ...]:
    """Return what a move asks for, in the order in which it is to be done.

    Args:
        old: where the state machine stood.
        new: where it stands.
        verdict: what moved it.
        is_best: True if the evaluated policy is the new best.
    """
    asked: list[Effect] = []
    if is_best:
        asked.append(Effect.CHECKPOINT)
    if verdict is Verdict.DEGRADED:
        asked.append(Effect.DEGRADATION)
    if new.state is LoopState.COOLING and old.state is not LoopState.COOLING:
        asked.append(Effect.PLATEAU)
    if new.state is LoopState.DORMANT and old.state is not LoopState.DORMANT:
        asked.append(Effect.DORMANT)
    return tuple(asked)
