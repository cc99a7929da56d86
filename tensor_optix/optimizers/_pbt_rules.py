"""The rules of population-based training, for the past of one agent and for members that live side by side. Pure.

    score in the bottom `exploit_share`:   take the values of one of the `top_share`, disturbed a little
    otherwise:                             disturb the values in force

    log scale:  δ_log = scale·log(high/low);  θ' = clip(θ·exp(Uniform(−δ_log, +δ_log)), low, high)
    linear:     θ' = clip(θ + scale·(high − low)·N(0, 1), low, high)

See "Population Based Training of Neural Networks" by Jaderberg et al., 2017 (https://arxiv.org/abs/1711.09846).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from tensor_optix.core.search_space import Param, SearchSpace
from tensor_optix.core.types import Params

MIN_HISTORY = 5
"""A share of fewer scores than that has no members, where they are the past of one agent."""

Mode: TypeAlias = Literal["exploit", "explore"]
Scored: TypeAlias = tuple[Params, float]
"""Hyper-parameters, and the score that they had."""


@dataclass(frozen=True)
class PBTStep:
    """What a member does next."""

    mode: Mode
    donor: int | None
    """Place in the population of the one that is copied; None where nobody is."""
    params: dict[str, float | int]
    """The new values of what is tuned."""


@dataclass(frozen=True, kw_only=True)
class PBTRules:
    """How members exploit and explore."""

    exploit_share: float = 0.2
    """Share of the population that counts as its bottom, in (0, 1)."""
    top_share: float = 0.2
    """Share of the population that is copied from, in (0, 1)."""
    explore_scale: float = 0.1
    """Size of the step when exploring, as a share of the range."""
    exploit_scale: float = 0.05
    """Size of the step after copying, as a share of the range."""
    fewest: int = MIN_HISTORY
    """In a smaller population nobody copies."""

    def step(
        self,
        space: SearchSpace,
        params: Params,
        score: float,
        population: Sequence[Scored],
        rng: np.random.Generator,
    ) -> PBTStep:
        """Return what a member does next.

        Args:
            space: what is tuned.
            params: the member's values in force.
            score: the member's.
            population: all members, this one included.
            rng: draws the donor and the steps.
        """
        mode = mode_of(score, [scored for _, scored in population], self.exploit_share, self.fewest)
        donor = self._donor(population, rng) if mode == "exploit" else None
        base, scale = (params, self.explore_scale) if donor is None else (population[donor][0], self.exploit_scale)
        return PBTStep(mode, donor, {name: moved(param, base[name], scale, rng) for name, param in space.items()})

    def _donor(self, population: Sequence[Scored], rng: np.random.Generator) -> int:
        ranked = sorted(range(len(population)), key=lambda i: -population[i][1])
        return ranked[int(rng.integers(max(1, int(len(ranked) * self.top_share))))]


def moved(param: Param, value: float, scale: float, rng: np.random.Generator) -> float | int:
    """Return a value moved by a random step.

    Args:
        param: its range.
        value: where to start from.
        scale: of the step, as a share of the range.
        rng: draws it.
    """
    if param.scale == "log":
        step = scale * float(np.log(param.high / param.low))
        return param.clip(float(value * np.exp(rng.uniform(-step, step))))
    return param.clip(float(value + scale * (param.high - param.low) * rng.standard_normal()))


def mode_of(score: float, population: Sequence[float], exploit_share: float, fewest: int = MIN_HISTORY) -> Mode:
    """Say whether to copy from the top or to explore.

    Args:
        score: the score to place.
        population: all scores, this one included.
        exploit_share: share of the population that counts as its bottom.
        fewest: in a smaller population nobody copies.
    """
    if len(population) < fewest:
        return "explore"
    worse = sum(other < score for other in population)
    ties = sum(other == score for other in population)
    # Among equals nobody is at the bottom: a flat score is no reason to jump.
    return "exploit" if worse < int(len(population) * exploit_share) and ties < len(population) else "explore"
