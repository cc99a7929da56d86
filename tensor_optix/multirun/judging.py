"""What a generation of variants comes to: pure decisions in the order of the variants, and the record of them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Self

from tensor_optix.core.decisions.lineage import VariantOutcome, holds
from tensor_optix.core.decisions.trend import standard_error
from tensor_optix.core.types import EvalMetrics
from tensor_optix.multirun.final_test import FinalTest
from tensor_optix.support.plain import SavedState

FORMAT = 1
FIRST = 0
"""Number of the first run; the variants are numbered from 1 on."""
FEWEST = 4
"""Variants of a generation, where there are so many; with more workers, one for each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """A variant: where it came from, and what became of it."""

    number: int
    generation: int
    parent: str
    """Run and snapshot."""
    parent_score: float | None
    """What the incumbent has scored in the episodes that both have played; None where there was no test."""
    noise_scale: float
    changes: dict[str, list[int | float | bool | str]]
    """Hyper-parameters that differ from the parent's: its, and the variant's own."""
    outcome: str
    score: float | None
    """Mean return in the test of its generation."""
    windows: int
    steps: int
    snapshot: str | None
    """Its best policy; None = it never had a score."""
    sha256: str | None
    """Of that policy's weights."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """Where the evolution stands at a barrier."""

    format: int = FORMAT
    best: int = FIRST
    """Number of the run that has the best policy."""
    generation: int = 0
    """The next one."""
    steps: int
    """Of training, all runs together."""
    windows: int
    returns: list[float] = dataclasses.field(default_factory=list[float])
    """Of the best policy, in the episodes that have confirmed it."""
    variants: list[Judged] = dataclasses.field(default_factory=list[Judged])

    @property
    def score(self) -> float | None:
        """Of the best policy; None where nothing has confirmed it yet."""
        return math.fsum(self.returns) / len(self.returns) if self.returns else None

    def after(
        self, results: Sequence[SavedState], parent: str, noise_scale: float, test: FinalTest, players: list[int]
    ) -> Self:
        """Return the standing after a generation; its variants are judged in their order.

        Args:
            results: of the variants, as `learn_on` returned them.
            parent: run and snapshot that they came from.
            noise_scale: of their mutation.
            test: what the incumbent and those that have a policy have played.
            players: the numbers of those, the incumbent's first.
        """
        judged = list(self.variants)
        for result in results:
            number = len(judged) + 1
            raced = test.raced[players.index(number)] if number in players else ()
            same = test.raced[0][: len(raced)]  # the test is on the same episodes
            is_best = number in players and players[test.best] == number
            told = {name: result[name] for name in ("changes", "windows", "steps", "snapshot", "sha256")}
            judged.append(
                Judged(
                    number=number,
                    generation=self.generation,
                    parent=parent,
                    parent_score=_mean(same),
                    noise_scale=noise_scale,
                    outcome=outcome(raced, same, is_best=is_best).value,
                    score=_mean(raced),
                    **told,
                )
            )
        return dataclasses.replace(
            self,
            best=players[test.best],
            generation=self.generation + 1,
            steps=self.steps + sum(result["steps"] for result in results),
            windows=self.windows + sum(result["windows"] for result in results),
            returns=test.returns,
            variants=judged,
        )


def outcome(returns: Sequence[float], parent: Sequence[float], *, is_best: bool) -> VariantOutcome:
    """Return what becomes of a variant; see `lineage.holds`.

    Args:
        returns: its own in the test; empty where it has none.
        parent: those of the incumbent in the same episodes.
        is_best: True where it has won.
    """
    if is_best:
        return VariantOutcome.NEW_BEST
    if not returns:
        return VariantOutcome.NOT_JUDGED
    metrics = EvalMetrics(_mean(returns) or 0.0, {"score_std_err": standard_error(returns)})
    return VariantOutcome.KEPT if holds(metrics, _mean(parent) or 0.0) else VariantOutcome.DISCARDED


def share_of(bound: int | None, spent: int, variants: int) -> int | None:
    """Return what each variant of a generation may take of a bound on all of them; None = there is none.

    Args:
        bound: of all runs together.
        spent: of it.
        variants: of the generation.
    """
    return None if bound is None else max(bound - spent, 0) // variants


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
