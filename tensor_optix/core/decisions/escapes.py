"""What is tried before a learner whose patience is used up counts as trained: escapes from a local optimum. Pure.

An escape is a short, bounded training from the best policy with something changed: fresh optimizer moments, more
entropy, more random actions, longer windows. Hyper-parameters that may not be tuned are left alone. One kind, the
dearest, begins anew with another algorithm, once per run. What an escape finds becomes the best as any policy does, by
the test of a candidate against the incumbent on the same held-out episodes; else the best and its hyper-parameters
stand.

    worth it    the best is below a known target; it is tested before the first escape, and asked again
                no target is known, and nothing was learned yet, or the plateau is not certain and the policy changes
    budget      all escapes together: 25 % of the steps outside of them
    order       that of `ESCAPES`, each once per best policy; where nothing was learned yet, or the best is not ahead of
                the untrained policy, another algorithm is first: to change what has learned nothing rarely helps
    share       the rest of the budget over the escapes that are left, half of it for another algorithm that is first,
                at least `dormant_threshold` evaluations; one that cannot be paid is passed over
    over        the share is spent, or `dormant_threshold` evaluations without a rise of the escape's own scores

A solved task pays nothing, and a run that is too short for one escape neither. Sources: SGDR: Stochastic Gradient
Descent with Warm Restarts (Loshchilov and Hutter, 2017); Resetting the Optimizer in Deep RL (Asadi et al., 2023);
Understanding the impact of entropy on policy optimization (Ahmed et al., 2019); longer windows, whose gradients have
less noise: An Empirical Model of Large-Batch Training (McCandlish et al., 2018).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tensor_optix.core.decisions.escape_records import ALGORITHM, EscapeRecord, since_kept
from tensor_optix.core.decisions.patience_verdict import Phase
from tensor_optix.core.search_space import Param
from tensor_optix.core.types import Params
from tensor_optix.support.arguments import is_real

BUDGET = 0.25
"""Steps of all escapes, as a share of the steps outside of them."""


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
    is_other_algorithm: bool = False
    """True if it begins anew, with an agent of another algorithm."""


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
    Escape(name=ALGORITHM, sentence="another algorithm, from the beginning", changes={}, is_other_algorithm=True),
)
"""All kinds, in the order in which they are tried where something was learned."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a learner stands whose patience is used up."""

    phase: Phase
    """What its learning curve looks like."""
    target: float | None
    """Score that is known to be enough; None where none is known."""
    best_score: float
    changes: bool
    """Whether the policy still changes, see `policy_change.still_changes`."""
    is_ahead: bool | None = None
    """Whether the best policy is ahead of the untrained one; None where too little is known."""

    @property
    def is_unlearned(self) -> bool:
        """True where nothing was learned: the curve never rose, or to no more than the untrained policy has."""
        return self.phase is Phase.UNLEARNED or self.is_ahead is False


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
    has_other_algorithm: bool = False
    """True if there is another algorithm that learns the same."""


def is_worth_trying(standing: Standing) -> bool:
    """Return whether there is reason to believe that a better policy exists, see the module's table."""
    if standing.target is not None:
        return standing.best_score < standing.target
    has_risen = standing.phase in (Phase.EMERGED, Phase.SATURATING)
    return standing.phase is Phase.UNLEARNED or (has_risen and standing.changes)


def next_escape(
    tried: Sequence[EscapeRecord], learner: Learner, steps: int, least_share: int, *, is_unlearned: bool
) -> tuple[Escape, int] | None:
    """Return the escape that is due, with the steps that it may take; None where none is left or can be paid.

    Args:
        tried: those that have ended, in the order of time.
        learner: what can be changed of the learner.
        steps: environment steps of the run so far.
        least_share: steps that an escape needs to show something, with windows as long as they are.
        is_unlearned: whether nothing was learned, see `Standing`.
    """
    done = {one.name for one in since_kept(tried)}
    left = [
        escape for escape in ordered(is_unlearned=is_unlearned) if escape.name not in done and _applies(escape, learner)
    ]
    spent = sum(one.steps for one in tried)
    budget = int(BUDGET * (steps - spent)) - spent
    for n, escape in enumerate(left):
        least = least_share * escape.window_factor
        if least <= budget:
            parts = len(left) - n
            return escape, max(budget // (min(parts, 2) if escape.is_other_algorithm else parts), least)
    return None


def ordered(*, is_unlearned: bool) -> tuple[Escape, ...]:
    """Return all kinds in the order in which they are tried, see the module's table."""
    return tuple(sorted(ESCAPES, key=lambda escape: is_unlearned and not escape.is_other_algorithm))


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


def _applies(escape: Escape, learner: Learner) -> bool:
    has_longer_windows = escape.window_factor > 1 and learner.window_size is not None
    is_other = escape.is_other_algorithm and learner.has_other_algorithm
    return (
        (escape.is_restart and learner.can_restart) or has_longer_windows or is_other or bool(changed(escape, learner))
    )
