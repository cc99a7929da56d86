"""The arguments that make many runs of one."""

import argparse

import pytest

from tensor_optix.cli.many import add_many, is_of_many, train_many
from tensor_optix.errors import HyperparamError, InvalidArgumentError
from tensor_optix.runs import RunDescription


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_many(parser)
    return parser.parse_args(arguments)


def test_many_are_seeds_or_members() -> None:
    assert is_of_many(parsed("--seeds", "3", "--workers", "2"))
    assert is_of_many(parsed("--population", "3", "--generation-windows", "2"))
    assert not is_of_many(parsed())


def test_variants_are_of_one_run_unless_there_are_workers_for_them() -> None:
    assert is_of_many(parsed("--workers", "1"), 3)
    assert not is_of_many(parsed(), 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workers", "2"), "--workers needs --seeds N, --population N or --evolve N"),
        (("--seeds", "0"), "--seeds must be"),
        (("--population", "1"), "--population must be"),
        (("--seeds", "1", "--workers", "0"), "--workers must be"),
        (("--seeds", "2", "--population", "2"), "Give one of them"),
        (("--seeds", "2", "--generation-windows", "2"), "--generation-windows needs"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        is_of_many(parsed(*arguments))


def test_validation_beside_training_is_of_one_run() -> None:
    run = RunDescription(env="CartPole-v1", algorithm="ppo", framework="torch", seed=0, validate_beside=True)
    with pytest.raises(InvalidArgumentError, match="--validate-beside needs a core that is idle"):
        train_many(parsed("--seeds", "2"), run, {})


def test_a_population_moves_its_hyper_parameters_itself() -> None:
    run = RunDescription(
        env="CartPole-v1", algorithm="ppo", framework="torch", seed=0, hyperparams={"learning_rate": "lin_3e-4"}
    )
    with pytest.raises(HyperparamError, match="a population moves its hyper-parameters itself"):
        train_many(parsed("--population", "2"), run, {})
