"""Optimizers of PyTorch: what is refused, what their moments will be, and a new start."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix.adapters.pytorch import _optimizers
from tensor_optix.errors import CheckpointMismatchError, ContractError, HyperparamError


def trained(optimizer: torch.optim.Optimizer, model: nn.Module, steps: int = 2) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.linspace(-1, 1, 12).reshape(4, 3)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("kind", ["Adam", "Adafactor", "NAdam", "Rprop", "ASGD", "Adagrad", "Adadelta"])
def test_the_moments_that_will_be_are_those_that_come(kind: str) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = getattr(torch.optim, kind)(model.parameters())
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    expected = _optimizers.expected_moments(optimizer)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    trained(optimizer, model)
    found, _ = _optimizers.state_of(optimizer)
    assert {n: (a.shape, a.dtype) for n, a in found.items()} == {n: (a.shape, a.dtype) for n, a in expected.items()}


class Stubborn(torch.optim.SGD):
    """It cannot be made from groups alone, nor make a step without a gradient that matters."""

    def __init__(self, params: Any, needed: int) -> None:
        super().__init__(params, lr=1e-2, momentum=0.9)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if all(not p.grad.any() for group in self.param_groups for p in group["params"]):
            raise RuntimeError("no gradient")
        super().step(closure)


def test_an_optimizer_that_says_nothing_before_its_first_step_is_not_asked_again() -> None:
    model = nn.Linear(3, 2)
    optimizer = Stubborn(model.parameters(), needed=1)
    assert _optimizers.expected_moments(optimizer) == {}
    trained(optimizer, model)
    _optimizers.restart(optimizer)
    assert not optimizer.state


@pytest.mark.parametrize("kind", ["Adam", "NAdam", "Rprop", "Adagrad", "Adafactor"])
def test_a_restarted_optimizer_makes_the_steps_of_a_new_one(kind: str) -> None:
    torch.manual_seed(0)
    used = nn.Linear(3, 2)
    optimizer = getattr(torch.optim, kind)(used.parameters())
    trained(optimizer, used, 5)
    new = nn.Linear(3, 2)
    new.load_state_dict(used.state_dict())
    _optimizers.restart(optimizer)
    trained(optimizer, used, 3)
    trained(getattr(torch.optim, kind)(new.parameters()), new, 3)
    assert all(torch.equal(p, q) for p, q in zip(used.parameters(), new.parameters(), strict=True))


def test_a_weight_that_is_named_twice_makes_one_step() -> None:
    model = nn.Linear(3, 2)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = torch.optim.SGD([*model.parameters(), *model.parameters()], lr=1e-2)
    _optimizers.check_optimizer("optimizer", optimizer, {"model": model})
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(p) for p in model.parameters()]


def test_a_weight_that_an_optimizer_lacks_is_named() -> None:
    models = {"actor": nn.Linear(3, 2), "critic": nn.Linear(3, 1)}
    with pytest.raises(ContractError, match=r"'critic.weight' of shape \(1, 3\). Hand it .* all of: actor, critic"):
        _optimizers.check_optimizer("optimizer", torch.optim.Adam(models["actor"].parameters()), models)
    with pytest.raises(ContractError, match=r"must be a torch.optim.Optimizer, but got str"):
        _optimizers.check_optimizer("optimizer", "adam", models)


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (torch.optim.LBFGS, "such as Adam"),
        (torch.optim.SparseAdam, "Use Adam"),
        (partial(torch.optim.Adam, differentiable=True), "Make it with differentiable=False"),
        (partial(torch.optim.SGD, differentiable=True), "Make it with differentiable=False"),
    ],
)
def test_an_optimizer_that_takes_no_gradient_of_weights_is_refused(make: Any, remedy: str) -> None:
    with pytest.raises(ContractError, match=remedy):
        _optimizers.refuse_kind("optimizer", make(nn.Linear(2, 1).parameters()))


def test_moments_of_a_weight_that_is_not_there_are_refused() -> None:
    optimizer = torch.optim.Adam(nn.Linear(3, 2).parameters())
    _, settings = _optimizers.state_of(optimizer)
    with pytest.raises(CheckpointMismatchError, match="'exp_avg' of parameter 5, this one has 2 parameters"):
        _optimizers.set_state(optimizer, {"5.exp_avg": np.zeros(2, np.float32)}, settings)


def test_moments_in_bfloat16_come_back_as_they_were() -> None:
    model = nn.Linear(3, 2).bfloat16()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3, dtype=torch.bfloat16)).sum().backward()
    optimizer.step()
    arrays, settings = _optimizers.state_of(optimizer)
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    before = optimizer.state[model.weight]["exp_avg"].clone()
    _optimizers.set_state(optimizer, arrays, settings)
    assert torch.equal(optimizer.state[model.weight]["exp_avg"], before)


@pytest.mark.parametrize("mark", ["_wrapped_by_lr_sched", "_with_counter"])
def test_a_scheduler_is_seen_in_every_version(mark: str) -> None:
    optimizer: Any = torch.optim.Adam(nn.Linear(3, 2).parameters())

    def step() -> None: ...

    setattr(step, mark, True)
    optimizer.step = step
    with pytest.raises(HyperparamError, match="Leave the scheduler out"):
        _optimizers.set_learning_rates(optimizer, [1.0])
