import math

import pytest

from tensor_optix.core.decisions.policy_change import CHANGING, STOPPED, has_stopped_changing, still_changes
from tensor_optix.core.types import EvalMetrics


def _evaluations(*divergences: object) -> list[EvalMetrics]:
    return [EvalMetrics(1.0, {"approx_kl": value}, index) for index, value in enumerate(divergences)]


def test_updates_that_move_nothing_tell_that_the_policy_has_stopped_changing() -> None:
    assert has_stopped_changing(_evaluations(0.01, 0.0, 1e-6, 1e-5), least=3)


@pytest.mark.parametrize("newest", [STOPPED, 0.002, 0.02])
def test_an_update_that_moves_the_policy_does_not(newest: float) -> None:
    assert not has_stopped_changing(_evaluations(newest, newest, newest), least=3)


@pytest.mark.parametrize("unknown", [None, math.nan, "0.0", True])
def test_an_unknown_divergence_is_no_proof(unknown: object) -> None:
    assert not has_stopped_changing(_evaluations(0.0, unknown, 0.0), least=3)


def test_too_few_evaluations_are_no_proof() -> None:
    assert not has_stopped_changing(_evaluations(0.0, 0.0), least=3)


def test_an_agent_that_reports_no_divergence_is_not_known_to_have_stopped() -> None:
    assert not has_stopped_changing([EvalMetrics(1.0, {}, 0)] * 5, least=3)


@pytest.mark.parametrize(
    ("divergences", "expected"),
    [
        ([], False),
        ([None, None], False),
        ([CHANGING], True),
        ([0.0, 0.0, 0.0], False),
        ([None, 2 * CHANGING, 0.0], True),
        ([CHANGING / 2, CHANGING / 2], False),
    ],
)
def test_a_policy_is_known_to_change_by_the_mean_of_what_is_reported(
    divergences: list[float | None], expected: bool
) -> None:
    assert still_changes(_evaluations(*divergences)) is expected
