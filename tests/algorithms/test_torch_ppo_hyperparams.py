"""Hyper-parameters of PPO: what is in force, and what is refused."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from tensor_optix.algorithms._ppo import PPO_HYPERPARAMS
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import (
    HyperparamError,
)
from tests.fakes.ppo import Parts

torch.set_num_threads(1)


# --- hyper-parameters ---


def test_the_learning_rate_is_read_back_exactly_and_is_the_optimizers_own() -> None:
    parts = Parts()
    assert parts.optimizer.param_groups[0]["lr"] == 3e-4
    for rate in (0.1 + 0.2, 1e-7 / 3):
        params = parts.agent.get_hyperparams().params | {"learning_rate": rate}
        parts.agent.set_hyperparams(HyperparamSet(params))
        assert parts.agent.get_hyperparams().params["learning_rate"] == rate
        assert parts.optimizer.param_groups[0]["lr"] == rate


def test_the_learning_rate_is_put_in_force_in_every_group_at_their_ratios() -> None:
    actor, critic = nn.Linear(3, 2), nn.Linear(3, 1)
    optimizer = torch.optim.Adam(
        [{"params": actor.parameters(), "lr": 1.0}, {"params": critic.parameters(), "lr": 0.5}]
    )
    TorchPPOAgent(actor, critic, optimizer, HyperparamSet({"learning_rate": 0.02}))
    assert [group["lr"] for group in optimizer.param_groups] == [0.02, 0.01]


def test_what_is_not_given_takes_its_default_and_foreign_keys_are_kept() -> None:
    params = Parts(clip_ratio=0.3, epsilon=0.5, note="mine").agent.get_hyperparams().params
    defaults = {name: row.default for name, row in PPO_HYPERPARAMS.items()}
    assert params == defaults | {"clip_ratio": 0.3, "epsilon": 0.5, "note": "mine"}


def test_the_hyperparams_read_are_a_copy() -> None:
    agent = Parts().agent
    agent.get_hyperparams().params["gamma"] = 0.0
    assert agent.get_hyperparams().params["gamma"] == 0.99


def test_keys_of_other_libraries_are_not_taken_for_misspelt_ones() -> None:
    foreign = {"batch_size": 64, "n_steps": 2048, "learning_starts": 100, "learning_rate_schedule": "linear"}
    params = Parts(**foreign).agent.get_hyperparams().params
    assert {name: params[name] for name in foreign} == foreign


@pytest.mark.parametrize(
    "misspelt", ["clip_ratoi", "leaning_rate", "learning_rat", "gama", "n_epoch", "mini_batch_size"]
)
def test_a_misspelt_hyperparam_is_refused_with_the_right_name(misspelt: str) -> None:
    with pytest.raises(HyperparamError, match=rf"{misspelt}.*Did you mean '\w+'\?"):
        Parts(**{misspelt: 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", -1e-3),
        ("learning_rate", 2.0),
        ("clip_ratio", 0.0),
        ("gamma", 1.1),
        ("gae_lambda", -0.1),
        ("n_epochs", 0),
        ("n_epochs", 2.5),
        ("minibatch_size", 0),
        ("max_grad_norm", 0.0),
        ("entropy_coef", "much"),
        ("vf_coef", None),
        ("vf_coef", True),
    ]
    + [(name, bad) for name in PPO_HYPERPARAMS for bad in (math.nan, math.inf)],
)
def test_a_value_out_of_its_range_is_refused_by_name_and_value_and_nothing_changes(name: str, value: Any) -> None:
    with pytest.raises(HyperparamError, match=f"'{name}' must be"):
        Parts(**{name: value})
    parts = Parts(learning_rate=0.01)
    before = parts.agent.get_hyperparams().params
    with pytest.raises(HyperparamError, match=f"but got {value!r}"):
        parts.agent.set_hyperparams(HyperparamSet(before | {"learning_rate": 0.5, name: value}))
    assert parts.agent.get_hyperparams().params == before
    assert parts.optimizer.param_groups[0]["lr"] == 0.01


def test_only_what_keeps_the_meaning_of_the_value_function_is_tuned_by_default() -> None:
    bounds = Parts().agent.default_param_bounds
    assert set(bounds) == {"learning_rate", "clip_ratio", "entropy_coef"}
    assert bounds["learning_rate"].scale == "log"
