"""Optimizers and layers without PyTorch's compiler, whose import takes longer than all that they do at a start."""

import contextlib
import inspect
import sys
import threading
from collections.abc import Callable, Iterator

import torch
from torch import nn

_COMPILER = "torch._dynamo"
_METHODS = ("add_param_group", "state_dict", "load_state_dict")
_LOCK = threading.RLock()


@contextlib.contextmanager
def without_compiler() -> Iterator[None]:
    """Let optimizers be made, saved and loaded without an import of PyTorch's compiler.

    Methods of `torch.optim.Optimizer` import it to tell it that it must not trace them. Where nobody has imported it,
    nobody traces, and the methods beneath do the same.
    """
    methods = {} if _COMPILER in sys.modules else {name: vars(torch.optim.Optimizer)[name] for name in _METHODS}
    with _LOCK:
        try:
            for name, method in methods.items():
                setattr(torch.optim.Optimizer, name, inspect.unwrap(method))
            yield
        finally:
            for name, method in methods.items():
                setattr(torch.optim.Optimizer, name, method)


def step_without_compiler(optimizer: torch.optim.Optimizer) -> None:
    """Make a step without an import of PyTorch's compiler, if it is one of PyTorch's own optimizers.

    Args:
        optimizer: whose weights need no gradient of the step itself; the caller sees to `torch.no_grad`.
    """
    step = type(optimizer).step
    is_own = step.__module__.startswith("torch.optim") and "step" not in vars(optimizer)
    if is_own and _COMPILER not in sys.modules:
        step = inspect.unwrap(step)
    step(optimizer)


def unfilled(kind: Callable[..., nn.Module], *arguments: int, **options: int) -> nn.Module:
    """Return a layer whose weights hold nothing yet, so that no number is drawn from the process's generator.

    As `nn.utils.skip_init`, which imports a good part of the compiler to find the strides of an empty tensor.

    Args:
        kind: of the layer.
        arguments: of its constructor.
        options: of its constructor, too.
    """
    layer = kind(*arguments, **options, device="meta")
    for name, parameter in list(layer.named_parameters(recurse=False)):
        setattr(layer, name, nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")))
    return layer
