"""An objective with the weights that it trains."""

import copy

import pytest
import torch
from torch import nn

from tensor_optix.adapters._architecture import Architecture
from tensor_optix.adapters.backend import Objective
from tensor_optix.adapters.pytorch._networks import build
from tensor_optix.adapters.pytorch._trained import Trained
from tensor_optix.errors import ContractError
from tests.adapters.pytorch.textbook import adam, loss_of, networks, parameters_of
from tests.fakes import torch_models as t
from tests.fakes.cycles import window


def trained(models: list[nn.Module]) -> Trained:
    return Trained(Objective(loss_of, models, adam(parameters_of(models))))


def test_what_is_frozen_is_seen_when_it_is_looked_for() -> None:
    models = networks()
    found = trained(models)
    assert not found.refresh()
    frozen = models[0][0].weight.requires_grad_(False)  # type: ignore[index]
    assert found.refresh()
    assert all(parameter is not frozen for parameter in found.parameters)
    assert not found.is_basic_adam
    frozen.requires_grad_(True)
    assert found.refresh()
    assert found.is_basic_adam


def test_a_weight_that_the_optimizer_does_not_have_is_refused() -> None:
    models = networks()
    models[0][0].weight.requires_grad_(False)  # type: ignore[index]
    optimizer = adam([p for p in parameters_of(models) if p.requires_grad])
    found = Trained(Objective(loss_of, models, optimizer))
    models[0][0].weight.requires_grad_(True)  # type: ignore[index]
    with pytest.raises(ContractError, match="Make the optimizer with all of the model's parameters"):
        found.refresh()


def test_where_all_is_frozen_nothing_moves() -> None:
    models = networks()
    for parameter in parameters_of(models):
        parameter.requires_grad_(False)
    before = [parameter.clone() for parameter in parameters_of(models)]
    assert (
        float(Trained(Objective(loss_of, models, adam(parameters_of(models)))).apply_gradients(torch.ones(()), 1.0))
        == 0.0
    )
    assert all(torch.equal(one, other) for one, other in zip(before, parameters_of(models), strict=True))


@pytest.mark.parametrize("shape", [(3, 36, 36), (36, 36, 3)], ids=["channels first", "channels last"])
def test_a_step_on_pictures_is_that_of_the_optimizer(shape: tuple[int, ...]) -> None:
    architecture = Architecture(
        input_shape=shape, hidden=(), outputs=2, activation="relu", initial="uniform", is_image=True
    )
    ours = build(architecture, torch.Generator().manual_seed(0))
    theirs = copy.deepcopy(ours)
    optimizer = adam(list(theirs.parameters()))
    x = torch.rand(8, *shape, generator=torch.Generator().manual_seed(0)) * 255.0
    found = Trained(Objective(loss_of, [ours], adam(list(ours.parameters()))))
    for _ in range(3):
        found.apply_gradients(ours(x).square().mean(), None)
        optimizer.zero_grad()
        theirs(x).square().mean().backward()
        optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=1e-5)


def test_a_model_whose_output_is_cut_off_from_its_weights_is_named() -> None:
    windows = window(seed=0)
    for make in (t.ppo(t.CutOff), t.dqn(t.CutOff), t.ppo(lambda n: t.CutOff(n) if n == 2 else t.dense(n))):
        with pytest.raises(
            ContractError, match="CutOff cannot be trained: what it returns is cut off from its weights"
        ):
            make(0).learn(windows)


def test_a_wrapped_model_is_bare_within() -> None:
    inner = networks()
    wrapped = [nn.DataParallel(model) for model in inner]
    assert list(trained(wrapped).bare.models) == inner  # type: ignore[arg-type]
