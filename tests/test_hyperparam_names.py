"""The names of hyper-parameters, and what is said of one that an algorithm does not have."""

import pytest

from tensor_optix._hyperparam_names import hyperparam_table, refuse_unknown
from tensor_optix.algorithms._sac import SAC_HYPERPARAMS
from tensor_optix.errors import ContractError, HyperparamError


@pytest.mark.parametrize(
    ("algorithm", "name", "hint"),
    [
        ("ppo", "lr", "Did you mean 'learning_rate'"),
        ("sac", "buffer_size", "Did you mean 'replay_capacity'"),
        ("ppo", "batch_size", "Did you mean 'minibatch_size'"),
        ("dqn", "gama", "Did you mean 'gamma'"),
        ("dqn", "lam", "It has: learning_rate"),
        ("ppo", "mine", "It has: learning_rate"),
        ("ppo", 3, "It has: learning_rate"),
    ],
)
def test_what_would_do_nothing_is_refused_with_what_was_meant(algorithm: str, name: object, hint: str) -> None:
    with pytest.raises(HyperparamError, match=rf"--hp: {algorithm} has no hyper-parameter {name!r}\. {hint}"):
        refuse_unknown({"gamma": 0.9, name: 1e-3}, algorithm, "--hp")


def test_what_an_algorithm_has_passes() -> None:
    refuse_unknown(dict.fromkeys(SAC_HYPERPARAMS, 0.5), "sac", "--hp")
    refuse_unknown({}, "ppo", "--hp")


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(ContractError, match="must map names to values, but got"):
        refuse_unknown([("learning_rate", 1e-3)], "ppo", "hyperparams")


def test_a_table_is_the_algorithms_own() -> None:
    assert hyperparam_table("sac") is SAC_HYPERPARAMS
