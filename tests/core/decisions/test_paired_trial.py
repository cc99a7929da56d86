import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core.decisions.paired_trial import ERROR, MOST_PAIRS, Trial, TrialOutcome, log_evidence

PROMOTED, DEMOTED = TrialOutcome.PROMOTED, TrialOutcome.DEMOTED
SIGNS = {"+": 1.0, "-": -1.0, "=": 0.0, "!": -100.0}


def trial(pairs: str, champion: float = 10.0) -> Trial:
    found = Trial()
    for sign in pairs:
        found = found.with_pair(champion, champion + SIGNS[sign])
    return found


def decided(differences: np.ndarray, margin: float = 0.0) -> TrialOutcome | None:
    found = Trial()
    for d in differences:
        found = found.with_pair(0.0, float(d))
        if (outcome := found.outcome(margin)) is not None:
            return outcome
    return None


@pytest.mark.parametrize(
    ("pairs", "outcome"),
    [
        ("", None),
        ("+++++++", None),
        ("++++++++", PROMOTED),
        ("+++-++++++", None),
        ("+++-+++++++", PROMOTED),
        ("+=+=+=+=+=+=+=+", PROMOTED),  # a tie says nothing
        ("+=+=+=+=+=+=+", None),
        ("--", None),
        ("---", DEMOTED),
        ("-=-=-", DEMOTED),
        ("+----", DEMOTED),
        ("++---", None),
        ("+++++++++!", None),  # it has lost more than it won
        ("=" * (MOST_PAIRS - 1), None),
        ("=" * MOST_PAIRS, DEMOTED),  # the same policy in another snapshot
        ("++-" * 13 + "-", DEMOTED),
    ],
)
def test_a_trial_is_decided_by_its_pairs(pairs: str, outcome: TrialOutcome | None) -> None:
    assert trial(pairs).outcome() is outcome


@pytest.mark.parametrize(("margin", "outcome"), [(0.0, PROMOTED), (0.9, PROMOTED), (1.0, DEMOTED), (2.0, DEMOTED)])
def test_the_champion_must_be_beaten_by_the_margin(margin: float, outcome: TrialOutcome) -> None:
    assert decided(np.ones(20), margin) is outcome


@pytest.mark.parametrize("tails", ["normal", "cauchy"])
def test_one_that_is_no_better_is_seldom_promoted(tails: str) -> None:
    rng = np.random.default_rng(0)
    draw = rng.normal if tails == "normal" else rng.standard_cauchy
    outcomes = [decided(draw(size=MOST_PAIRS)) for _ in range(2000)]
    assert sum(outcome is PROMOTED for outcome in outcomes) <= ERROR * 2000
    assert None not in outcomes


def test_one_that_is_better_is_mostly_promoted_and_one_that_is_worse_is_soon_demoted() -> None:
    rng = np.random.default_rng(1)
    better = [decided(rng.normal(1.5, 1.0, MOST_PAIRS)) for _ in range(400)]
    assert sum(outcome is PROMOTED for outcome in better) >= 0.9 * 400
    worse = [decided(rng.normal(-1.5, 1.0, 8)) for _ in range(400)]
    assert sum(outcome is DEMOTED for outcome in worse) >= 0.97 * 400


pairs = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), max_size=MOST_PAIRS)


@given(pairs, st.floats(0.0, 10.0))
def test_nobody_is_promoted_without_evidence(given_pairs: list[tuple[float, float]], margin: float) -> None:
    found = Trial()
    for champion, challenger in given_pairs:
        found = found.with_pair(champion, challenger)
    if found.outcome(margin) is PROMOTED:
        differences = [new - old for old, new in given_pairs]
        won = sum(d > margin for d in differences)
        assert won >= 8
        assert won > len([d for d in differences if d != 0.0]) / 2
        assert sum(differences) > margin * len(differences)
        assert log_evidence(differences, margin) >= math.log(1.0 / ERROR)


@given(pairs)
def test_it_is_saved_and_told_in_words(given_pairs: list[tuple[float, float]]) -> None:
    found = Trial()
    for pair in given_pairs:
        found = found.with_pair(*pair)
    saved = found.to_dict()
    assert Trial(tuple(saved["champion"]), tuple(saved["challenger"])) == found
    assert f"of {len(given_pairs)} pairs won" in found.summary()
