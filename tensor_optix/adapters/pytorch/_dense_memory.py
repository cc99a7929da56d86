"""Where the weights of dense stacks are while they are trained in numpy, and their gradients."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import nn

from tensor_optix.adapters.pytorch._arrays import in_one_vector, parts_of
from tensor_optix.adapters.pytorch._dense_kernels import product
from tensor_optix.adapters.pytorch._recording import beside


class UnsupportedError(Exception):
    """These models cannot be trained so."""


class Memory:
    """Weights while they are trained: those of an optimizer are one vector, on which a step is a few operations."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[torch.Tensor, np.ndarray]] = {}

    def hold(self, tensors: Sequence[torch.Tensor]) -> np.ndarray:
        """Copy tensors into one vector, and return it.

        Raises:
            UnsupportedError: one of them is held already, is elsewhere than on the CPU, or in another precision.
        """
        if not all(is_plain(tensor) and id(tensor) not in self._held for tensor in tensors):
            raise UnsupportedError
        vector = in_one_vector(tensors)
        parts = parts_of(vector, tensors)
        self._held |= {id(tensor): (tensor, part) for tensor, part in zip(tensors, parts, strict=True)}
        return vector

    def of(self, tensor: torch.Tensor) -> np.ndarray:
        """Return the array of a weight: what is not held is read where it is."""
        _, array = self._held.get(id(tensor), (tensor, None))
        return tensor.detach().numpy() if array is None else array

    def write_back(self) -> None:
        """Give the tensors the values of the arrays."""
        for tensor, array in self._held.values():
            tensor.detach().numpy()[...] = array


class Gradient:
    """That of one weight, in an array of its shape."""

    __slots__ = ("array", "is_complete")

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.is_complete = False

    def add(self, term: np.ndarray) -> None:
        """Add a term; the first one is written over that of the last loss."""
        if self.is_complete:
            self.array += term
        else:
            np.copyto(self.array, term)
            self.is_complete = True

    def add_product(self, left: np.ndarray, right: np.ndarray) -> None:
        """Add left·right."""
        if self.is_complete:
            self.array += product(left, right)
        else:
            product(left, right, self.array)
            self.is_complete = True

    def add_at(self, places: np.ndarray, rows: np.ndarray) -> None:
        """Add rows (B, n) to the columns of the array (n, m) at their places (B,)."""
        array = cast(np.ndarray, beside(self.array, rows))  # a recorded one stands in for an array
        if not self.is_complete:
            np.copyto(array, 0.0)
            self.is_complete = True
        n, m = self.array.shape
        # On flat arrays of one index, numpy adds twenty times as fast as on others.
        np.add.at(array.reshape((-1,)), (places[:, None] + np.arange(n) * m).reshape((-1,)), rows.reshape((-1,)))


class Gradients:
    """Those of some weights, one behind the other in one vector.

    Args:
        parameters: the weights.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.flat = np.empty(sum(p.numel() for p in parameters), np.float32)
        self._each = [Gradient(array) for array in parts_of(self.flat, parameters)]
        self._of = {id(p): gradient for p, gradient in zip(parameters, self._each, strict=True)}

    def of(self, parameter: torch.Tensor | None) -> Gradient | None:
        """Return that of a weight; None where it is not trained."""
        return self._of.get(id(parameter))

    def finish(self) -> None:
        """Take those that had no term for zero, and begin anew."""
        for gradient in self._each:
            if not gradient.is_complete:
                gradient.array.fill(0.0)
            gradient.is_complete = False


def is_plain(parameter: torch.Tensor) -> bool:
    """Return whether a weight is one float32 array on the CPU that nobody watches."""
    is_here = parameter.dtype is torch.float32 and parameter.device.type == "cpu"
    return is_here and parameter.is_contiguous() and not parameter._backward_hooks
