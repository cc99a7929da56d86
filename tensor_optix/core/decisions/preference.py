"""Which of two evaluations is better: the evaluator's own `compare`, beside the numbers that decisions are made on.

Levels, errors and trends need numbers, and `compare` tells an order. So the loop asks once, with the first evaluation
and altered copies of it, what `compare` goes by:

| preference | what `compare` prefers | what decisions are made on (`EvalMetrics.utility`) |
|---|---|---|
| HIGHER | the higher score, everything else being close | the score |
| LOWER | the lower score, everything else being close | its negative |
| OWN | anything else: another metric first, a target, ... | the grade: bests of the run that it is better than |

Whatever it is, nothing becomes the best that `compare` does not prefer to it.
"""

import enum
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from tensor_optix.core.decisions.trend import is_improvement
from tensor_optix.core.types import EvalMetrics, numeric_items

Compare: TypeAlias = Callable[[EvalMetrics, EvalMetrics], bool]
"""`(candidate, reference)`: True if the candidate is better."""

_STEPS = (1e-3, 0.1, 1.0, 10.0, 1e3)
"""By how much the score of an altered copy differs, as a share of the score (of 1, where that is smaller)."""
_OTHER = 10.0
"""By how much another metric of it differs: a hundredth of the largest step of the score."""
_WORSE = 0.5
"""Grades that an evaluation is below the best which is better than it: no whole one, so that it is never a best."""
_HELD_OUT = "val_"
"""What `combine` puts before the names of held-out metrics."""


class Preference(enum.Enum):
    """What a `compare` goes by."""

    HIGHER = "higher"
    LOWER = "lower"
    OWN = "own"


def preference_of(compare: Compare, metrics: EvalMetrics) -> Preference:
    """Return what a `compare` goes by, as it decides on altered copies of an evaluation.

    The score alone is altered; where that changes nothing, all metrics that have its value are, too: they may be the
    score under another name. If another metric outweighs a far better score, `compare` has an order of its own.

    Args:
        compare: the evaluator's.
        metrics: a usable evaluation.
    """
    known = as_compared(metrics)
    for names in ((), tuple(_namesakes(known))):
        votes = set(_votes(compare, known, names))
        if len(votes) == 1:
            preference = votes.pop()
            is_own = _is_outweighed(compare, known, names, preference)
            return Preference.OWN if is_own else preference
        if votes:
            break
    return Preference.OWN


def as_compared(metrics: EvalMetrics) -> EvalMetrics:
    """Return an evaluation as `compare` sees it: what was held out goes by its plain name, and by its `val_` name.

    So a rule over `metrics` reads the same values whether it compares evaluations, or tests of two policies.
    """
    named = metrics.metrics
    held_out = {k.removeprefix(_HELD_OUT): v for k, v in named.items() if k.startswith(_HELD_OUT)}
    if not held_out:
        held_out, named = {**named}, {f"{_HELD_OUT}{name}": value for name, value in named.items()} | {**named}
    return replace(metrics, metrics={**named, **held_out})


def beats(compare: Compare | None, candidate: EvalMetrics, reference: EvalMetrics | None, margin: float = 0.0) -> bool:
    """Return whether a candidate is better than a reference, None being beaten by any usable score.

    Args:
        compare: the evaluator's; None = the utility alone says so.
        candidate: an evaluation.
        reference: another one, of the same evaluator.
        margin: by how much it must be better, in units of the score; it says nothing of an order of its own.
    """
    if not candidate.is_usable or reference is None or not reference.is_usable:
        return candidate.is_usable
    by_score = candidate.grade is None
    if by_score and not is_improvement(candidate.utility, reference.utility, margin):
        return False
    if compare is None:
        return by_score or is_improvement(candidate.utility, reference.utility)
    return bool(compare(as_compared(candidate), as_compared(reference)))


def graded(is_better: Compare, metrics: EvalMetrics, best: EvalMetrics | None) -> EvalMetrics:
    """Return an evaluation with its grade beside the best of the run, where `compare` has an order of its own.

        0                     nothing is the best yet
        grade of the best     + 1 where it is better, - 1/2 where it is worse

    A rise of the grade is a new best then, and the patience counts the evaluations since the last one.

    Args:
        is_better: as `beats`.
        metrics: the evaluation.
        best: that of the best so far; None = there is none.
    """
    if metrics.grade is None or not metrics.is_usable:
        return metrics
    if best is None or best.grade is None:
        return replace(metrics, grade=0.0)
    if is_better(metrics, best):
        return replace(metrics, grade=best.grade + 1.0)
    return replace(metrics, grade=best.grade - _WORSE if is_better(best, metrics) else best.grade)


def _votes(compare: Compare, known: EvalMetrics, names: tuple[str, ...]) -> Iterator[Preference]:
    """Yield which of two scores is preferred, for each pair of altered copies that it decides on."""
    for step in _STEPS:
        higher, lower = (_moved(known, sign * step, names) for sign in (1.0, -1.0))
        for above, below in ((higher, known), (known, lower), (higher, lower)):
            up, down = bool(compare(above, below)), bool(compare(below, above))
            if up is not down:
                yield Preference.HIGHER if up else Preference.LOWER


def _is_outweighed(compare: Compare, known: EvalMetrics, names: tuple[str, ...], preference: Preference) -> bool:
    better = _moved(known, _STEPS[-1] if preference is Preference.HIGHER else -_STEPS[-1], names)
    for name, value in _others(known, names):
        for sign in (1.0, -1.0):
            moved = value + sign * _OTHER * max(abs(value), 1.0)
            changed = replace(better, metrics={**better.metrics, **_both(known.metrics, name, moved)})
            if not compare(changed, known):
                return True
    return False


def _moved(known: EvalMetrics, step: float, names: tuple[str, ...]) -> EvalMetrics:
    score, named = known.primary_score, known.metrics
    by = step * max(abs(score), 1.0)
    moved = {name: named[name] + (by if named[name] == score else -by) for name in names}
    return replace(known, primary_score=score + by, metrics={**named, **moved})


def _namesakes(known: EvalMetrics) -> Iterator[str]:
    """Yield the metrics that have the value of the score, or its negative."""
    score = known.primary_score
    return (name for name, value in numeric_items(known.metrics) if score != 0.0 and abs(value) == abs(score))


def _others(known: EvalMetrics, names: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """Yield the metrics that are not the score; those that go by two names once."""
    aside = {*names, "train_score", "val_score", "score_std_err"}
    for name, value in numeric_items(known.metrics):
        is_twin = name.startswith(_HELD_OUT) and name.removeprefix(_HELD_OUT) in known.metrics
        if name not in aside and not is_twin and math.isfinite(value):
            yield name, value


def _both(named: Mapping[str, float], name: str, value: float) -> dict[str, float]:
    """Return a value under both names of a held-out metric."""
    twin = f"{_HELD_OUT}{name}"
    return {name: value, twin: value} if twin in named else {name: value}
