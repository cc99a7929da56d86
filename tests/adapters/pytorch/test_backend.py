"""Weights and moments in and out as named arrays."""

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.errors import CheckpointMismatchError, ModelShapeError, NonFiniteError

torch.set_num_threads(1)

BACKEND = TorchBackend()


def models(seed: int = 0) -> dict[str, nn.Module]:
    torch.manual_seed(seed)
    return {
        "actor": nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)),
        "critic": nn.Linear(3, 1, bias=False),
    }


def state(of: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    return {f"{n}.{k}": t.detach().clone() for n, model in of.items() for k, t in model.state_dict().items()}


def assert_identical(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_a_model_without_weights_is_refused() -> None:
    critic = nn.Linear(3, 1)
    optimizers = {"optimizer": (torch.optim.Adam(critic.parameters()), ("actor", "critic"))}
    with pytest.raises(ModelShapeError, match=r"actor has no weights: there is nothing to train\. Give it a layer"):
        BACKEND.check({"actor": nn.Flatten(), "critic": critic}, optimizers)


# --- weights ---


def test_weights_go_out_by_model_and_path_and_come_back_into_another_model() -> None:
    source, target = models(0), models(1)
    weights = BACKEND.weights(source)
    assert weights.keys() == state(source).keys()
    assert weights["critic.weight"].shape == (1, 3)
    BACKEND.set_weights(target, weights)
    assert_identical(state(target), state(source))


def test_weights_are_copies_both_ways() -> None:
    source = models()
    before = state(source)
    weights = BACKEND.weights(source)
    for array in weights.values():
        array[...] = 7
    assert_identical(state(source), before)
    BACKEND.set_weights(source, weights)
    weights["critic.weight"][...] = 0
    assert state(source)["critic.weight"].tolist() == [[7.0, 7.0, 7.0]]


def test_weights_are_put_into_the_same_parameters_that_the_optimizer_holds() -> None:
    target = models(1)
    parameters = [p for model in target.values() for p in model.parameters()]
    addresses = [p.data_ptr() for p in parameters]
    BACKEND.set_weights(target, BACKEND.weights(models(0)))
    assert [p.data_ptr() for model in target.values() for p in model.parameters()] == addresses
    assert all(p.requires_grad for p in parameters)


def without(weights: dict[str, Any]) -> None:
    del weights["critic.weight"]


def with_one_more(weights: dict[str, Any]) -> None:
    weights["critic.bias"] = np.zeros(1, np.float32)


def misshapen(weights: dict[str, Any]) -> None:
    weights["critic.weight"] = np.zeros((1, 5), np.float32)


def transposed(weights: dict[str, Any]) -> None:
    weights["actor.0.weight"] = weights["actor.0.weight"].T


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without, r"lacks tensor 'critic\.weight' of shape \(1, 3\)"),
        (with_one_more, r"has tensor 'critic\.bias', which the model lacks"),
        (misshapen, r"'critic\.weight' has shape \(1, 5\) in the snapshot, but \(1, 3\) in the model"),
        (transposed, r"'actor\.0\.weight' has shape \(3, 4\) in the snapshot, but \(4, 3\) in the model"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name_and_nothing_is_changed(
    damage: Callable[[dict[str, Any]], None], message: str
) -> None:
    target = models(1)
    before = state(target)
    weights = BACKEND.weights(models(0))
    damage(weights)
    with pytest.raises(CheckpointMismatchError, match=message):
        BACKEND.set_weights(target, weights)
    assert_identical(state(target), before)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_name_and_nothing_is_changed(poison: float) -> None:
    target = models(1)
    before = state(target)
    weights = BACKEND.weights(models(0))
    weights["critic.weight"][0, 1] = poison
    with pytest.raises(NonFiniteError, match=r"'critic\.weight'"):
        BACKEND.set_weights(target, weights)
    assert_identical(state(target), before)


# --- optimizers ---


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2, eps=1e-5),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-2),
    "sgd with momentum": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
    "two groups": lambda p: torch.optim.Adam([{"params": p[:1]}, {"params": p[1:], "lr": 1e-4}], lr=1e-2),
}


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    x = torch.linspace(-1, 1, 12).reshape(4, 3)
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("steps", [0, 3])
def test_an_optimizer_goes_on_elsewhere_as_if_it_had_never_stopped(name: str, steps: int) -> None:
    torch.manual_seed(0)
    first = nn.Linear(3, 2)
    optimizer = OPTIMIZERS[name](list(first.parameters()))
    train(first, optimizer, steps)
    arrays, settings = BACKEND.optimizer_state(optimizer)

    second = copy.deepcopy(first)
    other = OPTIMIZERS[name](list(second.parameters()))
    train(second, other, 2)
    second.load_state_dict(first.state_dict())
    BACKEND.set_optimizer_state(other, arrays, json.loads(json.dumps(settings)))

    for model, opt in ((first, optimizer), (second, other)):
        train(model, opt, 3)
    assert_identical(dict(first.state_dict()), dict(second.state_dict()))


def test_settings_come_back_with_the_moments() -> None:
    model = nn.Linear(3, 2)
    source = torch.optim.Adam(model.parameters(), lr=0.25, betas=(0.5, 0.75), eps=1e-3)
    arrays, settings = BACKEND.optimizer_state(source)
    target = torch.optim.Adam(model.parameters())
    BACKEND.set_optimizer_state(target, arrays, json.loads(json.dumps(settings)))
    group = target.param_groups[0]
    assert (group["lr"], tuple(group["betas"]), group["eps"]) == (0.25, (0.5, 0.75), 1e-3)


def test_the_arrays_are_copies() -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer, 1)
    arrays, _ = BACKEND.optimizer_state(optimizer)
    kept = {name: array.copy() for name, array in arrays.items()}
    train(model, optimizer, 1)
    for name in arrays:
        np.testing.assert_array_equal(arrays[name], kept[name])


def test_another_number_of_groups_is_refused() -> None:
    model = nn.Linear(3, 2)
    arrays, settings = BACKEND.optimizer_state(OPTIMIZERS["two groups"](list(model.parameters())))
    with pytest.raises(CheckpointMismatchError, match="2 parameter groups, this one has 1"):
        BACKEND.set_optimizer_state(OPTIMIZERS["adam"](list(model.parameters())), arrays, settings)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_learning_rate_is_put_in_force_in_every_group(name: str) -> None:
    optimizer = OPTIMIZERS[name](list(nn.Linear(3, 2).parameters()))
    BACKEND.set_learning_rates(optimizer, [0.123] * len(optimizer.param_groups))
    assert {group["lr"] for group in optimizer.param_groups} == {0.123}


def test_a_learning_rate_held_in_a_tensor_is_set_in_that_tensor() -> None:
    rate = torch.tensor(0.5)
    optimizer = torch.optim.Adam(nn.Linear(3, 2).parameters(), lr=rate)
    BACKEND.set_learning_rates(optimizer, [0.25])
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.25
