"""Gradients in numpy of what losses compute on tensors.

A small network's update is made of dozens of operations on small arrays. PyTorch takes several microseconds for each,
numpy less than one. A `Taped` array stands in for a tensor: it has the methods of one that losses call, comes where
functions like `torch.exp` are called on it (`__torch_function__`), and notes on a tape how the gradient flows back.
What it does not know raises `TypeError` or `AttributeError`.

Longer than 300 lines: the class has every method of a tensor that a loss may call.

Source: Automatic Differentiation in Machine Learning: a Survey (Baydin et al., 2018), reverse accumulation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from tensor_optix.adapters.pytorch._recording import Recorded

Pull: TypeAlias = Callable[[np.ndarray], None]
"""Takes the gradient of the loss by an operation's result, and adds to those of what it was computed from."""
Operand: TypeAlias = "Taped | np.ndarray | float"
"""What an operation computes with: values whose gradient is asked for, or constants."""


class Tape:
    """The operations of one loss, in their order."""

    def __init__(self) -> None:
        self._noted: list[tuple[Taped, Pull]] = []

    def note(self, result: Taped, pull: Pull) -> None:
        """Remember how the gradient flows back through an operation."""
        self._noted.append((result, pull))

    def play_back(self, loss: Taped) -> None:
        """Let the gradient of `loss`, a scalar, flow back to the weights."""
        loss.gradient = np.ones_like(loss.array)
        for result, pull in reversed(self._noted):
            if result.gradient is not None:
                pull(result.gradient)

    def clear(self) -> None:
        """Begin anew."""
        self._noted.clear()


class Taped:
    """An array in the place of a tensor.

    Args:
        array: its values.
        tape: of what was computed to get it; None: a constant.
    """

    __slots__ = ("array", "gradient", "tape")
    __array_ufunc__ = None  # a numpy scalar on the left leaves the operation to this class

    def __init__(self, array: Any, tape: Tape | None = None) -> None:
        self.array = array
        self.tape = tape
        self.gradient: Any = None

    @classmethod
    def __torch_function__(
        cls,
        function: object,
        _types: object,
        arguments: Sequence[Operand] = (),
        named: Mapping[str, Operand] | None = None,
    ) -> object:
        """Compute one of PyTorch's functions; see the protocol of that name."""
        known = _FUNCTIONS.get(function)
        return NotImplemented if known is None else known(*arguments, **(named or {}))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    def add_gradient(self, gradient: np.ndarray) -> None:
        """Add to the gradient of the loss by this; where the array was broadcast, over all that it went to."""
        if gradient.shape != self.array.shape:
            gradient = _summed(gradient, self.array.shape)
        self.gradient = gradient if self.gradient is None else self.gradient + gradient

    # --- arithmetic ---

    def __add__(self, other: Operand) -> Taped:
        def pull(g: np.ndarray) -> None:
            _give(self, g)
            _give(other, g)

        return _result(self.array + _array(other), pull, self, other)

    def __sub__(self, other: Operand) -> Taped:
        def pull(g: np.ndarray) -> None:
            _give(self, g)
            if _is_asked(other):
                _give(other, -g)

        return _result(self.array - _array(other), pull, self, other)

    def __rsub__(self, other: Operand) -> Taped:
        return _result(other - self.array, lambda g: self.add_gradient(-g), self)

    def __mul__(self, other: Operand) -> Taped:
        left, right = self.array, _array(other)

        def pull(g: np.ndarray) -> None:
            if _is_asked(self):
                _give(self, g * right)
            if _is_asked(other):
                _give(other, g * left)

        return _result(left * right, pull, self, other)

    def __truediv__(self, other: Operand) -> Taped:
        left, right = self.array, _array(other)

        def pull(g: np.ndarray) -> None:
            _give(self, g / right)
            if _is_asked(other):
                _give(other, -g * left / (right * right))

        return _result(left / right, pull, self, other)

    def __rtruediv__(self, other: Operand) -> Taped:
        return Taped(np.asarray(other, self.array.dtype)) / self

    def __neg__(self) -> Taped:
        return _result(-self.array, lambda g: self.add_gradient(-g), self)

    def __pow__(self, power: float) -> Taped:
        if not isinstance(power, int | float):
            return NotImplemented
        x = self.array
        return _result(x**power, lambda g: self.add_gradient(g * (power * x ** (power - 1))), self)

    __radd__ = __add__
    __rmul__ = __mul__

    def __lt__(self, other: Operand) -> Taped:
        return Taped(self.array < _array(other))

    def __le__(self, other: Operand) -> Taped:
        return Taped(self.array <= _array(other))

    def __gt__(self, other: Operand) -> Taped:
        return Taped(self.array > _array(other))

    def __ge__(self, other: Operand) -> Taped:
        return Taped(self.array >= _array(other))

    # --- functions of each entry ---

    def exp(self) -> Taped:
        """Eˣ."""
        y = np.exp(self.array)
        return _result(y, lambda g: self.add_gradient(g * y), self)

    def sqrt(self) -> Taped:
        """√x."""
        y = np.sqrt(self.array)
        return _result(y, lambda g: self.add_gradient(g * (0.5 / y)), self)

    def square(self) -> Taped:
        """x²."""
        x = self.array
        return _result(x * x, lambda g: self.add_gradient(g * (2.0 * x)), self)

    def tanh(self) -> Taped:
        """Tanh x."""
        y = np.tanh(self.array)
        return _result(y, lambda g: self.add_gradient(g * (1.0 - y * y)), self)

    def softplus(self) -> Taped:
        """log(1 + eˣ)."""
        x = self.array
        y = np.logaddexp(x, x.dtype.type(0))
        return _result(y, lambda g: self.add_gradient(g * np.exp(x - y)), self)

    def minimum(self, other: Operand) -> Taped:
        """min(x, y)."""
        left, right = self.array, _array(other)

        def pull(g: np.ndarray) -> None:
            is_left = left <= right
            _give(self, g * is_left)
            _give(other, g * ~is_left)

        return _result(np.minimum(left, right), pull, self, other)

    def clamp(self, min: Operand, max: Operand) -> Taped:
        """X within [min, max]; outside no gradient flows."""
        x, low, high = self.array, _array(min), _array(max)
        y = np.minimum(np.maximum(x, low), high)
        return _result(y, lambda g: self.add_gradient(g * (y == x)), self)

    # --- over the last axis ---

    def sum(self, dim: int) -> Taped:
        """Σ over the last axis."""
        _last_only(dim)
        x = self.array
        y = np.add.reduce(x, -1)
        return _result(y, lambda g: self.add_gradient(np.broadcast_to(g[..., None], x.shape)), self)

    def log_softmax(self, dim: int) -> Taped:
        """X − log Σ eˣ over the last axis."""
        _last_only(dim)
        x = self.array.T.copy().T  # few columns, many rows: numpy reduces over columns in one go
        shifted = x - np.maximum.reduce(x, -1, keepdims=True)
        exp = np.exp(shifted)
        total = np.add.reduce(exp, -1, keepdims=True)

        def pull(g: np.ndarray) -> None:
            self.add_gradient(g - exp * (np.add.reduce(g, -1, keepdims=True) / total))

        return _result(shifted - np.log(total), pull, self)

    def amax(self, dim: int) -> Taped:
        """Largest entry over the last axis; several share the gradient."""
        _last_only(dim)
        x = self.array
        y = np.maximum.reduce(x, -1)

        def pull(g: np.ndarray) -> None:
            is_largest = x == y[..., None]
            share = np.add.reduce(is_largest, -1, x.dtype, keepdims=True)
            self.add_gradient(g[..., None] * is_largest / share)

        return _result(y, pull, self)

    def argmax(self, dim: int) -> Taped:
        """Place of the largest entry over the last axis."""
        _last_only(dim)
        return Taped(np.argmax(self.array, -1))

    # --- choosing ---

    def one_of_each(self, indices: Operand) -> Taped:
        """Return one entry (B,) of each row (B, n)."""
        x, index = self.array, _array(indices)
        if x.ndim != 2:
            raise TypeError(f"one entry of each row is taken from (B, n), and not from {x.shape}")
        rows = np.arange(len(x))

        def pull(g: np.ndarray) -> None:
            whole = np.zeros_like(x)
            whole[rows, index] = g
            self.add_gradient(whole)

        return _result(x[rows, index], pull, self)

    def __getitem__(self, key: Any) -> Taped:
        """Return a part; only slices, numbers, `...` and None choose it, so that no entry is there twice."""
        for part in key if type(key) is tuple else (key,):
            if not (part is None or part is Ellipsis or isinstance(part, slice | int)):
                raise TypeError(f"a taped array is not indexed by {type(part).__name__}")

        def pull(g: np.ndarray) -> None:
            whole = np.zeros_like(self.array)
            whole[key] = g
            self.add_gradient(whole)

        return _result(self.array[key], pull, self)

    # --- over all entries ---

    def mean(self) -> Taped:
        """Mean of all entries."""
        x = self.array
        y = np.add.reduce(x if x.ndim == 1 else x.reshape((-1,))) / x.dtype.type(x.size)
        return _result(y, lambda g: self.add_gradient(np.full_like(x, g / x.size)), self)


def noted(array: np.ndarray | Recorded, pull: Pull, tape: Tape | None) -> Taped:
    """Return what was computed, noted on a tape if there is one and gradients are asked for."""
    if tape is None or not torch.is_grad_enabled():
        return Taped(array)
    result = Taped(array, tape)
    tape.note(result, pull)
    return result


def _array(x: Operand) -> Any:
    return x.array if type(x) is Taped else x


def _is_asked(x: Operand) -> bool:
    """Return whether the gradient of the loss by x is asked for."""
    return type(x) is Taped and x.tape is not None


def _give(x: Operand, gradient: np.ndarray) -> None:
    if type(x) is Taped and x.tape is not None:
        x.add_gradient(gradient)


def _result(array: np.ndarray, pull: Pull, *sources: Operand) -> Taped:
    """Return what was computed from `sources`, noted on the tape of one of them."""
    for source in sources:
        if type(source) is Taped and source.tape is not None:
            return noted(array, pull, source.tape)
    return Taped(array)


def _summed(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the gradient by an array of `shape` that was broadcast on the way."""
    gradient = np.broadcast_to(gradient, np.broadcast_shapes(gradient.shape, shape))
    extra = gradient.ndim - len(shape)
    axes = (*range(extra), *(extra + i for i, n in enumerate(shape) if n == 1 and gradient.shape[extra + i] != 1))
    return np.add.reduce(gradient, axes).reshape(shape)


def _last_only(dim: int) -> None:
    if dim != -1:
        raise TypeError("a taped array is reduced over its last axis only")


def _where(condition: Operand, x: Operand, y: Operand) -> Taped:
    chosen, left, right = _array(condition), _array(x), _array(y)

    def pull(g: np.ndarray) -> None:
        _give(x, g * chosen)
        _give(y, g * ~chosen)

    # A plain number has no precision of its own: numpy would take it for a float64.
    dtype = next((a.dtype.type for a in (left, right) if hasattr(a, "dtype")), np.float32)
    left, right = (a if hasattr(a, "dtype") else dtype(a) for a in (left, right))
    return _result(np.where(chosen, left, right), pull, x, y)


def _cat(parts: Sequence[Operand], dim: int) -> Taped:
    _last_only(dim)
    arrays = [_array(part) for part in parts]

    def pull(g: np.ndarray) -> None:
        start = 0
        for part, array in zip(parts, arrays, strict=True):
            _give(part, g[..., start : start + array.shape[-1]])
            start += array.shape[-1]

    return _result(np.concatenate(arrays, -1), pull, *parts)


_FUNCTIONS: dict[object, Callable[..., Taped]] = {
    torch.exp: Taped.exp,
    torch.sqrt: Taped.sqrt,
    torch.square: Taped.square,
    torch.tanh: Taped.tanh,
    torch.nn.functional.softplus: Taped.softplus,
    torch.minimum: Taped.minimum,
    torch.clamp: Taped.clamp,
    torch.where: _where,
    torch.mean: Taped.mean,
    torch.sum: Taped.sum,
    torch.log_softmax: Taped.log_softmax,
    torch.amax: Taped.amax,
    torch.argmax: Taped.argmax,
    torch.cat: _cat,
}
