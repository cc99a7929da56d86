"""The sentence that says how far the patience is used up, and what is left of it."""

import math
from dataclasses import replace
from typing import Any

import pytest

from tensor_optix.core.decisions.patience_verdict import PatienceVerdict, Phase, short, windows_until_due
from tensor_optix.errors import InvalidArgumentError

VERDICT = PatienceVerdict(
    phase=Phase.SATURATING,
    quiet_steps=180_000,
    quiet_evaluations=50,
    allowed_steps=600_000,
    allowed_evaluations=20,
    chance_of_rise=0.45,
    reason="saturating",
)
WINDOW = 2_048
LONG_RUN = 10**9
"""Steps of a run that a two-hundredth more is no bound for."""


def test_what_is_left_is_never_below_zero() -> None:
    assert (VERDICT.remaining_steps, VERDICT.remaining_evaluations) == (420_000, 0)
    over = replace(VERDICT, quiet_steps=700_000, quiet_evaluations=3)
    assert (over.remaining_steps, over.remaining_evaluations) == (0, 17)


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({}, False),
        ({"quiet_evaluations": 3}, False),
        ({"quiet_evaluations": 3, "quiet_steps": 600_000}, True),
        ({"quiet_evaluations": 3, "phase": Phase.SATURATED}, True),
        ({"phase": Phase.SATURATED}, False),
    ],
)
def test_evaluations_are_waited_for_on_a_plateau_that_is_certain_or_long_enough(
    changes: dict[str, Any], waits: bool
) -> None:
    assert replace(VERDICT, **changes).waits_for_evaluations is waits


@pytest.mark.parametrize(
    ("quiet_steps", "quiet_evaluations", "is_exhausted"),
    [(600_000, 20, True), (599_999, 20, False), (600_000, 19, False), (10**9, 0, False)],
)
def test_both_steps_and_evaluations_are_waited_for(
    quiet_steps: int, quiet_evaluations: int, is_exhausted: bool
) -> None:
    verdict = replace(VERDICT, quiet_steps=quiet_steps, quiet_evaluations=quiet_evaluations)
    assert verdict.is_exhausted is is_exhausted


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "quiet for 180k of 600k steps; 45 % chance of a further rise (saturating)"),
        (
            {"quiet_evaluations": 17},
            "quiet for 180k of 600k steps, 3 evaluations to go; 45 % chance of a further rise (saturating)",
        ),
        ({"quiet_steps": 600_500}, "quiet for 600k of 600k steps; 45 % chance of a further rise (saturating)"),
        (
            {"quiet_steps": 41_000, "allowed_steps": 6_760, "quiet_evaluations": 12},
            "quiet for 12 of 20 evaluations, 41k steps; 45 % chance of a further rise (saturating)",
        ),
        ({"chance_of_rise": None}, "quiet for 180k of 600k steps (saturating)"),
        ({"chance_of_rise": None, "allowed_steps": 0}, "saturating"),
    ],
)
def test_the_sentence_names_what_is_waited_for(changes: dict[str, float | None], text: str) -> None:
    assert str(replace(VERDICT, **changes)) == text


@pytest.mark.parametrize(
    ("steps", "text"), [(0, "0"), (999, "999"), (1_000, "1k"), (12_345, "12.3k"), (20_000_000, "20M")]
)
def test_steps_are_short(steps: float, text: str) -> None:
    assert short(steps) == text


@pytest.mark.parametrize(
    ("changes", "steps", "interval", "windows"),
    [
        ({}, LONG_RUN, 8, 8),
        ({"quiet_steps": 590_000}, LONG_RUN, 100, math.ceil(10_000 / WINDOW)),
        ({"quiet_evaluations": 10}, LONG_RUN, 100, math.ceil(420_000 / 10 / WINDOW)),
        ({}, 400 * WINDOW, 100, 2),
        ({"quiet_steps": 700_000, "quiet_evaluations": 0}, 1_000_000, 100, 1),
        ({"allowed_steps": 0}, 0, 64, 64),
    ],
    ids=[
        "the backoff's while there is time",
        "never past the end",
        "room for the evaluations that are due",
        "at most a two-hundredth of the run",
        "at least one window",
        "the backoff's where the threshold was set by hand",
    ],
)
def test_the_next_evaluation_is(changes: dict[str, int], steps: int, interval: int, windows: int) -> None:
    assert windows_until_due(replace(VERDICT, **changes), steps, interval, WINDOW) == windows


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0)])
def test_the_next_evaluation_refuses_what_is_no_count(arguments: tuple[int, int]) -> None:
    with pytest.raises(InvalidArgumentError, match="at least 1"):
        windows_until_due(VERDICT, 1_000, *arguments)
