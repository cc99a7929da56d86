"""How much validation a run can afford, and how long its episodes may be. Pure functions of counted steps.

With T steps of training, V steps of validation, tests of candidates and last tests included, and a share p:

    V ≤ B(T) = F + p / (1 − p) · T      F = 10,000 steps for the start; beyond them V is at most p of all steps
    before the last tests               V ≤ ⅔ · B(T); the rest is kept for them
    tests before the first escape       V ≤ ¾ · B(T)
    from the first escape on            V ≤ ⅚ · B(T), or those tests would leave nothing to judge an escape by
    evaluations that the end waits for  V ≤ 4/3 · B(T): on a plateau, each `MOST_STRETCH`-th of those that are due
    a short confirmation of the best    V ≤ 2 · B(T)

The last two save more than they cost: while a run is trained and waits for an evaluation, it trains for nothing. What
the untrained policy plays before the first window is not counted: its episodes may not end, and are bounded themselves.
F is 0 in a slow simulator, whose steps take so long that 10,000 of them last more than 7 seconds. It is decided once,
by the median of the first steps, which a loaded machine hardly changes.
An evaluation is expected to take as many steps as the one before it. Where they cannot be afforded it is put off,
window by window; the episodes behind a score get no fewer. The first one always takes place. An episode is cut at the
smaller one of two bounds, rounded down to 200 · 2ᵏ, but not before 200 steps, nor before the environment's own time
limit where that is short, and after 50,000 at the latest:

    2 · longest training episode          ¼ · ⅔ · B(T) / episodes

so that what training shows to be an ordinary episode is not cut where that can be afforded, and a policy which never
ends its episodes costs little more than others. Its return so far is its score: no better, in the long run, than that
of the longest training episodes. Before one of those has ended, nothing tells what is ordinary: the second bound is
⅛ · ⅔ · p / (1 − p) · T / episodes alone. Bounds double, so that scores compare in between (`cut_episodes`).

Steps are counted and not seconds, as a run must repeat exactly. Their share bounds that of the time, too: a step of
validation is one of training without the learning. Where it is dearer all the same (training steps many environments in
parallel, or as arrays), an emergency valve puts evaluations off while validation has taken more than twice its share of
the time, more than half of it, and more than a minute, that of the free steps not counted. Both times grow with the
load of the machine, and their ratio does not. Only a run in which the valve opens depends on the clock; it says so, and
counts how often.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.arguments import is_real

RUN_SHARE = 2 / 3
"""Of the budget, for evaluations and tests before the last tests."""
LEARNED_SHARE, ESCAPES_SHARE = 3 / 4, 5 / 6
"""The same for the tests before the first escape, and from there on."""
FREE_STEPS, FREE_SECONDS = 10_000, 7.0
"""F, and the seconds that they may take at the pace of the median step: ten times what they take where it is fast."""
CLOSING_MULTIPLE = 2
"""Of these parts, for evaluations that the end of a run waits for, and for a short confirmation."""
CONFIRMING_WINDOWS = 2
"""Of that confirmation."""
EVALUATION_SHARE = 1 / 8
"""Of that, without the free steps, for one evaluation before an episode of training has ended."""
ORDINARY_SHARE = 1 / 4
"""Of that, the free steps included, for any other one."""
LONGEST_MULTIPLE = 2
"""An episode is cut at this multiple of the longest training episode."""
SHORTEST_LIMIT, LONGEST_LIMIT = 200, 50_000
"""No episode is cut before so many steps, and none is longer: what never ends one must not stop the training."""
VALVE_MULTIPLE, VALVE_SHARE, VALVE_SECONDS = 2.0, 0.5, 60.0
"""The valve opens at this multiple of the share of the time, and not before this share and so many seconds of it."""


@dataclass(frozen=True, kw_only=True)
class ValidationSpent:
    """What validation has cost so far."""

    steps: int = 0
    """Environment steps of evaluations and tests."""
    start: int = 0
    """Those of them that the untrained policy took before the first window, which the budget does not count."""
    newest: int | None = None
    """Steps of the newest evaluation; None before the first."""
    put_off: int = 0
    """Windows in which an evaluation was due and could not be afforded."""
    by_clock: int = 0
    """Those of them that were put off for the time and not for the steps: such a run does not repeat exactly."""
    cut: int = 0
    """Episodes that were cut."""
    is_slow: bool | None = None
    """True if a step takes so long that none are free; None until that is known."""


def cost_text(cost: Mapping[str, int], training_steps: int, remedy: str = "") -> str:
    """Return what validation has cost: its share of all steps, and what its budget put off and cut, as far as it did.

    Args:
        cost: `steps`, at least 1, `put_off`, `by_clock` and `cut`, as `ValidationSpent` has them.
        training_steps: T.
        remedy: the option that puts off less, named where something was.
    """
    told = {
        "put_off": f"evaluations put off{remedy and f' ({remedy})'}",
        "by_clock": "of them for the time, so it does not repeat exactly",
        "cut": "episodes cut",
    }
    more = [f"{cost[name]} {text}" for name, text in told.items() if cost.get(name)]
    return ", ".join([f"{cost['steps'] / (cost['steps'] + training_steps):.0%} of all", *more])


@dataclass(frozen=True, kw_only=True)
class ValidationBudget:
    """The share of a run's steps that validation may take.

    Args:
        share: p, between 0 and 1; None = no bound, and no episode is cut.

    Raises:
        InvalidArgumentError: a share that is not between 0 and 1.
    """

    share: float | None = 0.15

    def __post_init__(self) -> None:
        if self.share is not None and not (is_real(self.share) and 0.0 < self.share < 1.0):
            raise InvalidArgumentError(
                f"validation_share must be above 0 and below 1, or None for no bound, but got {self.share!r}."
            )

    def steps(self, training_steps: int, part: float = RUN_SHARE, *, is_slow: bool = False) -> float:
        """Return how many steps validation may have taken.

        Args:
            training_steps: T.
            part: of the budget; 1 for the last tests.
            is_slow: True where no steps are free.
        """
        if self.share is None:
            return math.inf
        free = 0 if is_slow else FREE_STEPS
        return (free + self.share / (1.0 - self.share) * training_steps) * part

    def left(self, training_steps: int, spent: ValidationSpent, part: float = RUN_SHARE) -> float:
        """Return how many steps validation may still take; below 0 where it has taken too many.

        Args:
            training_steps: T.
            spent: what validation has cost so far.
            part: of the budget, see `steps`.
        """
        return self.steps(training_steps, part, is_slow=spent.is_slow is True) - (spent.steps - spent.start)

    def affords(
        self, training_steps: int, spent: ValidationSpent, evaluations: int = 1, part: float = RUN_SHARE
    ) -> bool:
        """Return whether validation as long as some evaluations can be afforded; the first one always is.

        Args:
            training_steps: T.
            spent: what validation has cost so far.
            evaluations: how many, each as long as the newest.
            part: of the budget, see `steps`.
        """
        if spent.newest is None:
            return True
        return evaluations * spent.newest <= self.left(training_steps, spent, part)

    def last_windows(
        self, training_steps: int, spent: ValidationSpent, policies: int, most: int, part: float = 1.0
    ) -> int:
        """Return how many windows of episodes each of some policies can play in the last tests, `most` at most.

        Args:
            training_steps: T.
            spent: what validation has cost so far.
            policies: how many are to be tested on the same episodes.
            most: windows that are enough.
            part: of the budget, see `steps`.
        """
        left, window = self.left(training_steps, spent, part), max(spent.newest or 1, 1)
        # The last policy may have to be evaluated first.
        most_part = CLOSING_MULTIPLE if part == 1.0 else part
        affordable = self.left(training_steps, spent, most_part) / window - 1
        least = min(max(math.floor(min(affordable, CONFIRMING_WINDOWS)), 0), most)
        return int(min(max(left / (policies * window), least), most))

    def episode_limit(self, training_steps: int, longest: int, episodes: int, *, is_slow: bool = False) -> int | None:
        """Return after how many steps an episode is cut; None without a bound. See the module's formula.

        Args:
            training_steps: T.
            longest: steps of the longest training episode that has ended, 0 before there is one.
            episodes: of one evaluation.
            is_slow: True where no steps are free.
        """
        if self.share is None:
            return None
        part = ORDINARY_SHARE if longest else EVALUATION_SHARE
        affordable = part * self.steps(training_steps, is_slow=is_slow or not longest) / max(episodes, 1)
        return min(_doubled(min(affordable, LONGEST_MULTIPLE * longest if longest else math.inf)), LONGEST_LIMIT)

    def is_overrun(self, spent: ValidationSpent, validation_seconds: float, total_seconds: float) -> bool:
        """Return whether validation takes so much of the time that the emergency valve opens; not before the first.

        Args:
            spent: what validation has cost so far.
            validation_seconds: wall time of that.
            total_seconds: wall time of the run.
        """
        if self.share is None or not spent.steps or spent.newest is None:  # the first one always takes place
            return False
        free = spent.start + (0 if spent.is_slow else FREE_STEPS)
        beyond = validation_seconds * max(1.0 - free / spent.steps, 0.0)
        return beyond > max(VALVE_SECONDS, max(VALVE_MULTIPLE * self.share, VALVE_SHARE) * total_seconds)


def _doubled(affordable: float) -> int:
    """Return the shortest limit, doubled as often as it can be afforded."""
    return SHORTEST_LIMIT * 2 ** max(math.floor(math.log2(max(affordable, 1.0) / SHORTEST_LIMIT)), 0)


def is_slow(step_seconds: float) -> bool:
    """Return whether a step of validation takes so long that none are free.

    Args:
        step_seconds: of the median one.
    """
    return FREE_STEPS * step_seconds > FREE_SECONDS
