"""Saving and loading what built-in agents are made of: models, optimizers, generator, hyper-parameters."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from tensor_optix.adapters._tensorfile import load_tensors, save_tensors
from tensor_optix.adapters._weights import translated
from tensor_optix.adapters.backend import Backend
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import CheckpointMismatchError

Extra: TypeAlias = tuple[Mapping[str, np.ndarray], Mapping[str, Any]]
"""What one algorithm saves besides: arrays by name, and plain JSON values."""

_OPTIMIZER = "optimizer."
_EXTRA = "extra."


class AgentStore:
    """The weights of an agent, and the rest of what its learning needs, as one safetensors file each.

    Args:
        backend: the framework.
        models: the agent's models by name.
        optimizers: its optimizers by name.
    """

    def __init__(self, backend: Backend, models: Mapping[str, Any], optimizers: Mapping[str, Any]) -> None:
        self._backend = backend
        self._models = dict(models)
        self._optimizers = dict(optimizers)

    def save_weights(self, path: str) -> None:
        """Write the models' weights to `<path>.safetensors`.

        Raises:
            NonFiniteError: a weight is NaN or infinite; nothing is written.
        """
        weights = self._backend.weights(self._models)
        save_tensors(path, weights, {"framework": self._backend.name, "order": list(weights)})

    def load_weights(self, path: str) -> None:
        """Put the saved weights in place, all or none; those of a dense model may come from the other framework.

        Raises:
            CheckpointCorruptError: the file is missing or damaged.
            CheckpointMismatchError: a tensor is missing, unknown or misshapen.
        """
        tensors, meta = load_tensors(path)
        weights = _weights_among(tensors)
        if meta.get("framework") != self._backend.name:
            weights = translated(weights, meta.get("order", list(weights)), self._backend.weights(self._models))
        self._backend.set_weights(self._models, weights)

    def save_training_state(
        self,
        path: str,
        generators: Mapping[str, np.random.Generator],
        hyperparams: HyperparamSet,
        extra: Extra | None = None,
    ) -> None:
        """Write weights, optimizer moments, generators, hyper-parameters and `extra` to `<path>.safetensors`."""
        extra_arrays, extra_values = extra or ({}, {})
        tensors = self._backend.weights(self._models)
        tensors |= {f"{_EXTRA}{name}": array for name, array in extra_arrays.items()}
        settings = {}
        for name, optimizer in self._optimizers.items():
            moments, settings[name] = self._backend.optimizer_state(optimizer)
            tensors |= {f"{_OPTIMIZER}{name}.{key}": array for key, array in moments.items()}
        meta = {
            "framework": self._backend.name,
            "order": list(self._backend.weights(self._models)),
            "optimizers": settings,
            "generators": {name: generator.bit_generator.state for name, generator in generators.items()},
            "hyperparams": hyperparams.to_dict(),
            "extra": dict(extra_values),
        }
        save_tensors(path, tensors, meta)

    def load_training_state(
        self,
        path: str,
        generators: Mapping[str, np.random.Generator],
        take_extra: Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], None] | None = None,
    ) -> HyperparamSet:
        """Put everything back but the hyper-parameters, which are returned for the agent to put in force.

        Args:
            path: as it was saved to.
            generators: whose states are put back.
            take_extra: takes what was saved as `extra`, all or nothing; if it raises, nothing else is changed.

        Raises:
            CheckpointCorruptError: the file is missing or damaged.
            CheckpointMismatchError: it holds no training state, or one of another agent; nothing is changed then.
        """
        tensors, meta = load_tensors(path)
        if "generators" not in meta:
            raise CheckpointMismatchError(f"{path!r} holds weights only, no training state. Use load_weights.")
        if meta.get("framework") != self._backend.name:
            raise CheckpointMismatchError(
                f"This training state was saved by {meta.get('framework')}; optimizer moments do not move to "
                f"{self._backend.name}. Load the weights of a snapshot instead."
            )
        weights_before = self._backend.weights(self._models)
        optimizers_before = {name: self._backend.optimizer_state(o) for name, o in self._optimizers.items()}
        try:
            self._backend.set_weights(self._models, _weights_among(tensors))
            for name, optimizer in self._optimizers.items():
                moments = part_of(tensors, f"{_OPTIMIZER}{name}")
                self._backend.set_optimizer_state(optimizer, moments, meta["optimizers"][name])
            states = {name: meta["generators"][name] for name in generators}
            hyperparams = HyperparamSet.from_dict(meta["hyperparams"])
            if take_extra is not None:
                take_extra(part_of(tensors, _EXTRA.removesuffix(".")), meta["extra"])
        except Exception as error:
            self._backend.set_weights(self._models, weights_before)
            for name, (moments, settings) in optimizers_before.items():
                self._backend.set_optimizer_state(self._optimizers[name], moments, settings)
            if isinstance(error, KeyError):
                raise CheckpointMismatchError(f"{path!r} lacks {error} of a training state of this agent.") from error
            raise
        for name, generator in generators.items():
            generator.bit_generator.state = states[name]
        return hyperparams


def part_of(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with `<name>.`, without that."""
    prefix = f"{name}."
    return {n.removeprefix(prefix): array for n, array in arrays.items() if n.startswith(prefix)}


def _weights_among(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in tensors.items() if not name.startswith((_OPTIMIZER, _EXTRA))}
