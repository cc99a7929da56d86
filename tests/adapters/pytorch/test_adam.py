"""Adam on the user's own optimizer: the same step as its own, and everything else left to it."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix.adapters.pytorch import _adam
from tensor_optix.adapters.pytorch._adam import AdamState, VectorAdam, global_norm, is_basic_adam

torch.set_num_threads(1)


def model(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(3, 2)


def basic(network: nn.Module, **options: Any) -> bool:
    parameters = list(network.parameters())
    return is_basic_adam(torch.optim.Adam(parameters, **options), parameters)


class TestBasic:
    def test_a_plain_adam_over_exactly_these_parameters_is(self) -> None:
        assert basic(model())
        assert basic(model(), lr=0.5, betas=(0.5, 0.9), eps=1e-5)
        network = model()
        assert is_basic_adam(torch.optim.Adam(reversed(list(network.parameters()))), list(network.parameters()))

    @pytest.mark.parametrize(
        "options",
        [{"amsgrad": True}, {"weight_decay": 0.1}, {"maximize": True}, {"lr": torch.tensor(0.1), "foreach": False}],
        ids=lambda options: next(iter(options)),
    )
    def test_any_other_form_of_adam_is_not(self, options: dict[str, Any]) -> None:
        assert not basic(model(), **options)

    @pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop])
    def test_another_optimizer_is_not(self, kind: Any) -> None:
        network = model()
        assert not is_basic_adam(kind(network.parameters(), lr=0.1), list(network.parameters()))

    def test_other_parameters_and_several_groups_are_not(self) -> None:
        network, other = model(), model()
        optimizer = torch.optim.Adam(network.parameters())
        assert not is_basic_adam(optimizer, list(other.parameters()))
        assert not is_basic_adam(optimizer, [network.weight])
        optimizer.add_param_group({"params": list(other.parameters())})
        assert not is_basic_adam(optimizer, [*network.parameters(), *other.parameters()])

    def test_parameters_that_are_fixed_or_of_another_type_are_not(self) -> None:
        assert not basic(model().double())
        network = model()
        network.bias.requires_grad_(False)
        assert not basic(network)

    def test_a_user_who_watches_the_steps_keeps_them(self) -> None:
        network = model()
        optimizer = torch.optim.Adam(network.parameters())
        optimizer.register_step_post_hook(lambda *_: None)
        assert not is_basic_adam(optimizer, list(network.parameters()))


class TestState:
    def gradients(self, network: nn.Module, step: int) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(step)
        return [torch.randn(p.shape, generator=generator) for p in network.parameters()]

    @pytest.mark.parametrize("scale", [None, 4.0])
    def test_steps_are_those_of_the_optimizer_itself(self, scale: float | None) -> None:
        ours, theirs = model(), model()
        own = torch.optim.Adam(ours.parameters(), lr=0.1, betas=(0.8, 0.9), eps=1e-5)
        reference = torch.optim.Adam(theirs.parameters(), lr=0.1, betas=(0.8, 0.9), eps=1e-5)
        state = AdamState(own, list(ours.parameters()))
        for step in range(5):
            gradients = self.gradients(ours, step)
            for parameter, gradient in zip(theirs.parameters(), gradients, strict=True):
                parameter.grad = gradient / (scale or 1.0)
            reference.step()
            with torch.no_grad():
                state.apply(list(ours.parameters()), gradients, None if scale is None else torch.tensor(scale))
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
        assert float(state.step) == 5.0
        saved = own.state_dict()["state"]
        assert saved.keys() == reference.state_dict()["state"].keys()
        assert all(saved[n].keys() == reference.state_dict()["state"][n].keys() for n in saved)

    def test_gradients_in_another_order_of_memory_make_the_same_step(self) -> None:
        torch.manual_seed(0)
        ours, theirs = (nn.Parameter(torch.ones(2, 3, 2, 2)) for _ in range(2))
        ours.data = ours.data.to(memory_format=torch.channels_last)
        gradient = torch.randn(2, 3, 2, 2)
        for parameter in (ours, theirs):
            with torch.no_grad():
                AdamState(torch.optim.Adam([parameter], lr=0.1), [parameter]).apply([parameter], [gradient], None)
        assert torch.equal(ours, theirs)

    def test_moments_begin_as_the_optimizer_begins_them_and_those_there_are_kept(self) -> None:
        network = model()
        optimizer = torch.optim.Adam(network.parameters())
        assert AdamState(optimizer, list(network.parameters())).is_uniform
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        before = copy.deepcopy(optimizer.state_dict()["state"])
        state = AdamState(optimizer, list(network.parameters()))
        assert float(state.step) == 1.0
        assert torch.equal(optimizer.state_dict()["state"][0]["exp_avg"], before[0]["exp_avg"])

    def test_parameters_that_have_made_different_numbers_of_steps_are_not_uniform(self) -> None:
        network = model()
        optimizer = torch.optim.Adam(network.parameters())
        network.weight.grad = torch.ones_like(network.weight)
        optimizer.step()
        assert not AdamState(optimizer, list(network.parameters())).is_uniform


def test_global_norm_is_that_of_all_entries_in_a_row() -> None:
    assert float(global_norm([torch.tensor([[3.0]]), torch.tensor([0.0, 4.0]), torch.tensor(12.0)])) == 13.0


@pytest.mark.parametrize("is_fused", [True, False])
@pytest.mark.parametrize("options", [{"lr": 0.1}, {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-5}], ids=["", "betas"])
def test_a_vector_makes_the_steps_of_the_optimizer(
    options: dict[str, Any], is_fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_adam, "fused_adam_works", lambda: is_fused)
    ours, theirs = model(), model()
    optimizers = [torch.optim.Adam(network.parameters(), **options) for network in (ours, theirs)]
    rng, parameters = np.random.default_rng(0), list(ours.parameters())
    for _ in range(2):  # the second goes on from the moments that the first has written
        weights = torch.cat([p.detach().reshape(-1) for p in parameters]).numpy().copy()
        adam = VectorAdam(AdamState(optimizers[0], parameters), weights)
        for _ in range(5):
            gradient = rng.standard_normal(8).astype(np.float32)
            adam.apply(gradient)
            for p, part in zip(theirs.parameters(), torch.from_numpy(gradient).split([6, 2]), strict=True):
                p.grad = part.view_as(p).clone()
            optimizers[1].step()
        adam.write_back()
        with torch.no_grad():
            for p, part in zip(parameters, torch.from_numpy(weights).split([6, 2]), strict=True):
                p.copy_(part.view_as(p))
    for one, other in zip(parameters, theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
        for key, value in optimizers[1].state[other].items():
            torch.testing.assert_close(optimizers[0].state[one][key], value, rtol=1e-5, atol=1e-7)
