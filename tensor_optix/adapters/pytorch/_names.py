"""What a wrapper adds to the names of a module's weights, and the module without its wrapper."""

from collections.abc import Iterable, Sequence

from torch import nn

_WRAPPED = ("_orig_mod", "module", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
"""Under these names wrappers hold what they wrap: `torch.compile`, data parallelism, and checkpoints of activations."""
_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def plain_paths(model: nn.Module, paths: Sequence[str] | None = None) -> dict[str, str]:
    """Return the name of each entry of `state_dict()`, and the same as it is without wrappers, at any depth.

    A wrapper has one module, under a name that wrappers give, and no weight of its own.

    Args:
        model: the module.
        paths: the names in its `state_dict()`, where they are known.
    """
    paths = list(model.state_dict()) if paths is None else paths
    if not any(word in path for path in paths for word in _WRAPPED):
        return dict(zip(paths, paths, strict=True))
    plain = {path: _plain_path(model, path) for path in paths}
    return plain if len(set(plain.values())) == len(paths) else {path: path for path in paths}


def without_wrappers(name: str) -> str:
    """Return a saved weight's name without all that wrappers could have added to it."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPED)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the module that `torch.compile` or data parallelism was applied to; it computes the same."""
    while "_orig_mod" in model._modules or isinstance(model, _PARALLEL):
        model = next(iter(model.children()))
    return model


def plain_names(model: nn.Module, paths: Iterable[str]) -> set[str]:
    """Return names of entries of `state_dict()` as `plain_paths` has them."""
    plain = plain_paths(model)
    return {plain[path] for path in paths if path in plain}


def _plain_path(model: nn.Module, path: str) -> str:
    kept, module = [], model
    for part in path.split("."):
        child = module._modules[part] if part in module._modules else None  # noqa: SIM401 - TorchScript has no `get`
        is_wrapper = part in _WRAPPED and len(module._modules) == 1 and not module._parameters and not module._buffers
        if child is None or not is_wrapper:
            kept.append(part)
        module = child if child is not None else module
    return ".".join(kept)
