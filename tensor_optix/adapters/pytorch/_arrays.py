"""Tensors as numpy arrays, and what numbers a module computes with, and how."""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

_KNOWN = ("torch.nn.modules.", "tensor_optix.")
"""Modules from here change their inputs only where they are told to."""


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """Return a copy as numpy has it; numpy has no bfloat16, whose values float32 holds exactly."""
    tensor = tensor.float() if tensor.dtype is torch.bfloat16 else tensor
    return tensor.cpu().numpy().copy()


def in_one_vector(tensors: Sequence[torch.Tensor]) -> np.ndarray:
    """Return a copy of float32 tensors, one behind the other (n,)."""
    return np.concatenate([tensor.detach().numpy().ravel() for tensor in tensors] or [np.zeros(0, np.float32)])


def parts_of(vector: np.ndarray, tensors: Sequence[torch.Tensor]) -> list[np.ndarray]:
    """Return views of a vector as the arrays of which it is made, in the shapes of these tensors."""
    parts = np.split(vector, np.cumsum([tensor.numel() for tensor in tensors]))[:-1]
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def input_dtype(model: torch.nn.Module) -> torch.dtype:
    """Return the type of a model's weights, which its inputs are given in."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def loss_dtype(models: Sequence[torch.nn.Module]) -> torch.dtype:
    """Return what losses are computed in: float64 if a model is, else float32, never less."""
    return torch.float64 if any(input_dtype(model) is torch.float64 for model in models) else torch.float32


def taking(model: torch.nn.Module, dtype: torch.dtype) -> Callable[..., torch.Tensor]:
    """Return a model as a function from and to tensors of `dtype`, whatever type its weights are of."""
    own = input_dtype(model)
    called = on_copies(model)
    return called if own is dtype else lambda x: called(x.to(own)).to(dtype)


def on_copies(model: torch.nn.Module) -> Callable[..., torch.Tensor]:
    """Return a model that is called on copies where it may work in place: others read the same minibatch."""
    return (lambda *inputs: model(*(each.clone() for each in inputs))) if may_work_in_place(model) else model


def may_work_in_place(model: torch.nn.Module) -> bool:
    """Return whether a model's forward pass may change its input: code or hooks of the user, or `inplace=True`."""
    for module in model.modules():
        is_known = type(module).__module__.startswith(_KNOWN)
        if not is_known or getattr(module, "inplace", False) or module._forward_pre_hooks or module._forward_hooks:
            return True
    return False


def copied(model: torch.nn.Module) -> torch.nn.Module:
    """Return a deep copy, also of a module with weights that its forward pass makes, as of `torch.nn.utils.prune`."""
    made = (
        value
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    )
    return copy.deepcopy(model, {id(tensor): tensor.detach().clone() for tensor in made})


@contextlib.contextmanager
def denormals_flushed() -> Iterator[None]:
    """Take numbers below 1e-38 for zero: the moments of units that are dead fall there, and cost twenty times more."""
    is_flushed = float(torch.full((), 1e-40) * 1.0) == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(is_flushed)


def threads_of_pytorch_alone() -> contextlib.AbstractContextManager[object]:
    """Let numpy multiply in one thread within this: those of two libraries would spin on each other's cores."""
    return _pools().limit(limits=1, user_api="blas")


@functools.cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()  # finding the libraries takes milliseconds


def as_rows(batch: Mapping[str, torch.Tensor], columns: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """Return a batch with the places (...) of ones as one-hot rows (..., n) again, given n by name."""
    return {name: _one_hot(tensor, columns[name]) if name in columns else tensor for name, tensor in batch.items()}


def _one_hot(places: torch.Tensor, n: int) -> torch.Tensor:
    return torch.zeros(*places.shape, n, device=places.device).scatter_(-1, places[..., None], 1.0)
