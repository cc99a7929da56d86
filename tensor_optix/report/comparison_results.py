"""What the runs of a comparison come to: aggregates of groups, who beats whom, and how scores are distributed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Self, TypeAlias

import numpy as np

from tensor_optix.report.comparison import ComparedRun, Comparison
from tensor_optix.report.rendering import finite
from tensor_optix.report.statistics import (
    LEVEL,
    Band,
    Estimate,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)

ALL = "all environments"
"""The name of what is averaged over environments, on normalised scores."""
THRESHOLDS = 101
"""τ of a profile."""
FORMAT = 1
"""Of what `to_dict` returns."""


@dataclass(frozen=True, kw_only=True)
class GroupResult:
    """The interquartile mean of a group on an environment, or on all."""

    environment: str
    group: str
    runs: int
    score: Estimate


@dataclass(frozen=True, kw_only=True)
class Improvement:
    """The probability that a run of one group beats one of another, over the environments that both have."""

    better: str
    worse: str
    environments: int
    probability: Estimate


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The share of a group's runs that are better than each threshold."""

    group: str
    thresholds: np.ndarray
    """(K,) scores; normalised ones where there are several environments."""
    band: Band


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a comparison has found."""

    groups: Sequence[GroupResult]
    overall: Sequence[GroupResult]
    """On normalised scores; empty where there is one environment."""
    improvements: Sequence[Improvement]
    profiles: Sequence[Profile]
    scales: Mapping[str, tuple[float, float]]
    """By environment, the scores that normalise to 0 and to 1."""

    @classmethod
    def of(cls, comparison: Comparison, rng: np.random.Generator) -> Self:
        """Return the results.

        Args:
            comparison: the runs.
            rng: draws the bootstrap samples.

        Raises:
            MissingDependencyError: scipy is not installed; the message has the install line.
        """
        scored = [run for run in comparison.runs if math.isfinite(run.score)]
        found = {name: _scale([run for run in scored if run.environment == name]) for name in comparison.environments}
        scales = {name: scale for name, scale in found.items() if scale is not None}
        several = len(comparison.environments) > 1
        raw, signed = _by_group(scored, lambda run: run.score), _by_group(scored, _signed)
        normal: _ByGroup = {}
        if several:
            on_scale = [run for run in scored if run.environment in scales]
            normal = _by_group(on_scale, lambda run: _normalised(run, *scales[run.environment]))
        sign = -1.0 if not several and any(run.lower_is_better for run in scored) else 1.0
        return cls(
            groups=[
                GroupResult(
                    environment=name, group=group, runs=len(own[name]), score=interquartile_mean([own[name]], rng)
                )
                for name in comparison.environments
                for group, own in raw.items()
                if name in own
            ],
            overall=_overall(normal, len(scales), rng),
            improvements=_improvements(signed, rng),
            profiles=_profiles(normal if several else signed, sign, rng),
            scales=scales,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return finite(
            {
                "format": FORMAT,
                "level": LEVEL,
                "groups": [asdict(one) for one in self.groups],
                "overall": [asdict(one) for one in self.overall],
                "probability_of_improvement": [asdict(one) for one in self.improvements],
                "profiles": [
                    {
                        "group": one.group,
                        "thresholds": one.thresholds.tolist(),
                        **{name: None if found is None else found.tolist() for name, found in vars(one.band).items()},
                    }
                    for one in self.profiles
                ],
                "scales": dict(self.scales),
            }
        )


_ByGroup: TypeAlias = Mapping[str, Mapping[str, np.ndarray]]
"""By group and environment, the scores (n,) of the runs."""


def _signed(run: ComparedRun) -> float:
    """Return the score of a run such that higher is better."""
    return -run.score if run.lower_is_better else run.score


def _normalised(run: ComparedRun, zero: float, one: float) -> float:
    return (run.score - zero) / (one - zero)


def _scale(runs: Sequence[ComparedRun]) -> tuple[float, float] | None:
    """Return which scores on an environment normalise to 0, the untrained policy, and to 1, the best of all runs.

    Where no untrained policy was scored the worst run is 0; None where nothing lies between the two.
    """
    if not runs:
        return None
    starts = [run.start_score for run in runs if math.isfinite(run.start_score)]
    best = max(runs, key=_signed).score
    zero = math.fsum(starts) / len(starts) if starts else min(runs, key=_signed).score
    return None if zero == best else (zero, best)


def _by_group(runs: Sequence[ComparedRun], score: Callable[[ComparedRun], float]) -> _ByGroup:
    found: dict[str, dict[str, list[float]]] = {}
    for run in sorted(runs, key=lambda run: run.group):
        found.setdefault(run.group, {}).setdefault(run.environment, []).append(score(run))
    return {group: {name: np.array(scores) for name, scores in own.items()} for group, own in found.items()}


def _overall(normal: _ByGroup, environments: int, rng: np.random.Generator) -> list[GroupResult]:
    """Return the groups that have runs on every environment: others cannot be averaged with them."""
    return [
        GroupResult(
            environment=ALL,
            group=group,
            runs=sum(map(len, own.values())),
            score=interquartile_mean(list(own.values()), rng),
        )
        for group, own in normal.items()
        if len(own) == environments
    ]


def _improvements(signed: _ByGroup, rng: np.random.Generator) -> list[Improvement]:
    found: list[Improvement] = []
    for one, other in combinations(signed, 2):
        shared = [name for name in signed[one] if name in signed[other]]
        if not shared:
            continue
        pair = [[signed[group][name] for name in shared] for group in (one, other)]
        wins = probability_of_improvement(pair[0], pair[1], rng)
        better, worse = (one, other) if wins.value >= 0.5 else (other, one)
        chance = wins if better == one else _turned(wins)
        found.append(Improvement(better=better, worse=worse, environments=len(shared), probability=chance))
    return found


def _turned(wins: Estimate) -> Estimate:
    """Return the probability that the other one beats the one."""
    low, high = (None if end is None else 1.0 - end for end in (wins.high, wins.low))
    return Estimate(value=1.0 - wins.value, low=low, high=high)


def _profiles(signed: _ByGroup, sign: float, rng: np.random.Generator) -> list[Profile]:
    scores = [value for own in signed.values() for value in own.values()]
    if not scores:
        return []
    together = np.concatenate(scores)
    room = 0.02 * float(np.ptp(together)) or 1.0
    thresholds = np.linspace(together.min() - room, together.max() + room, THRESHOLDS)
    return [
        Profile(
            group=group,
            thresholds=sign * thresholds,
            band=performance_profile(list(own.values()), thresholds, rng),
        )
        for group, own in signed.items()
    ]
