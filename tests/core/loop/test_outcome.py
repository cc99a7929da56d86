"""What a window came to: what it is before anything is known, and that it stays as it was made."""

from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path

import pytest

from tensor_optix.core.loop.learning import WINDOW, Fault
from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.types import EvalMetrics, HyperparamSet

VALUES = HyperparamSet({"learning_rate": 0.1})


def test_a_window_needs_the_values_in_force_and_nothing_else() -> None:
    with pytest.raises(TypeError, match="hyperparams"):
        Outcome()  # type: ignore[call-arg]
    outcome = Outcome(hyperparams=VALUES)
    claims = {field.name: getattr(outcome, field.name) for field in fields(outcome) if field.name != "hyperparams"}
    assert not any(claims.values()), "a window of which nothing is known asks for no decision"
    assert outcome.is_promoted is None  # no trial has ended, which is not the same as a lost one


def test_a_lost_trial_is_not_the_same_as_none() -> None:
    assert Outcome(hyperparams=VALUES, is_promoted=False) != Outcome(hyperparams=VALUES)


def test_what_is_learned_later_makes_another_outcome() -> None:
    before = Outcome(hyperparams=VALUES, probed_param="learning_rate")
    scored = replace(before, metrics=EvalMetrics(2.0), staged=Path("staged"), is_best=True)
    assert (before.metrics, before.staged, before.is_best) == (None, None, False)
    assert (scored.hyperparams, scored.probed_param) == (VALUES, "learning_rate")
    with pytest.raises(FrozenInstanceError):
        scored.fault = Fault(WINDOW, "NaN")  # type: ignore[misc]
