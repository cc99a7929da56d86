"""What a population does at a barrier: pure decisions in the order of the members, and which of them were late."""

import dataclasses
import math
from collections.abc import Sequence
from statistics import median

import numpy as np

from tensor_optix.core.search_space import SearchSpace
from tensor_optix.core.types import Params
from tensor_optix.optimizers._pbt_rules import PBTRules, PBTStep

LATE_FACTOR, LATE_SECONDS = 2.0, 10.0
"""A member is late that has taken so many times what half of them took, and so many seconds more."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """What a member has come to in a generation."""

    params: Params
    """In force, all of them."""
    score: float | None
    """None where it has diverged."""


def rules_for(members: int) -> PBTRules:
    """Return the rules of `PBTOptimizer` for members that live side by side: at least one exploits another."""
    share = max(0.2, 1.0 / members)
    return PBTRules(exploit_share=share, top_share=share, fewest=2)


def decided(space: SearchSpace, standings: Sequence[Standing], rng: np.random.Generator) -> list[PBTStep]:
    """Return what each member does next, decided in their order. One that has diverged exploits another.

    Args:
        space: what is tuned.
        standings: of all members.
        rng: of the population.
    """
    scored = [(one.params, -math.inf if one.score is None else one.score) for one in standings]
    rules = rules_for(len(standings))
    return [rules.step(space, params, score, scored, rng) for params, score in scored]


def late(seconds: Sequence[float]) -> list[int]:
    """Return the members for which the others have waited for long.

    Args:
        seconds: that each has taken.
    """
    usual = median(seconds)
    return [i for i, one in enumerate(seconds) if one > LATE_FACTOR * usual and one - usual > LATE_SECONDS]
