"""Text that comes from a run's files, made harmless for a page and for a figure; and what diagnostics mean."""

import unicodedata
from dataclasses import dataclass

MOST_CHARACTERS = 2000
"""Of a text that is shown."""


def visible(text: object) -> str:
    """Return a text with its control characters written out, cut after `MOST_CHARACTERS`.

    Terminal escapes, line noise and marks that turn the direction of writing would show something else than what is
    there.
    """
    shown = str(text)[:MOST_CHARACTERS]
    return "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else f"\\u{ord(c):04x}" for c in shown)


def in_figure(text: object) -> str:
    """Return a text for a figure, whose labels are read as a kind of HTML."""
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """What is usual of a number that learning tells, and what it means where it is not."""

    label: str
    low: float | None = None
    high: float | None = None
    meaning: str = ""


_RISES = "It may rise with the returns; a steep rise without one is a warning."
DIAGNOSTICS = {
    "explained_var": Diagnostic(
        label="Explained variance",
        low=0.0,
        high=1.0,
        meaning="Below 0 the value function predicts returns worse than their mean does: raise its learning rate or "
        "size, or normalise rewards. Near 1 it predicts them well.",
    ),
    "approx_kl": Diagnostic(
        label="KL divergence of an update",
        low=0.0,
        high=0.03,
        meaning="Above 0.03 the policy moves too far on one window: lower the learning rate or the epochs. At 0 it has "
        "stopped changing.",
    ),
    "clip_fraction": Diagnostic(
        label="Clip fraction",
        low=0.0,
        high=0.3,
        meaning="Above 0.3 most samples are clipped and teach nothing: lower the learning rate or the epochs.",
    ),
    "entropy": Diagnostic(
        label="Entropy",
        meaning="It should fall slowly while the score rises. If it is gone before, exploration is: raise "
        "entropy_coef.",
    ),
    "grad_norm": Diagnostic(
        label="Gradient norm",
        meaning="A steep rise comes before a divergence; a long stay far above max_grad_norm means that the clipping "
        "sets the rate.",
    ),
    "mean_q": Diagnostic(
        label="Mean Q value",
        meaning="It should approach the discounted return. Far above what can be reached, values are overestimated.",
    ),
    "alpha": Diagnostic(
        label="Temperature α",
        meaning="It falls as the policy needs less exploration; a rise says that it has become too sure.",
    ),
    "loss": Diagnostic(label="Loss"),
    "policy_loss": Diagnostic(label="Policy loss"),
    "value_loss": Diagnostic(label="Value loss", meaning=_RISES),
    "actor_loss": Diagnostic(label="Actor loss"),
    "critic_loss": Diagnostic(label="Critic loss", meaning=_RISES),
    "epsilon": Diagnostic(label="Share of random actions ε", low=0.0, high=1.0),
}
"""By the name under which `learn` tells them, in the order in which they are shown."""
