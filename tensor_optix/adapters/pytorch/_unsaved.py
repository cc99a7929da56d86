"""What a module keeps outside of its `state_dict`: where training changes it, it is neither saved nor resumed."""

import logging
from collections.abc import Sequence

import numpy as np
import torch

from tensor_optix.adapters.pytorch._arrays import as_array, may_work_in_place

logger = logging.getLogger(__name__)

_OF_EACH_MODULE = frozenset(vars(torch.nn.Module()))


class Unsaved:
    """Looks once whether training changes what is not saved, and says so.

    Args:
        models: that are trained.
    """

    def __init__(self, models: Sequence[torch.nn.Module]) -> None:
        self._models = [model for model in models if may_work_in_place(model)]  # modules of PyTorch keep nothing
        self._before = [_kept(model) for model in self._models]

    def compare(self) -> None:
        """Warn of what differs from before."""
        for model, before in zip(self._models, self._before, strict=True):
            now = _kept(model)
            changed = [name for name, value in before.items() if name in now and not np.array_equal(now[name], value)]
            if changed:
                logger.warning(
                    "%s changes %s while it learns, which is not in its state_dict: it is neither saved nor resumed, "
                    "nor part of a snapshot. If what it returns depends on it, register it: "
                    "self.register_buffer(%r, torch.tensor(...)).",
                    type(model).__name__,
                    ", ".join(changed),
                    changed[0].rpartition(".")[2],
                )


def _kept(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """Return numbers, arrays and tensors that a module and its own hold, but for what is saved."""
    saved = model.state_dict().keys()
    kept: dict[str, object] = {name: value for name, value in model.named_buffers() if name not in saved}
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) or module._forward_pre_hooks:  # these make weights anew
            continue
        for name, value in vars(module).items():
            if name not in _OF_EACH_MODULE and isinstance(value, int | float | np.ndarray | torch.Tensor):
                kept[f"{path}.{name}" if path else name] = value
    return {
        name: as_array(value.detach()) if isinstance(value, torch.Tensor) else np.array(value)
        for name, value in kept.items()
        if not _is_of_one_pass(value)
    }


def _is_of_one_pass(value: object) -> bool:
    return isinstance(value, torch.Tensor) and (not value.is_leaf or value.is_inference())
