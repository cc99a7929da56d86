"""Dense stacks in numpy against their formulas, and against PyTorch's functions."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tensor_optix.adapters import _dense

torch.set_num_threads(1)

ACTIVATIONS: list[tuple[Callable, Callable]] = [
    (_dense.tanh, torch.tanh),
    (_dense.relu, torch.relu),
    (_dense.sigmoid, torch.sigmoid),
    (_dense.silu, torch.nn.functional.silu),
    (_dense.elu, torch.nn.functional.elu),
]


@pytest.mark.parametrize(("ours", "theirs"), ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_are_those_of_the_framework_without_overflow(ours: Callable, theirs: Callable, dtype: type) -> None:
    x = np.concatenate([np.linspace(-6, 6, 101), [-1e4, -100, 0, 100, 1e4]]).astype(dtype)
    expected = theirs(torch.from_numpy(x.copy())).numpy()
    result = ours(x.copy())
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_affine_is_x_times_kernel_plus_bias() -> None:
    kernel, bias = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([10.0, 20.0])
    np.testing.assert_array_equal(_dense.Affine(kernel, bias)(np.array([[1.0, 1.0], [0.0, 2.0]])), [[14, 26], [16, 28]])
    np.testing.assert_array_equal(_dense.Affine(kernel, bias)(np.array([1.0, 0.0])), [11, 22])
    np.testing.assert_array_equal(_dense.Affine(kernel, None)(np.array([1.0, 0.0])), [1, 2])


def test_affine_has_the_bits_of_a_matrix_product_whatever_the_rows() -> None:
    rng = np.random.default_rng(0)
    kernel, bias = rng.standard_normal((64, 17), np.float32).T, np.zeros(64, np.float32)
    for rows in ((), (1,), (8,), (256,), (3, 5)):
        x = rng.standard_normal((*rows, 17), np.float32)
        np.testing.assert_array_equal(_dense.Affine(kernel, bias)(x), x @ kernel)


def test_affine_changes_neither_its_argument_nor_its_arrays() -> None:
    x, kernel, bias = np.ones((2, 2)), np.eye(2), np.ones(2)
    _dense.Affine(kernel, bias)(x)[:] = 99
    np.testing.assert_array_equal(x, np.ones((2, 2)))
    np.testing.assert_array_equal(kernel, np.eye(2))
    np.testing.assert_array_equal(bias, np.ones(2))


def test_affine_sees_changes_of_the_memory_it_views() -> None:
    kernel = np.eye(2)
    layer = _dense.Affine(kernel, None)
    kernel *= 3
    np.testing.assert_array_equal(layer(np.array([1.0, 2.0])), [3, 6])


def test_log_std_is_appended_to_every_row() -> None:
    layer = _dense.AppendLogStd(np.array([-1.0, -2.0]))
    np.testing.assert_array_equal(layer(np.array([[1.0, 2.0], [3.0, 4.0]])), [[1, 2, -1, -2], [3, 4, -1, -2]])
    np.testing.assert_array_equal(layer(np.array([1.0, 2.0])), [1, 2, -1, -2])


@pytest.mark.parametrize("is_view", [False, True])
def test_the_product_with_many_one_hot_rows_is_the_same(is_view: bool) -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(70, 5)).astype(np.float32)
    kernel, bias = kernel.T.copy().T if is_view else kernel, rng.normal(size=5).astype(np.float32)
    for x in (np.eye(70, dtype=np.float32), np.eye(70, dtype=np.float32)[:3], 2.0 * np.eye(70, dtype=np.float32)):
        np.testing.assert_array_equal(_dense.Affine(kernel, bias)(x), x @ kernel + bias)


def test_forward_applies_the_layers_in_order_and_leaves_the_input_alone() -> None:
    layers = [_dense.Affine(np.array([[-1.0]]), np.array([1.0])), _dense.relu, _dense.Affine(np.array([[2.0]]), None)]
    x = np.array([[0.0], [3.0]])
    np.testing.assert_array_equal(_dense.forward(layers, x), [[2.0], [0.0]])
    np.testing.assert_array_equal(x, [[0.0], [3.0]])


def test_a_frozen_stack_keeps_its_weights_when_those_that_it_was_made_from_change() -> None:
    rng = np.random.default_rng(0)
    layers = [
        _dense.Affine(rng.normal(size=(2, 3)).astype(np.float32).T.copy().T, rng.normal(size=3).astype(np.float32)),
        _dense.relu,
        _dense.Affine(rng.normal(size=(3, 3)).astype(np.float32), None),
        _dense.AppendLogStd(np.zeros(3, np.float32)),
    ]
    x = rng.normal(size=(4, 2)).astype(np.float32)
    before = _dense.forward(layers, x)
    frozen = _dense.Frozen(layers)
    copies = [weight.copy() for weight in frozen.weights()]
    layers[0].kernel *= 2.0  # type: ignore[union-attr]
    layers[3].log_std += 1.0  # type: ignore[union-attr]
    assert np.array_equal(frozen(x), before)
    assert np.allclose(frozen.one(x[0]), before[0])
    frozen.weights()[0][...] = 0.0
    assert not np.array_equal(frozen(x), before)
    assert [weight.shape for weight in copies] == [(2, 3), (3,), (3, 3), (3,)]
    assert np.array_equal(frozen.frozen()(x), frozen(x))
