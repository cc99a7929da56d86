"""Hyper-parameters on the command line are finite numbers."""

import pytest

from tensor_optix.cli.pairs import hyperparams_of
from tensor_optix.errors import InvalidArgumentError


def test_whole_numbers_stay_whole() -> None:
    params = hyperparams_of(["n_epochs=4", "learning_rate=1e-3", "gamma=1.0"])
    assert (params, type(params["n_epochs"]), type(params["gamma"])) == (
        {"n_epochs": 4, "learning_rate": 0.001, "gamma": 1.0},
        int,
        float,
    )


@pytest.mark.parametrize("pair", ["gamma", "gamma=", "gamma=high", "gamma=nan", "gamma=inf"])
def test_a_hyper_parameter_is_a_finite_number(pair: str) -> None:
    with pytest.raises(InvalidArgumentError, match="--hp takes KEY=VALUE with a finite number"):
        hyperparams_of([pair])


def test_a_schedule_stays_as_it_is_written() -> None:
    assert hyperparams_of(["learning_rate=lin_3e-4", "clip_ratio=0.2"]) == {
        "learning_rate": "lin_3e-4",
        "clip_ratio": 0.2,
    }
