"""Champion and challenger: which one becomes the acting policy is decided on pairs of scores, side by side.

    d = challenger − champion, of a pair;  a pair is won where d > margin, lost where it is not, and says nothing at 0
    L = Π p/½ over the won pairs · Π (1−p)/½ over the lost ones      p = ¾: how much rather so than by tossing a coin

    promoted:  L ≥ 1/0.05, and the mean of d is above the margin      (eight in a row at the least)
    demoted:   L ≤ 0.2  (three in a row), or undecided after 40 pairs: without evidence the champion stays

Where the challenger is no better, L is a supermartingale, and ever reaches 1/0.05 with probability 0.05 at most,
however often one looks (Ville's inequality). Signs are counted, not amounts, so that no single wild score decides; a
challenger that wins often and loses much is kept out by the mean.

A. Wald, "Sequential tests of statistical hypotheses", Annals of Mathematical Statistics 16 (1945).
"""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from tensor_optix.support.plain import Json

ERROR = 0.05
"""Probability at most that a challenger is promoted that is no better."""
GIVE_UP = 0.2
"""A challenger is demoted where its evidence has fallen to this."""
BETTER = 0.75
"""Share of pairs that a challenger worth its promotion wins."""
MOST_PAIRS = 40


class TrialOutcome(enum.Enum):
    """What a trial came to."""

    PROMOTED = "promoted"
    DEMOTED = "demoted"


@dataclass(frozen=True)
class Trial:
    """The pairs of scores so far, in the order of time."""

    champion: tuple[float, ...] = ()
    challenger: tuple[float, ...] = ()

    def with_pair(self, champion: float, challenger: float) -> Self:
        """Return the trial with another pair."""
        return type(self)((*self.champion, champion), (*self.challenger, challenger))

    def outcome(self, margin: float = 0.0) -> TrialOutcome | None:
        """Return what it has come to; None while it goes on.

        Args:
            margin: by how much a champion must be beaten, in units of the score.
        """
        differences = self.differences
        evidence = log_evidence(differences, margin)
        if evidence >= math.log(1.0 / ERROR) and sum(differences) > margin * len(differences):
            return TrialOutcome.PROMOTED
        if evidence <= math.log(GIVE_UP) or len(differences) >= MOST_PAIRS:
            return TrialOutcome.DEMOTED
        return None

    @property
    def differences(self) -> tuple[float, ...]:
        """Challenger minus champion, per pair."""
        return tuple(new - old for old, new in zip(self.champion, self.challenger, strict=True))

    def summary(self, margin: float = 0.0) -> str:
        """Return the pairs in words, for the record."""
        differences = self.differences
        won = sum(d > margin for d in differences)
        mean = sum(differences) / len(differences) if differences else 0.0
        return f"{won} of {len(differences)} pairs won, mean difference {mean:.4g}"

    def to_dict(self) -> dict[str, Json]:
        """Return plain JSON values."""
        return {"champion": list(self.champion), "challenger": list(self.challenger)}


def log_evidence(differences: Sequence[float], margin: float = 0.0) -> float:
    """Return ln L of the module's formula; pairs without a difference say nothing."""
    won = sum(d > margin for d in differences)
    lost = sum(d <= margin and d != 0.0 for d in differences)
    return won * math.log(BETTER / 0.5) + lost * math.log((1.0 - BETTER) / 0.5)
