"""Dense stacks in numpy against the modules that they stand for."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix.adapters.pytorch._dense_layers import layers_of, model_of
from tensor_optix.adapters.pytorch._dense_memory import Gradients, Memory, UnsupportedError
from tensor_optix.adapters.pytorch._predictor import LogStd
from tensor_optix.adapters.pytorch._tape import Tape, Taped
from tensor_optix.adapters.pytorch._temperature import Temperature

STACKS: dict[str, Callable[[], nn.Module]] = {
    "a single layer": lambda: nn.Linear(3, 2),
    "tanh": lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)),
    "relu": lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)),
    "sigmoid": lambda: nn.Sequential(nn.Linear(3, 5), nn.Sigmoid(), nn.Linear(5, 2)),
    "an activation at the end": lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2), nn.Tanh()),
    "without bias": lambda: nn.Sequential(nn.Linear(3, 5, bias=False), nn.Tanh(), nn.Linear(5, 2, bias=False)),
    "large": lambda: nn.Sequential(nn.Linear(3, 600), nn.ReLU(), nn.Linear(600, 601), nn.ReLU(), nn.Linear(601, 2)),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(3, 5), nn.Tanh()), nn.Identity(), nn.Linear(5, 2)),
    "dropout of nothing": lambda: nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.0), nn.Linear(5, 2)),
    "gaussian": lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1), LogStd(1, -0.3)),
    "gaussian of a bounded mean": lambda: nn.Sequential(nn.Linear(3, 1), nn.Tanh(), LogStd(1, -0.3)),
}


def gradients_of(module: nn.Module, x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return output, gradients of all weights, and the gradient of x, of the loss mean(output·weights)."""
    parameters = list(module.parameters())
    gradients, tape = Gradients(parameters), Tape()
    taped = Taped(x, tape)
    y = model_of(layers_of(module), Memory(), gradients, tape)(taped)
    tape.play_back((y * Taped(weights)).mean())
    gradients.finish()
    return y.array, gradients.flat, taped.gradient


@pytest.mark.parametrize("name", STACKS)
def test_output_and_gradients_are_those_of_the_module(name: str) -> None:
    torch.manual_seed(0)
    module, rng = STACKS[name](), np.random.default_rng(0)
    x, weights = (rng.standard_normal((7, n)).astype(np.float32) for n in (3, 2))
    given = weights.copy()
    ours = gradients_of(module, x, weights)
    tensor = torch.tensor(x, requires_grad=True)
    y = module(tensor)
    parameters = list(module.parameters())
    theirs = torch.autograd.grad((y * torch.from_numpy(weights)).mean(), [*parameters, tensor])
    np.testing.assert_allclose(ours[0], y.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours[1], torch.cat([g.reshape(-1) for g in theirs[:-1]]).numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours[2], theirs[-1].numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(weights, given)


@pytest.mark.parametrize("name", STACKS)
def test_places_of_ones_give_what_one_hot_rows_give(name: str) -> None:
    torch.manual_seed(0)
    module, tape = STACKS[name](), Tape()
    places = np.array([2, 0, 2, 2])
    weights = np.random.default_rng(0).standard_normal((2, 4, 2)).astype(np.float32)
    gradients = Gradients(list(module.parameters()))
    model = model_of(layers_of(module), Memory(), gradients, tape)
    outputs = [model(Taped(x)) for x in (places, places[::-1])]
    first, second = (y * Taped(array) for y, array in zip(outputs, weights, strict=True))
    tape.play_back((first + second).mean())
    gradients.finish()
    rows = torch.eye(3)[torch.from_numpy(places)]
    expected = [module(x) for x in (rows, rows.flip(0))]
    loss = sum(y * torch.from_numpy(array) for y, array in zip(expected, weights, strict=True)).mean()
    theirs = torch.autograd.grad(loss, list(module.parameters()))
    for y, its in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(y.array, its.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradients.flat, torch.cat([g.reshape(-1) for g in theirs]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", STACKS)
def test_the_gradient_that_the_loss_shares_with_others_is_not_changed(name: str) -> None:
    module, tape = STACKS[name](), Tape()
    gradients = Gradients(list(module.parameters()))
    other = Taped(np.zeros((7, 2), np.float32), tape)
    y = model_of(layers_of(module), Memory(), gradients, tape)(Taped(np.ones((7, 3), np.float32)))
    tape.play_back(((y + other) * Taped(np.ones((7, 2), np.float32))).mean())
    np.testing.assert_allclose(other.gradient, np.full((7, 2), 1 / 14))


def test_weights_are_read_where_they_are_and_gradients_of_one_loss_add_up() -> None:
    layer, tape = nn.Linear(1, 1, bias=False), Tape()
    gradients = Gradients(list(layer.parameters()))
    model, x = model_of(layers_of(layer), Memory(), gradients, tape), Taped(np.float32([[2.0]]))
    for weight in (3.0, 5.0):
        with torch.no_grad():
            layer.weight.fill_(weight)
        loss = (model(x) + model(x)).mean()
        assert float(loss.array) == 4.0 * weight
        tape.play_back(loss)
        tape.clear()
        gradients.finish()
        assert gradients.flat.tolist() == [4.0]
    gradients.finish()  # a loss that does not depend on it
    assert gradients.flat.tolist() == [0.0]


def test_a_stack_that_is_only_read_passes_the_gradient_on() -> None:
    critic, tape = nn.Linear(2, 1), Tape()
    gradients = Gradients([])
    x = Taped(np.ones((1, 2), np.float32), tape)
    tape.play_back(model_of(layers_of(critic), Memory(), gradients, None)(x).mean())
    np.testing.assert_allclose(x.gradient, critic.weight.detach().numpy())
    assert model_of(layers_of(critic), Memory(), gradients, None)(Taped(x.array)).tape is None


def test_the_temperature_is_its_weight() -> None:
    weight = torch.full((1,), 0.5, requires_grad=True)
    module, tape = Temperature(torch.optim.Adam([weight])), Tape()
    gradients = Gradients(list(module.parameters()))
    tape.play_back((model_of(layers_of(module), Memory(), gradients, tape)(Taped(np.ones((4, 2)))) * -3.0).mean())
    gradients.finish()
    assert gradients.flat.tolist() == [-3.0]


def hooked() -> nn.Module:
    module = nn.Linear(3, 2)
    module.register_full_backward_hook(lambda *_: None)
    return module


def watched() -> nn.Module:
    module = nn.Linear(3, 2)
    module.weight.register_hook(lambda gradient: gradient * 2.0)
    return module


def transposed() -> nn.Module:
    module = nn.Linear(3, 2)
    module.weight = nn.Parameter(torch.ones(3, 2).T)
    return module


class Own(nn.Linear):
    """A layer that may do anything."""


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.1), nn.Linear(5, 2)),
        lambda: nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 2)),
        lambda: nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 2)),
        lambda: nn.Sequential(nn.Tanh(), nn.Linear(3, 2)),
        lambda: nn.Linear(3, 2).double(),
        lambda: nn.Linear(3, 2).bfloat16(),
        lambda: nn.Linear(3, 2, device="meta"),
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)),
        lambda: Own(3, 2),
        lambda: nn.Sequential(),
        hooked,
        watched,
        transposed,
    ],
)
def test_other_models_are_left_to_pytorch(make: Callable[[], nn.Module]) -> None:
    module = make()
    with pytest.raises(UnsupportedError):
        layers_of(module)
