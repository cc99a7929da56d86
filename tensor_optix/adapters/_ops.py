"""The tensor functions that losses are written in, by the same names in each framework."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

Tensor: TypeAlias = Any
"""A tensor of the backend's framework, or a numpy array under `NUMPY_OPS`: the three libraries share no type."""


class Ops(Protocol):
    """Tensor functions. `sum`, `max` and `argmax` are over the last axis, `mean` over all of them.

    `gather` picks one entry per row, `concat` joins along the last axis, and `no_gradient(fn)` returns what `fn` does,
    as constants.
    """

    exp: Callable[..., Tensor]
    sqrt: Callable[..., Tensor]
    square: Callable[..., Tensor]
    minimum: Callable[..., Tensor]
    clip: Callable[..., Tensor]
    where: Callable[..., Tensor]
    mean: Callable[..., Tensor]
    sum: Callable[..., Tensor]
    log_softmax: Callable[..., Tensor]
    gather: Callable[..., Tensor]
    max: Callable[..., Tensor]
    argmax: Callable[..., Tensor]
    tanh: Callable[..., Tensor]
    softplus: Callable[..., Tensor]
    concat: Callable[..., Tensor]
    no_gradient: Callable[[Callable[[], Tensor]], Tensor]
