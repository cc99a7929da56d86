"""The gradients of a tape against those of PyTorch's autograd."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tensor_optix.adapters.pytorch._tape import Tape, Taped
from tensor_optix.adapters.pytorch.backend import TorchBackend

OPS = TorchBackend.ops
Function = Callable[[Any, Any], Any]
MASKS = np.random.default_rng(9).random((6, 4)) < 0.6
MASKS[:, 0] = True
INDICES = np.random.default_rng(8).integers(0, 4, 6)


def both(function: Function, *, second: tuple[int, ...] = (6, 4), offset: float = 0.0) -> tuple[Any, Any]:
    """Return value and gradients of a function of x (6, 4) and y: on the tape, and by autograd."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) + np.float32(offset) for shape in ((6, 4), second)]
    tape = Tape()
    taped = [Taped(array, tape) for array in arrays]
    result = function(*taped)
    tape.play_back(result)
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    expected = function(*tensors)
    gradients = torch.autograd.grad(expected, tensors, allow_unused=True)
    ours = [np.zeros(t.array.shape) if t.gradient is None else t.gradient for t in taped]
    theirs = [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, gradients, strict=True)]
    return (result.array, *ours), (expected.detach().numpy(), *(gradient.numpy() for gradient in theirs))


def as_masks(x: Any, array: np.ndarray) -> Any:
    return Taped(array) if isinstance(x, Taped) else torch.from_numpy(array)


FUNCTIONS: dict[str, Function] = {
    "sum and difference": lambda x, y: OPS.mean((x + y) * (x - y) + (1.0 - x) * (y + 2.0)),
    "quotients": lambda x, y: OPS.mean(x / (OPS.square(y) + 1.0) + 1.0 / (2.0 + OPS.exp(y)) - x / 3.0),
    "powers": lambda x, y: OPS.mean(x**2 + (OPS.square(y) + 0.5) ** -0.5),
    "the same twice": lambda x, y: OPS.mean(x * x * y - -x),
    "exp, sqrt, square, tanh, softplus": lambda x, y: OPS.mean(
        OPS.exp(x) + OPS.sqrt(OPS.square(y) + 0.1) + OPS.tanh(x * y) + OPS.softplus(-2.0 * y)
    ),
    "minimum": lambda x, y: OPS.mean(OPS.minimum(x, y) * OPS.minimum(y, x * 2.0)),
    "clip": lambda x, y: OPS.mean(OPS.clip(x, -0.5, 0.7) * y),
    "sum of rows": lambda x, y: OPS.mean(OPS.sum(x * y)),
    "log softmax": lambda x, y: OPS.mean(OPS.log_softmax(x) * y),
    "entropy": lambda x, y: OPS.mean(OPS.sum(OPS.exp(OPS.log_softmax(x)) * OPS.log_softmax(x)) + OPS.sum(y)),
    "max": lambda x, y: OPS.mean(OPS.max(x) + OPS.max(y)),
    "greatest of equals": lambda x, y: OPS.mean(OPS.max(x * 0.0) + OPS.max(y)),
    "gather": lambda x, y: OPS.mean(OPS.gather(x, as_masks(x, INDICES)) * OPS.gather(y, OPS.argmax(x))),
    "parts": lambda x, y: OPS.mean(x[..., 0] * y[..., 1] + x[..., 2:][..., 0] + OPS.sum(y[:, None][:, 0])),
    "concat": lambda x, y: OPS.mean(OPS.square(OPS.concat([x, y, x])) * 3.0),
    "where": lambda x, y: OPS.mean(OPS.where(as_masks(x, MASKS), x, y) + OPS.where(x > y, 1.0, 0.0) * x),
    "where one is a number": lambda x, y: OPS.mean(OPS.where(as_masks(x, MASKS), x, -3.0) + OPS.where(y <= x, 2.0, y)),
    "comparisons": lambda x, y: OPS.mean(OPS.where(x < 0.1, x, y) + OPS.where(x >= y, y, x)),
    "no gradient": lambda x, y: OPS.mean(x * OPS.no_gradient(lambda: OPS.exp(x) + y)),
    "functions of the framework": lambda x, y: (
        torch.mean(torch.sqrt(torch.square(x) + 1.0) + torch.tanh(y) * torch.exp(x) + torch.clamp(y, -1.0, 1.0))
        + torch.mean(torch.sum(torch.log_softmax(x, -1), -1) + torch.amax(torch.minimum(x, y), -1))
    ),
    "a loss that does not depend on x": lambda x, y: OPS.mean(y),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_value_and_gradients_are_those_of_autograd(name: str) -> None:
    ours, theirs = both(FUNCTIONS[name])
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)
        assert np.asarray(one).dtype in (np.float32, np.float64)
    assert ours[0].dtype == np.float32


@pytest.mark.parametrize("second", [(4,), (1, 4), (6, 1), (1,), ()])
@pytest.mark.parametrize("name", ["sum and difference", "quotients", "where", "minimum"])
def test_a_gradient_is_summed_over_what_was_broadcast(name: str, second: tuple[int, ...]) -> None:
    ours, theirs = both(FUNCTIONS[name], second=second)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def test_saturated_probabilities_have_finite_gradients() -> None:
    def masked(x: Any, y: Any) -> Any:
        logs = OPS.log_softmax(OPS.where(as_masks(x, MASKS), x * 100.0, -1e8))
        return OPS.mean(OPS.gather(logs, as_masks(x, np.zeros(6, np.int64))) - OPS.sum(OPS.exp(logs) * logs)) + y.mean()

    ours, theirs = both(masked)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_constants_stay_constants() -> None:
    tape = Tape()
    constant = Taped(np.ones(3, np.float32))
    weight = Taped(np.ones(3, np.float32), tape)
    tape.play_back((constant * weight + constant).mean())
    assert constant.gradient is None
    assert (constant * 2.0).tape is None
    np.testing.assert_allclose(weight.gradient, np.full(3, 1 / 3), rtol=1e-6)


def test_a_cleared_tape_begins_anew() -> None:
    tape = Tape()
    weight = Taped(np.float32([2.0]), tape)
    tape.play_back((weight * weight).mean())
    tape.clear()
    weight.gradient = None
    tape.play_back((weight * 3.0).mean())
    assert weight.gradient.tolist() == [3.0]


@pytest.mark.parametrize(
    "unknown",
    [
        lambda x: torch.fft.fft(x),
        lambda x: x.median(),
        lambda x: x.sum(0),
        lambda x: torch.cat([x, x], 0),
        lambda x: x[np.array([0, 0])],
        lambda x: x**x,
        lambda x: 2.0**x,
        lambda x: OPS.gather(x[:, None], as_masks(x, INDICES)),
    ],
)
def test_what_is_not_known_raises(unknown: Callable[[Any], Any]) -> None:
    with pytest.raises((TypeError, AttributeError)):
        unknown(Taped(np.ones((6, 4), np.float32), Tape()))
