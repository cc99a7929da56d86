import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.decisions.preference import (
    Compare,
    Preference,
    as_compared,
    beats,
    graded,
    preference_of,
)
from tensor_optix.core.types import EvalMetrics

KNOWN = EvalMetrics(-3.0, {"loss": 3.0, "crashes": 1.0, "steps": 200.0, "score_std_err": 0.5})


def by(key: Callable[[EvalMetrics], object]) -> Compare:
    """The rule that prefers the greater key."""
    return lambda candidate, reference: key(candidate) > key(reference)  # type: ignore[operator]


RULES: dict[str, tuple[Compare, Preference]] = {
    "higher": (by(lambda m: m.primary_score), Preference.HIGHER),
    "lower": (by(lambda m: -m.primary_score), Preference.LOWER),
    "higher by a margin": (lambda c, r: c.primary_score > r.primary_score + 0.5, Preference.HIGHER),
    "lower by a tenth": (lambda c, r: c.primary_score < r.primary_score - 0.1 * abs(r.primary_score), Preference.LOWER),
    "not lower": (lambda c, r: c.primary_score >= r.primary_score, Preference.HIGHER),
    "the score under another name": (by(lambda m: -m.metrics["loss"]), Preference.HIGHER),
    "its held-out name": (by(lambda m: -m.metrics["val_loss"]), Preference.HIGHER),
    "score, then fewer steps": (by(lambda m: (m.primary_score, -m.metrics["steps"])), Preference.HIGHER),
    "a lower bound": (by(lambda m: m.primary_score - 2.0 * m.std_err), Preference.HIGHER),
    "fewer crashes, then score": (by(lambda m: (-m.metrics["crashes"], m.primary_score)), Preference.OWN),
    "crashes alone": (by(lambda m: -m.metrics["crashes"]), Preference.OWN),
    "near a target": (by(lambda m: -abs(m.primary_score + 2.0)), Preference.OWN),
    "never": (lambda c, r: False, Preference.OWN),
    "only without crashes": (
        lambda c, r: c.metrics["crashes"] < 5.0 and c.primary_score > r.primary_score,
        Preference.OWN,
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_what_a_rule_goes_by_is_found_with_one_evaluation(rule: str) -> None:
    compare, preference = RULES[rule]
    assert preference_of(compare, KNOWN) is preference


@pytest.mark.parametrize("score", [0.0, 1e-6, -1e6])
def test_the_size_of_the_score_does_not_matter(score: float) -> None:
    assert preference_of(RULES["lower"][0], EvalMetrics(score)) is Preference.LOWER


def test_a_rule_sees_what_was_held_out_by_both_names() -> None:
    class Evaluator(BaseEvaluator):
        def score(self, episode_data, train_diagnostics):
            raise NotImplementedError

    test = EvalMetrics(2.0, {"loss": 2.0})
    both = Evaluator().combine(EvalMetrics(1.0, {"loss": 1.0, "entropy": 0.3}), test)
    assert both.metrics["loss"] == 1.0
    for seen in (as_compared(both), as_compared(test)):
        assert (seen.metrics["loss"], seen.metrics["val_loss"]) == (2.0, 2.0)
    assert as_compared(both).metrics["entropy"] == 0.3
    assert as_compared(as_compared(both)) == as_compared(both)


NONE = EvalMetrics(math.nan, has_evidence=False)


@pytest.mark.parametrize(
    ("candidate", "reference", "margin", "wins"),
    [
        (EvalMetrics(2.0), EvalMetrics(1.0), 0.0, True),
        (EvalMetrics(2.0), EvalMetrics(1.0), 1.0, False),
        (EvalMetrics(2.0), None, 5.0, True),
        (EvalMetrics(2.0), NONE, 0.0, True),
        (NONE, None, 0.0, False),
        (EvalMetrics(1.0, lower_is_better=True), EvalMetrics(2.0, lower_is_better=True), 0.5, True),
        (EvalMetrics(1.0, lower_is_better=True), EvalMetrics(2.0, lower_is_better=True), 1.5, False),
    ],
)
def test_the_utility_decides_where_there_is_no_rule(
    candidate: EvalMetrics, reference: EvalMetrics | None, margin: float, wins: bool
) -> None:
    assert beats(None, candidate, reference, margin) is wins


def test_a_rule_has_the_last_word_over_scores_and_the_only_one_over_grades() -> None:
    never, always = RULES["never"][0], RULES["not lower"][0]
    assert not beats(never, EvalMetrics(2.0), EvalMetrics(1.0))
    assert not beats(always, EvalMetrics(1.0), EvalMetrics(1.0)), "equals would take turns for ever"
    assert beats(by(lambda m: -m.primary_score), EvalMetrics(1.0, grade=0.0), EvalMetrics(2.0, grade=7.0), margin=9.0)


def test_the_grade_counts_the_bests_and_what_is_worse_than_the_best_is_below_it() -> None:
    compare = by(lambda m: -abs(m.primary_score - 10.0))
    best, grades = None, list[float]()
    for score in (50.0, 20.0, 30.0, 20.0, 9.0, 8.0):
        found = graded(compare, EvalMetrics(score, grade=0.0), best)
        assert found.grade is not None
        grades.append(found.grade)
        if best is None or compare(found, best):
            best = found
    assert grades == [0.0, 1.0, 0.5, 1.0, 2.0, 1.5]


def test_a_score_has_no_grade_and_no_evidence_neither() -> None:
    assert graded(RULES["never"][0], EvalMetrics(1.0), None).grade is None
    unusable = replace(NONE, grade=0.0)
    assert graded(RULES["never"][0], unusable, EvalMetrics(1.0, grade=4.0)) is unusable
