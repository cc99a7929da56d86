"""The numpy operations against PyTorch's, on the same numbers."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tensor_optix.adapters._numpy_ops import NUMPY_OPS
from tensor_optix.adapters.backend import Ops
from tensor_optix.adapters.pytorch.backend import TorchBackend

torch.set_num_threads(1)

X = np.random.default_rng(0).standard_normal((6, 5))
Y = np.random.default_rng(1).standard_normal((6, 5))
INDICES = np.array([0, 4, 2, 2, 1, 3])
TORCH_OPS = TorchBackend.ops


def both(of: Callable[[Ops, Callable], object]) -> tuple[np.ndarray, np.ndarray]:
    """Return the result of the same expression in both."""
    return np.asarray(of(NUMPY_OPS, np.asarray)), of(TORCH_OPS, torch.from_numpy).numpy()  # type: ignore[attr-defined]


EXPRESSIONS: dict[str, Callable] = {
    "exp": lambda ops, t: ops.exp(t(X)),
    "sqrt": lambda ops, t: ops.sqrt(t(X**2)),
    "square": lambda ops, t: ops.square(t(X)),
    "minimum": lambda ops, t: ops.minimum(t(X), t(Y)),
    "clip": lambda ops, t: ops.clip(t(X), -0.5, 0.25),
    "where": lambda ops, t: ops.where(t(X) > t(Y), 1.0, 0.0),
    "mean": lambda ops, t: ops.mean(t(X)),
    "sum": lambda ops, t: ops.sum(t(X)),
    "log_softmax": lambda ops, t: ops.log_softmax(t(X)),
    "gather": lambda ops, t: ops.gather(t(X), t(INDICES)),
    "max": lambda ops, t: ops.max(t(X)),
    "argmax": lambda ops, t: ops.argmax(t(X)),
    "tanh": lambda ops, t: ops.tanh(t(X)),
    "softplus": lambda ops, t: ops.softplus(t(X)),
    "concat": lambda ops, t: ops.concat([t(X), t(Y)]),
    "no_gradient": lambda ops, t: ops.no_gradient(lambda: t(X) * 2.0),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_numpy_and_torch_agree(name: str) -> None:
    ours, theirs = both(EXPRESSIONS[name])
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_every_operation_of_the_protocol_is_compared() -> None:
    assert set(EXPRESSIONS) == set(Ops.__annotations__)


def test_sum_is_over_the_last_axis_and_mean_over_all() -> None:
    ones = np.ones((3, 4))
    np.testing.assert_array_equal(NUMPY_OPS.sum(ones), [4, 4, 4])
    assert NUMPY_OPS.mean(ones) == 1.0


def test_log_softmax_is_a_distribution_however_large_the_logits() -> None:
    logits = np.array([[1e4, 0.0, -1e4], [-700.0, -700.0, -700.0], [88.0, 89.0, 90.0]], np.float32)
    result = NUMPY_OPS.log_softmax(logits)
    np.testing.assert_allclose(np.exp(result).sum(-1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(result, torch.log_softmax(torch.from_numpy(logits), -1).numpy(), rtol=1e-6)


def test_log_softmax_does_not_change_its_argument() -> None:
    logits = X.copy()
    NUMPY_OPS.log_softmax(logits)
    np.testing.assert_array_equal(logits, X)


def test_gather_takes_one_entry_per_row_for_any_kind_of_integer() -> None:
    table = np.arange(12.0).reshape(4, 3)
    for indices in ([2, 0, 1, 2], np.array([2, 0, 1, 2], np.int32), np.array([2, 0, 1, 2], np.uint8)):
        np.testing.assert_array_equal(NUMPY_OPS.gather(table, indices), [2, 3, 7, 11])


def test_gather_of_one_row_is_a_scalar() -> None:
    assert NUMPY_OPS.gather(np.array([5.0, 6.0]), np.int64(1)) == 6.0
