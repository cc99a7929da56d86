"""What `learn` tells of each window: what is usual of each number, and what it means where it is not."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

Range = tuple[float, float]
LEAST_EARLY = 3
"""Windows that count as early at least."""
SAC_MARK = "alpha"
"""Only an algorithm with a temperature tells this; the entropy of such a one is held at a target."""


class Scale(Enum):
    """What the usual range of a number is measured by."""

    ONE = "absolute"
    """By nothing: it is the same for all runs."""
    FIRST = "first"
    """By the number's first value, where it is never negative."""
    EARLY = "early"
    """By its largest size in the first quarter of the windows."""
    RETURNS = "returns"
    """By the returns of the run's episodes."""


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """A number that learning tells."""

    label: str
    low: float | None = None
    """Lower end of what is usual, in units of `scale`; None = no range is known."""
    high: float | None = None
    scale: Scale = Scale.ONE
    usual: str = ""
    """What is usual, in words."""
    meaning: str = ""
    """What it means where the number leaves that."""

    @property
    def sentence(self) -> str:
        """Return what is usual, and what leaving it means."""
        return " ".join(text for text in (f"Usual: {self.usual}." if self.usual else "", self.meaning) if text)

    def range(self, values: Sequence[float], returns: Sequence[float]) -> Range | None:
        """Return what is usual in a run; None where that is not known.

        Args:
            values: the number in each window.
            returns: mean return of the episodes of each window that had some.
        """
        if self.low is None or self.high is None or not values:
            return None
        if self.scale is Scale.RETURNS:
            return (min(*returns, 0.0), max(*returns, 0.0)) if returns else None
        unit = 1.0
        if self.scale is Scale.FIRST:
            unit = values[0] if min(values) >= 0.0 else 0.0
        elif self.scale is Scale.EARLY:
            unit = max(abs(value) for value in values[: max(len(values) // 4, LEAST_EARLY)])
        return (self.low * unit, self.high * unit) if unit else None


_VALUES = Diagnostic(
    label="Explained variance",
    low=0.0,
    high=1.0,
    usual="0 to 1, rising",
    meaning="Below 0 the value function predicts returns worse than their mean does: lower the learning rate, enlarge "
    "the critic, or normalise rewards. Near 1 it predicts them well. Where all returns are alike it says nothing.",
)
_GRADIENT = "up to 3 times as large as in the first quarter of the run"
_SIZE = "up to 10 times as large as in the first quarter of the run"
_STEEP = (
    "A steep rise comes before a divergence: lower the learning rate. Far above max_grad_norm all along, the clipping "
    "sets the step size."
)
_LOSS = "It may rise with the returns; a steep rise without one is a warning: lower the learning rate."
DIAGNOSTICS = {
    "explained_var": _VALUES,
    "explained_variance": _VALUES,
    "approx_kl": Diagnostic(
        label="KL divergence of an update",
        low=0.0,
        high=0.03,
        usual="0.001 to 0.03",
        meaning="Above it the policy moves too far on one window: lower the learning rate or the epochs. At 0 it has "
        "stopped changing.",
    ),
    "clip_fraction": Diagnostic(
        label="Clip fraction",
        low=0.0,
        high=0.3,
        usual="0.02 to 0.3",
        meaning="Above it many samples are clipped and teach nothing: lower the learning rate or the epochs. At 0 the "
        "policy hardly moves.",
    ),
    "entropy": Diagnostic(
        label="Entropy",
        low=0.05,
        high=1.1,
        scale=Scale.FIRST,
        usual="a slow fall from its first value while the score rises",
        meaning="Gone before the score has risen, exploration is gone, too: raise entropy_coef. That of continuous "
        "actions may fall below 0.",
    ),
    "grad_norm": Diagnostic(
        label="Gradient norm", low=0.0, high=3.0, scale=Scale.EARLY, usual=_GRADIENT, meaning=_STEEP
    ),
    "critic_grad_norm": Diagnostic(
        label="Gradient norm of the critics", low=0.0, high=3.0, scale=Scale.EARLY, usual=_GRADIENT, meaning=_STEEP
    ),
    "actor_grad_norm": Diagnostic(
        label="Gradient norm of the actor", low=0.0, high=3.0, scale=Scale.EARLY, usual=_GRADIENT, meaning=_STEEP
    ),
    "mean_q": Diagnostic(
        label="Mean Q value",
        low=1.0,
        high=1.0,
        scale=Scale.RETURNS,
        usual="between 0 and the returns of the run's episodes, towards the discounted return",
        meaning="Far beyond what can be reached, values are overestimated: lower the learning rate, or update the "
        "targets less often.",
    ),
    "alpha": Diagnostic(
        label="Temperature α",
        low=0.0,
        high=1.0,
        usual="0 to 1, falling from its start",
        meaning="It falls as the policy needs less exploration. A lasting rise says that the policy is more certain "
        "than its target entropy allows: rewards may be too large, so normalise them.",
    ),
    "epsilon": Diagnostic(
        label="Share of random actions ε",
        low=0.0,
        high=1.0,
        usual="from its start down to epsilon_min",
        meaning="High still when the run ends, the policy was tested greedily before it had explored enough.",
    ),
    "loss": Diagnostic(label="Loss", low=-10.0, high=10.0, scale=Scale.EARLY, usual=_SIZE, meaning=_LOSS),
    "policy_loss": Diagnostic(
        label="Policy loss", usual="around 0", meaning="Its size says little; watch the KL divergence instead."
    ),
    "value_loss": Diagnostic(label="Value loss", low=0.0, high=10.0, scale=Scale.EARLY, usual=_SIZE, meaning=_LOSS),
    "critic_loss": Diagnostic(label="Critic loss", low=0.0, high=10.0, scale=Scale.EARLY, usual=_SIZE, meaning=_LOSS),
    "actor_loss": Diagnostic(
        label="Actor loss",
        usual="the negative of the Q value, less the entropy bonus",
        meaning="It falls as values rise; watch the Q value instead.",
    ),
    "alpha_loss": Diagnostic(
        label="Loss of the temperature",
        usual="around 0",
        meaning="Far from 0, the entropy is not at its target yet.",
    ),
    "alpha_grad_norm": Diagnostic(
        label="Gradient norm of the temperature",
        usual="falling towards 0",
        meaning="Far from 0, the entropy is not at its target yet.",
    ),
}
"""By the name under which `learn` tells them, in the order in which they are shown."""
OF_SAC = {
    "entropy": Diagnostic(
        label="Entropy",
        usual="a fall to its target, −1 for each action dimension",
        meaning="The temperature α holds it there. Far below it, the policy is too certain; far above it, it is still "
        "exploring.",
    ),
}
"""What means something else where the entropy has a target."""
COUNTS = frozenset({"n_updates", "buffer_size", "target_updated"})
"""What learning tells that says nothing of its health."""
WITHOUT_UPDATES = frozenset({"alpha", "epsilon", *COUNTS})
"""What means something also in a window without a gradient step, where all else is 0."""


def diagnostic_of(name: str, told: frozenset[str]) -> Diagnostic:
    """Return what is known of a number, or else its name alone.

    Args:
        name: under which `learn` tells it.
        told: the names of all that it tells.
    """
    if SAC_MARK in told and name in OF_SAC:
        return OF_SAC[name]
    return DIAGNOSTICS.get(name, Diagnostic(label=name))
