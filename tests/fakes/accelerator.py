"""An accelerator that this machine does not have: PyTorch's `meta` device, read as one whose numbers are all 0.

As on a GPU, an operation over tensors here and there is an error, and so is `numpy()` without `cpu()` before it.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = "meta"
_READ = {"__float__": 0.0, "__int__": 0, "__bool__": False, "item": 0.0}
_MOVES = ("aten::_to_copy", "aten::copy_")


@contextlib.contextmanager
def pretended_accelerator() -> Iterator[None]:
    """Read tensors of `meta`, which have no numbers of their own, as zeros; refuse to mix them with others."""
    with _Zeros(), _Apart():
        yield


class _Zeros(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        first, name = args[0] if args else None, getattr(func, "__name__", "")
        if isinstance(first, torch.Tensor) and first.device.type == DEVICE:
            if name == "cpu":
                return torch.zeros(first.shape, dtype=first.dtype)
            if name in _READ:
                return _READ[name]
        return func(*args, **(kwargs or {}))


class _Apart(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor) and one.ndim]
        kinds = {tensor.device.type for tensor in tensors}  # a number may be anywhere
        if len(kinds) > 1 and func._schema.name not in _MOVES:
            raise RuntimeError(f"{func}: tensors are on {kinds}")
        return func(*args, **(kwargs or {}))
