"""What members of a population do next: pure decisions in their order, and which of them were late at a barrier."""

import dataclasses
import math
from collections.abc import Collection, Sequence
from statistics import median
from typing import Any, Self

import numpy as np

from tensor_optix.core.search_space import SearchSpace
from tensor_optix.optimizers._pbt_rules import PBTRules, PBTStep
from tensor_optix.support.plain import SavedState

LATE_FACTOR, LATE_SECONDS = 2.0, 10.0
"""A member is late that has taken so many times what half of them took, and so many seconds more."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """What the weights of a member have come to when they were scored last."""

    params: dict[str, Any]
    """In force, all of them."""
    score: float | None
    """None where it has diverged."""

    @classmethod
    def of(cls, values: SavedState) -> Self:
        """Return that of a member, by what its job has returned."""
        return cls(params=values["params"], score=values["score"])


def rules_for(members: int) -> PBTRules:
    """Return the rules of `PBTOptimizer` for members that live side by side: at least one exploits another."""
    share = max(0.2, 1.0 / members)
    return PBTRules(exploit_share=share, top_share=share, fewest=2)


def decided(
    space: SearchSpace, standings: Sequence[Standing | None], members: Collection[int], rng: np.random.Generator
) -> dict[int, PBTStep]:
    """Return what some members do next, decided in their order. One that has diverged exploits another.

    Args:
        space: what is tuned.
        standings: of all members; None where one has not been scored yet.
        members: those that go on, which have been.
        rng: of the population.
    """
    scored = {i: (one.params, _score(one)) for i, one in enumerate(standings) if one is not None}
    rules, known = rules_for(len(scored)), list(scored)
    found: dict[int, PBTStep] = {}
    for member in sorted(members):
        step = rules.step(space, *scored[member], list(scored.values()), rng)
        found[member] = step if step.donor is None else dataclasses.replace(step, donor=known[step.donor])
    return found


def _score(standing: Standing) -> float:
    return -math.inf if standing.score is None else standing.score


def late(seconds: Sequence[float]) -> list[int]:
    """Return the members for which the others have waited for long.

    Args:
        seconds: that each has taken.
    """
    usual = median(seconds)
    return [i for i, one in enumerate(seconds) if one > LATE_FACTOR * usual and one - usual > LATE_SECONDS]
