"""log α as a model of one weight."""

import pytest
import torch

from tensor_optix.adapters.pytorch._temperature import Temperature


def test_it_is_the_optimizers_own_parameter() -> None:
    log_alpha = torch.nn.Parameter(torch.full((1,), 0.5))
    model = Temperature(torch.optim.Adam([log_alpha]))
    assert model.log_alpha is log_alpha
    assert float(model(torch.ones(4, 3)).detach()) == 0.5


def test_a_plain_tensor_becomes_a_parameter_that_the_optimizer_trains() -> None:
    log_alpha = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([log_alpha], lr=0.1)
    log_alpha.sum().backward()
    optimizer.step()
    model = Temperature(optimizer)
    assert float(model(None).detach()) == pytest.approx(-0.1)
    (model(None) * 2.0).backward()
    optimizer.step()
    assert float(model(None).detach()) < -0.1
    assert float(optimizer.state[model.log_alpha]["step"]) == 2.0
    assert float(log_alpha.detach()) == float(model(None).detach())  # they share their memory
