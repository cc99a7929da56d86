"""Layers by PyTorch's kernels against numpy."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from tensor_optix.adapters.pytorch import _dense_kernels
from tensor_optix.adapters.pytorch._dense_kernels import relu
from tensor_optix.adapters.pytorch._recording import Recorded, Recording, bare

affine = _dense_kernels.affine
SHAPES = {"small": (8, 3, 5), "large": (256, 17, 256), "narrow": (1024, 128, 8)}
"""Rows, inputs and units."""


def drawn(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("name", SHAPES)
def test_outputs_are_those_of_numpy_and_replays_read_what_has_changed(name: str, with_bias: bool) -> None:
    n_rows, n_inputs, n_units = SHAPES[name]
    x, other, weight, bias = drawn((n_rows, n_inputs), (n_rows, n_inputs), (n_units, n_inputs), (n_units,))
    memory, recording, given = x.copy(), Recording(), bias if with_bias else None
    result = relu(affine(Recorded(memory, recording), weight, given))  # type: ignore[arg-type]
    for values in (x, other, x):
        memory[...] = values
        weight += 0.5  # an optimizer's step
        recording.replay()
        expected = np.maximum(values @ weight.T + bias * with_bias, 0.0)
        np.testing.assert_allclose(bare(result), expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(relu(affine(values, weight, given)), bare(result))


@pytest.mark.parametrize("name", SHAPES)
def test_only_wide_and_large_layers_are_pytorchs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    for function in (torch.addmm, torch.relu_):
        monkeypatch.setattr(torch, function.__name__, partial(_noting, calls, function))
    n_rows, n_inputs, n_units = SHAPES[name]
    relu(affine(*drawn((n_rows, n_inputs), (n_units, n_inputs), (n_units,))))
    assert len(calls) == 2 * (name == "large")


def _noting(calls: list[object], function: Callable[..., object], *arguments: object, **named: object) -> object:
    calls.append(arguments)
    return function(*arguments, **named)


def test_what_tensors_cannot_share_is_left_to_numpy() -> None:
    weight, bias = drawn((256, 64), (256,))
    for x in (np.broadcast_to(np.float32(1.0), (256, 64)), np.ones((256, 64))):
        np.testing.assert_allclose(affine(x, weight, bias), x @ weight.T + bias, rtol=1e-4, atol=1e-5)


def test_bits_do_not_depend_on_where_arrays_begin() -> None:
    x, weight, bias = drawn((64, 256), (256, 256), (256,))
    expected = affine(x, weight, bias)
    for start in (4, 8, 12):  # numpy promises 16 bytes
        shifted = [_shifted(array, start) for array in (x, weight, bias)]
        np.testing.assert_array_equal(affine(*shifted), expected)


def _shifted(array: np.ndarray, start: int) -> np.ndarray:
    memory = np.empty(array.size + start, np.float32)[start:].reshape(array.shape)
    memory[...] = array
    return memory


def test_a_nan_is_not_hidden() -> None:
    assert np.isnan(bare(relu(np.full((128, 128), np.nan, np.float32)))).all()
    np.testing.assert_array_equal(relu(np.array([-1.0, 2.0], np.float32)), [0.0, 2.0])
