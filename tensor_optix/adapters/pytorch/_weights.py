"""The weights of modules: their names, their values as numpy arrays, and which of them learning leaves alone."""

from collections.abc import Mapping

import numpy as np
import torch

from tensor_optix.adapters.pytorch._arrays import as_array
from tensor_optix.adapters.pytorch._names import plain_names, plain_paths


def named_tensors(models: Mapping[str, torch.nn.Module]) -> dict[str, torch.Tensor]:
    """Return each weight under its model's name and its path in `state_dict`, without what wrappers add to it."""
    found = {}
    for name, model in models.items():
        tensors = model.state_dict()
        plain = plain_paths(model, list(tensors))
        found |= {f"{name}.{plain[path]}": tensor for path, tensor in tensors.items()}
    return found


def arrays_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Return copies as numpy has them; what is one tensor under several names is one array under all of them."""
    places = {name: (t.data_ptr(), t.dtype, t.shape, t.stride()) for name, t in tensors.items()}
    arrays = {place: as_array(tensors[name]) for place, name in {p: n for n, p in places.items()}.items()}
    return {name: arrays[place] for name, place in places.items()}


def constants_of(model: torch.nn.Module) -> frozenset[str]:
    """Return the paths of what learning leaves alone; see `Backend.constants`."""
    of_source = getattr(model, "_constants_of_source", None)  # in a lagged copy all parameters are frozen
    if of_source is not None:
        return of_source
    learned = {path for path, parameter in model.named_parameters(remove_duplicate=False) if parameter.requires_grad}
    statistics = {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, torch.nn.modules.batchnorm._NormBase)
        for name, _ in module.named_buffers(recurse=False)
    }
    others = model.state_dict().keys() - learned - statistics
    return frozenset(plain_names(model, others)) if others else frozenset()
