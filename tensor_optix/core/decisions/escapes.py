"""What is tried before a learner whose patience is used up counts as trained: escapes from a local optimum. Pure.

An escape is a short, bounded training from the best policy with something changed: fresh optimizer moments, more
entropy, more random actions, longer windows. Hyper-parameters that may not be tuned are left alone. What it finds
becomes the best as any policy does, by the test of a candidate against the incumbent on the same held-out episodes;
else the best and its hyper-parameters stand.

    worth it    the best is evidently below a known target:  score + 2 · standard error < target
                no target is known, and nothing was learned yet, or the plateau is not certain and the policy changes
    budget      all escapes together: 25 % of the steps outside of them
    share       the rest of the budget over the escapes that are left, at least `dormant_threshold` evaluations; one
                that cannot be paid is passed over
    over        the share is spent, or `dormant_threshold` evaluations without a rise of the escape's own scores

A solved task pays nothing, and a run that is too short for one escape neither. The kinds are tried in the order of
`ESCAPES`, each once per best policy. Sources: SGDR: Stochastic Gradient Descent with Warm Restarts (Loshchilov and
Hutter, 2017); Resetting the Optimizer in Deep RL (Asadi et al., 2023); Understanding the impact of entropy on policy
optimization (Ahmed et al., 2019); longer windows, whose gradients have less noise: An Empirical Model of Large-Batch
Training (McCandlish et al., 2018).
"""

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from tensor_optix.core.decisions.patience_verdict import Phase
from tensor_optix.core.search_space import Param
from tensor_optix.core.types import Params
from tensor_optix.support.arguments import is_real
from tensor_optix.support.numbers import finite_or_zero

BUDGET = 0.25
"""Steps of all escapes, as a share of the steps outside of them."""
WINDOW_SIZE = "window_size"
"""What a change of the windows is called among those of an escape."""
ERRORS = 2.0
"""Standard errors by which a score must be below a target."""


class EscapeOutcome(enum.StrEnum):
    """What has become of an escape."""

    RUNNING = "running"
    KEPT = "kept"
    GIVEN_UP = "given up"
    BROKEN_OFF = "broken off"


@dataclass(frozen=True, kw_only=True)
class Raise:
    """How a hyper-parameter is raised: `max(factor · value, least)`, inside the bounds of tuning."""

    factor: float
    least: float = 0.0
    is_schedule: bool = False
    """True for a value that the agent moves itself: it is raised although nobody tunes it."""


@dataclass(frozen=True, kw_only=True)
class Escape:
    """One kind of escape."""

    name: str
    sentence: str
    """What it does, in words."""
    changes: Mapping[str, Raise]
    """By hyper-parameter; those that the agent does not have, or that may not be tuned, are left out."""
    is_restart: bool = False
    """True if it is worth trying for fresh moments alone."""
    window_factor: int = 1
    """By which windows are longer, where they may be."""


ESCAPES = (
    Escape(
        name="restart",
        sentence="fresh optimizer moments, twice the learning rate",
        changes={"learning_rate": Raise(factor=2.0)},
        is_restart=True,
    ),
    Escape(
        name="entropy",
        sentence="a larger entropy bonus",
        changes={"entropy_coef": Raise(factor=5.0, least=0.02)},
    ),
    Escape(
        name="exploration",
        sentence="more random actions",
        changes={"noise_std": Raise(factor=3.0), "epsilon": Raise(factor=1.0, least=0.5, is_schedule=True)},
    ),
    Escape(name="window", sentence="windows four times as long", changes={}, window_factor=4),
)
"""All kinds, in the order in which they are tried."""


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


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a learner stands whose patience is used up."""

    phase: Phase
    """What its learning curve looks like."""
    target: float | None
    """Score that is known to be enough; None where none is known."""
    best_score: float
    best_std_err: float
    changes: bool
    """Whether the policy still changes, see `policy_change.still_changes`."""


@dataclass(frozen=True, kw_only=True)
class Learner:
    """What can be changed of a learner."""

    params: Params
    """The hyper-parameters of the best policy."""
    bounds: Mapping[str, Param]
    """What may be tuned."""
    can_restart: bool
    """True if its optimizer can be given fresh moments."""
    window_size: int | None = None
    """Steps of the windows that it learns from, where longer ones are of use to it; None elsewhere."""


def is_worth_trying(standing: Standing) -> bool:
    """Return whether there is reason to believe that a better policy exists, see the module's table."""
    if standing.target is not None:
        error = finite_or_zero(standing.best_std_err)
        return standing.best_score + ERRORS * error < standing.target
    has_risen = standing.phase in (Phase.EMERGED, Phase.SATURATING)
    return standing.phase is Phase.UNLEARNED or (has_risen and standing.changes)


def next_escape(
    tried: Sequence[EscapeRecord], learner: Learner, steps: int, least_share: int
) -> tuple[Escape, int] | None:
    """Return the escape that is due, with the steps that it may take; None where none is left or can be paid.

    Args:
        tried: those that have ended, in the order of time.
        learner: what can be changed of the learner.
        steps: environment steps of the run so far.
        least_share: steps that an escape needs to show something, with windows as long as they are.
    """
    done = {one.name for one in _since_kept(tried)}
    left = [escape for escape in ESCAPES if escape.name not in done and _applies(escape, learner)]
    spent = sum(one.steps for one in tried)
    budget = int(BUDGET * (steps - spent)) - spent
    for n, escape in enumerate(left):
        least = least_share * escape.window_factor
        if least <= budget:
            return escape, max(budget // (len(left) - n), least)
    return None


def changed(escape: Escape, learner: Learner) -> dict[str, float]:
    """Return the hyper-parameters that an escape changes, with their new values; those at their bound are left out."""
    moved: dict[str, float] = {}
    for name, rule in escape.changes.items():
        value, bound = learner.params.get(name), learner.bounds.get(name)
        if not is_real(value) or (bound is None and not rule.is_schedule):
            continue
        raised = max(rule.factor * float(value), rule.least)
        # What was set by hand beyond the bounds is not lowered by a raise.
        moved[name] = max(float(value), raised if bound is None else float(bound.clip(raised)))
    return {name: value for name, value in moved.items() if value != learner.params[name]}


def running(escapes: Sequence[EscapeRecord]) -> EscapeRecord | None:
    """Return the escape in progress."""
    return escapes[-1] if escapes and escapes[-1].is_running else None


def windows_left(escape: EscapeRecord, env_steps: int, steps_per_window: int) -> int:
    """Return how many more windows an escape in progress may take.

    Args:
        escape: the one in progress.
        env_steps: environment steps of the run so far.
        steps_per_window: of the windows outside of it.
    """
    return max(0, int((escape.share - (env_steps - escape.began_step)) / (steps_per_window * escape.stretch)))


def window_size_in_force(escapes: Sequence[EscapeRecord]) -> int | None:
    """Return how long windows are by what escapes have made of them; None where none has changed that.

    Args:
        escapes: those of the run, in the order of time.
    """
    for one in reversed(escapes):
        if WINDOW_SIZE in one.changes:
            before, then = one.changes[WINDOW_SIZE]
            return then if one.outcome in (EscapeOutcome.RUNNING, EscapeOutcome.KEPT) else before
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
    return sum(one.steps > 0 for one in _since_kept(escapes))


def _since_kept(escapes: Sequence[EscapeRecord]) -> Sequence[EscapeRecord]:
    kept = max((i for i, one in enumerate(escapes) if one.outcome is EscapeOutcome.KEPT), default=-1)
    return escapes[kept + 1 :]


def _applies(escape: Escape, learner: Learner) -> bool:
    has_longer_windows = escape.window_factor > 1 and learner.window_size is not None
    return (escape.is_restart and learner.can_restart) or has_longer_windows or bool(changed(escape, learner))
