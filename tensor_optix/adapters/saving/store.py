"""Saving and loading what built-in agents are made of: models, optimizers, generator, hyper-parameters.

Loading is staged. What the header of a file says is compared with the agent before an array is read, everything is
read and checked before anything is put in place, and what fails even then is restored.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec
import numpy as np

from tensor_optix.adapters.backend import Backend
from tensor_optix.adapters.saving.saved_settings import check_moments, check_settings, restored_generators
from tensor_optix.adapters.saving.tensorfile import TensorSpec, load_tensors, save_tensors
from tensor_optix.adapters.saving.weights import check_shared, check_shared_in, check_specs, stand_ins, translated
from tensor_optix.core.normalizers import ObsNormalizer
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import CheckpointCorruptError, CheckpointMismatchError, TensorOptixError
from tensor_optix.support.plain import Json
from tensor_optix.support.schemas import checked

T = TypeVar("T")

Extra: TypeAlias = tuple[Mapping[str, np.ndarray], Mapping[str, Json]]
"""What one algorithm saves besides: arrays by name, and plain JSON values."""

_OPTIMIZER = "optimizer."
_EXTRA = "extra."
_RANDOM = "random."
"""The states of the generators that models draw from."""
_NORMALIZATION = "normalization."
_NO_WEIGHTS = (_OPTIMIZER, _EXTRA, _RANDOM, _NORMALIZATION)


class _NormalizationMeta(msgspec.Struct, forbid_unknown_fields=True):
    """What belongs to the tensors `normalization.mean` and `normalization.var`."""

    count: int
    clip: float


class _TrainingMeta(msgspec.Struct, forbid_unknown_fields=True):
    framework: str
    order: list[str]
    optimizers: dict[str, dict[str, Any]]
    generators: dict[str, dict[str, Any]]
    hyperparams: dict[str, Any]
    extra: dict[str, Any]
    normalization: _NormalizationMeta | None = None
    programs: dict[str, str] = {}


class _WeightsMeta(msgspec.Struct):  # a training state has more, and weights are taken from it, too
    framework: str
    order: list[str]
    normalization: _NormalizationMeta | None = None


_NEEDS_STATISTICS = (
    "These weights were trained on normalised observations, and raw ones mean nothing to them, but the agent has "
    "nothing to normalise with. To act: tensor_optix.load_policy(RUN_DIR or a snapshot's folder).predict(observation). "
    "To train on: give the agent to a pipeline with normalize_observations=True, call pipeline.setup(), and load then."
)


class AgentStore:
    """The weights of an agent, and the rest of what its learning needs, as one safetensors file each.

    Args:
        backend: the framework.
        models: the agent's models by name.
        optimizers: its optimizers by name.
    """

    def __init__(self, backend: Backend, models: Mapping[str, object], optimizers: Mapping[str, object]) -> None:
        self._backend = backend
        self._models = dict(models)
        self._optimizers = dict(optimizers)
        self.normalizer: ObsNormalizer | None = None
        """What the agent's observations are normalised with; saved with the weights, which mean nothing without."""

    def save_weights(self, path: str) -> None:
        """Write the models' weights, and the statistics that they rely on, to `<path>.safetensors`.

        Raises:
            NonFiniteError: a weight is NaN or infinite; nothing is written.
        """
        weights = self._backend.weights(self._models)
        statistics, normalization = self._normalization()
        meta = {"framework": self._backend.name, "order": list(weights), **normalization}
        save_tensors(path, {**weights, **statistics}, meta, self._backend.constants(self._models))

    def _normalization(self) -> Extra:
        """Return the statistics of the observations as tensors, and what belongs to them; nothing where none are."""
        if self.normalizer is None:
            return {}, {}
        stats = self.normalizer.stats
        meta = {"count": int(stats.count), "clip": self.normalizer.clip}
        return {f"{_NORMALIZATION}mean": stats.mean, f"{_NORMALIZATION}var": stats.var}, {"normalization": meta}

    def load_weights(self, path: str) -> None:
        """Put the saved weights in place, all or none; those of a dense model may come from the other framework.

        Statistics of observations that are saved with them go to the agent's normaliser.

        Raises:
            CheckpointPathError: there is no such file.
            CheckpointCorruptError: the file is damaged.
            CheckpointMismatchError: a tensor is missing, unknown or misshapen, or the weights rely on normalised
                observations and the agent has nothing to normalise with.
        """
        own = self._backend.weights(self._models)
        constants = self._backend.constants(self._models)
        tensors, plain = load_tensors(path, lambda specs, meta: self._weights_to_read(specs, meta, own), constants)
        meta = checked(_WeightsMeta, plain, repr(path))
        statistics = part_of(tensors, _NORMALIZATION.removesuffix("."))
        tensors = without_part(tensors, _NORMALIZATION.removesuffix("."))
        if meta.framework != self._backend.name:
            tensors = translated(tensors, meta.order, own)
        weights = self._renamed(tensors, own)
        check_shared(own, weights)
        if meta.normalization is not None and self.normalizer is not None:
            count, clip = meta.normalization.count, meta.normalization.clip
            self.normalizer.load_state_dict({**statistics, "count": count, "clip": clip})
        self._backend.set_weights(self._models, weights)

    def _weights_to_read(
        self, specs: Mapping[str, TensorSpec], plain: Mapping[str, object], own: Mapping[str, np.ndarray]
    ) -> list[str]:
        """Return the names of the weights in a file, once they are known to fit."""
        meta, weights = checked(_WeightsMeta, plain, "Saved weights"), stand_ins(_weights_among(specs))
        if sorted(meta.order) != sorted(weights):
            raise CheckpointCorruptError("Saved weights: the order of the tensors does not name each of them once.")
        if meta.framework != self._backend.name:
            weights = translated(weights, meta.order, own)
        check_specs(own, self._renamed(weights, own))
        if meta.normalization is None:
            return meta.order
        if self.normalizer is None:
            raise CheckpointMismatchError(_NEEDS_STATISTICS)
        statistics = part_of(specs, _NORMALIZATION.removesuffix("."))
        wanted = TensorSpec(np.dtype(np.float64), self.normalizer.stats.shape)
        if statistics != {"mean": wanted, "var": wanted}:
            raise CheckpointMismatchError(
                f"The saved statistics of observations are {statistics}, but those of the agent's have mean and var of "
                f"shape {wanted.shape}."
            )
        return [*meta.order, f"{_NORMALIZATION}mean", f"{_NORMALIZATION}var"]

    def _renamed(self, weights: Mapping[str, T], own: Collection[str]) -> dict[str, T]:
        """Return saved weights under the names that this model has for them."""
        return {name if name in own else self._backend.plain_name(name): weight for name, weight in weights.items()}

    def save_training_state(
        self,
        path: str,
        generators: Mapping[str, np.random.Generator],
        hyperparams: HyperparamSet,
        extra: Extra | None = None,
        constants: Collection[str] = (),
    ) -> None:
        """Write weights, moments, all generators, hyper-parameters and `extra` to `<path>.safetensors`.

        Weights named in `constants`, those among `extra` included, need not be finite.
        """
        extra_arrays, extra_values = extra or ({}, {})
        weights = self._backend.weights(self._models)
        tensors = dict(weights) | {f"{_EXTRA}{name}": array for name, array in extra_arrays.items()}
        tensors |= {f"{_RANDOM}{name}": array for name, array in self._backend.random_state(self._models).items()}
        statistics, normalization = self._normalization()
        tensors |= statistics
        settings = {}
        for name, optimizer in self._optimizers.items():
            moments, settings[name] = self._backend.optimizer_state(optimizer)
            tensors |= {f"{_OPTIMIZER}{name}.{key}": array for key, array in moments.items()}
        meta = {
            "framework": self._backend.name,
            "order": list(weights),
            "optimizers": settings,
            "generators": {name: generator.bit_generator.state for name, generator in generators.items()},
            "hyperparams": hyperparams.to_dict(),
            "extra": dict(extra_values),
            "programs": dict(self._backend.programs),
            **normalization,
        }
        save_tensors(path, tensors, meta, _anywhere(constants))

    def load_training_state(
        self,
        path: str,
        generators: Mapping[str, np.random.Generator],
        check: Callable[[Mapping[str, TensorSpec], Mapping[str, Json], HyperparamSet], None],
        take: Callable[[Mapping[str, np.ndarray], Mapping[str, Json]], None],
        constants: Collection[str] = (),
    ) -> HyperparamSet:
        """Put everything back but the hyper-parameters, which are returned for the agent to put in force.

        Args:
            path: as it was saved to.
            generators: those whose states are restored.
            check: sees what `extra` is said to be and the hyper-parameters before any array is read; raises what does
                not fit the agent.
            take: takes what was saved as `extra`, all or nothing; if it raises, nothing else is changed.
            constants: as they were saved with.

        Raises:
            CheckpointCorruptError: the file is missing or damaged.
            CheckpointMismatchError: it holds no training state, or one of another agent; nothing is changed then.
        """
        own = self._backend.weights(self._models)

        def choose(specs: Mapping[str, TensorSpec], plain: Mapping[str, object]) -> list[str]:
            meta = self._training_meta(path, plain)
            check_specs(own, self._renamed(_weights_among(specs), own))
            for name, optimizer in self._optimizers.items():
                moments, settings = (
                    self._backend.expected_moments(optimizer),
                    self._backend.optimizer_state(optimizer)[1],
                )
                check_moments(name, part_of(specs, f"{_OPTIMIZER}{name}"), moments, own.values())
                check_settings(name, meta.optimizers[name], settings)
            check(part_of(specs, _EXTRA.removesuffix(".")), meta.extra, HyperparamSet.from_dict(meta.hyperparams))
            self._refuse_unknown(specs)
            return [name for name in specs if not name.startswith(_NORMALIZATION)]  # the pipeline's state has them, too

        # First: the moments of separate networks do not fit either, which would tell nobody why.
        check_shared_in(path, own, self._backend.plain_name, constants)
        tensors, plain = load_tensors(path, choose, _anywhere(constants))
        meta = self._training_meta(path, plain)
        restored = restored_generators(generators, meta.generators)
        with self._undone_on_failure(path, own):
            self._backend.set_weights(self._models, self._renamed(_weights_among(tensors), own))
            for name, optimizer in self._optimizers.items():
                moments = part_of(tensors, f"{_OPTIMIZER}{name}")
                self._backend.set_optimizer_state(optimizer, moments, meta.optimizers[name])
            self._backend.set_random_state(self._models, part_of(tensors, _RANDOM.removesuffix(".")))
            take(part_of(tensors, _EXTRA.removesuffix(".")), meta.extra)
        for name, generator in generators.items():
            generator.bit_generator.state = restored[name]
        self._backend.programs.clear()
        self._backend.programs.update(meta.programs)
        return HyperparamSet.from_dict(meta.hyperparams)

    @contextlib.contextmanager
    def _undone_on_failure(self, path: str, weights: Mapping[str, np.ndarray]) -> Iterator[None]:
        """Put back, where the block raises, what the agent had before it; whatever it raises becomes a typed error."""
        moments = {name: self._backend.optimizer_state(optimizer) for name, optimizer in self._optimizers.items()}
        random = self._backend.random_state(self._models)
        try:
            yield
        except Exception as error:
            self._backend.set_weights(self._models, weights)
            for name, state in moments.items():
                self._backend.set_optimizer_state(self._optimizers[name], *state)
            self._backend.set_random_state(self._models, random)
            if isinstance(error, TensorOptixError):
                raise
            raise CheckpointMismatchError(f"{path!r} is no training state of this agent: {error!r}.") from error

    def _training_meta(self, path: str, plain: Mapping[str, object]) -> _TrainingMeta:
        if "generators" not in plain:
            raise CheckpointMismatchError(f"{path!r} holds weights only, no training state. Use load_weights.")
        meta = checked(_TrainingMeta, plain, repr(path))
        if meta.framework != self._backend.name:
            raise CheckpointMismatchError(
                f"This training state was saved by {meta.framework}; optimizer moments do not move to "
                f"{self._backend.name}. Load the weights of a snapshot instead."
            )
        if meta.optimizers.keys() != self._optimizers.keys():
            raise CheckpointMismatchError(
                f"{path!r} has the optimizers {sorted(meta.optimizers)}, the agent has {sorted(self._optimizers)}."
            )
        return meta

    def _refuse_unknown(self, specs: Mapping[str, TensorSpec]) -> None:
        known = (_EXTRA, _RANDOM, _NORMALIZATION, *(f"{_OPTIMIZER}{name}." for name in self._optimizers))
        for name in specs.keys() - _weights_among(specs).keys():
            if not name.startswith(known):
                raise CheckpointMismatchError(f"The training state has tensor {name!r}, which the agent lacks.")


def _anywhere(constants: Collection[str]) -> set[str]:
    return {*constants, *(f"{_EXTRA}{name}" for name in constants)}


def part_of(arrays: Mapping[str, T], name: str) -> dict[str, T]:
    """Return the arrays whose names begin with `<name>.`, without that."""
    prefix = f"{name}."
    return {n.removeprefix(prefix): array for n, array in arrays.items() if n.startswith(prefix)}


def without_part(arrays: Mapping[str, T], name: str) -> dict[str, T]:
    """Return the arrays whose names do not begin with `<name>.`."""
    return {n: array for n, array in arrays.items() if not n.startswith(f"{name}.")}


def _weights_among(tensors: Mapping[str, T]) -> dict[str, T]:
    return {name: array for name, array in tensors.items() if not name.startswith(_NO_WEIGHTS)}
