"""What the built-in agents share: hyper-parameters from a table, generators, and saving."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from tensor_optix.adapters._inputs import wire_models
from tensor_optix.adapters._rates import LearningRates
from tensor_optix.adapters.backend import Backend, Model
from tensor_optix.adapters.saving.store import AgentStore, Extra
from tensor_optix.adapters.saving.tensorfile import TensorSpec
from tensor_optix.adapters.saving.weights import shared_names
from tensor_optix.core.decisions.schedules import LinearSchedule
from tensor_optix.core.normalizers import ObsNormalizer
from tensor_optix.core.search_space import HyperparamTable, Param
from tensor_optix.core.types import HyperparamSet, Space
from tensor_optix.errors import CheckpointMismatchError, ContractError
from tensor_optix.support.arguments import check_seed


class BuiltInAgent:
    """The part of an agent that is the same for every algorithm; a recipe adds it to `BaseAgent`, and acts and learns.

    Args:
        backend: the framework.
        table: the algorithm's hyper-parameters.
        models: what a snapshot holds, by name.
        optimizers: the framework's optimizers by name; `learning_rate` is put in force in all of them, at the ratios
            of their parameter groups. Where the first hyper-parameters do not name it, it is the first optimizer's own,
            and the ratios between the optimizers are kept, too.
        generators: names of the random generators, one each, so that using one more or less leaves the others alone.
        seed: root of their seeds; None takes one from the system.
    """

    takes_flat_observations = True
    """A model takes one array."""
    gives_flat_actions = True
    """A model answers with one vector."""

    def __init__(
        self,
        backend: Backend,
        table: HyperparamTable,
        models: Mapping[str, Model],
        optimizers: Mapping[str, object],
        generators: tuple[str, ...],
        seed: int | None,
    ) -> None:
        self._backend = backend
        self._table = table
        self._models, self._optimizers = dict(models), dict(optimizers)
        self._rates = LearningRates(backend, self._optimizers)
        self._store = AgentStore(backend, models, optimizers)
        self._generator_names = generators
        self._hyperparams = HyperparamSet({})
        self.seed(seed)

    def take_observation_space(self, observation_space: Space) -> None:
        """Let models that take the members of structured observations know where they lie.

        Raises:
            SpaceError: they take other members than the space has.
        """
        wire_models(self._models.values(), observation_space)

    description: object = None
    """What `make_agent` built it from; None for one that was put together by hand."""

    schedules: Mapping[str, LinearSchedule] = MappingProxyType({})
    """Hyper-parameters that fall over the length of a run."""

    @property
    def default_param_bounds(self) -> Mapping[str, Param]:
        """What an optimizer may tune where the user does not say: nothing that follows a schedule."""
        tunable = self._table.tunable
        return {name: tunable[name] for name in tunable if name not in self.schedules} if self.schedules else tunable

    def get_hyperparams(self) -> HyperparamSet:
        """Return the values in force; a learning rate that the optimizer was given by others than the agent counts."""
        values = self._hyperparams.copy()
        asked = values.params.get("learning_rate")
        if asked is not None:
            rate = self._rates.in_force(asked)
            if rate > 0.0 and not math.isclose(rate, asked, rel_tol=1e-6):
                values.params["learning_rate"] = rate
        return values

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        """Put values in force; those not named take their defaults, `learning_rate` the optimizer's own.

        Raises:
            HyperparamError: a value out of its range, or an unknown key that looks misspelt; nothing is changed then.
            ContractError: `hp` is no `HyperparamSet`.
        """
        if not isinstance(hp, HyperparamSet):
            raise ContractError(
                f"Hyper-parameters must be a HyperparamSet, but got {hp!r}. Wrap them: HyperparamSet(params={{...}})."
            )
        params = self._resolved(hp.params)
        if not self._hyperparams.params:
            self._rates.are_shared = "learning_rate" in hp.params
        self._rates.put_in_force(params["learning_rate"])
        self._hyperparams = HyperparamSet(params, hp.episode_id)

    def _resolved(self, params: Mapping[str, object]) -> dict[str, Any]:
        return self._table.resolve({"learning_rate": self._rates.own, **params})

    def effective_hyperparams(self) -> dict[str, float]:
        """Return the learning rate that the optimizers really work with, the farthest from what was asked for."""
        return {"learning_rate": self._rates.in_force(self._hyperparams.params["learning_rate"])}

    @property
    def _learned_models(self) -> Mapping[str, Model]:
        """All models that learning changes, by name."""
        return self._models

    def snapshot(self) -> object:
        """Return a copy of weights and optimizer moments."""
        moments = {name: self._backend.optimizer_state(optimizer) for name, optimizer in self._optimizers.items()}
        return self._backend.weights(self._learned_models), moments

    def restore(self, state: Any) -> None:
        """Restore the weights and the optimizer moments that `snapshot` returned."""
        weights, moments = state
        self._backend.set_weights(self._learned_models, weights)
        for name, moment in moments.items():
            self._backend.set_optimizer_state(self._optimizers[name], *moment)

    keep, give_back = snapshot, restore
    """The names of both in earlier versions."""

    def restart_optimizer(self) -> None:
        """Set the moments of all optimizers to what they are before the first step."""
        for optimizer in self._optimizers.values():
            self._backend.restart_optimizer(optimizer)
        self.set_hyperparams(self._hyperparams)  # Keras counts the learning rate among the moments

    def first_non_finite(self) -> str | None:
        """Return the name of a weight or moment with a NaN or an infinity, None if there is none.

        What learning leaves alone is not judged: the mask of causal attention holds -inf by design.
        """
        weights = self._backend.weights(self._learned_models)
        constants = self._backend.constants(self._learned_models)
        invalid = (name for name, array in weights.items() if name not in constants and not np.isfinite(array).all())
        found = next(invalid, None)
        if found is not None:
            return found
        for name, optimizer in self._optimizers.items():
            moments, _ = self._backend.optimizer_state(optimizer)
            for key, array in moments.items():
                if not np.isfinite(array).all():
                    return f"{name}.{key}"
        return None

    def perturb_weights(self, scale: float, rng: np.random.Generator) -> None:
        """Add normal noise to each weight tensor, σ being `scale` times the tensor's own root mean square.

        Only what is trainable is a gene: frozen layers, running statistics and other buffers stay. What models share
        is one.
        """
        weights, trainable = self._backend.weights(self._models), self._backend.trainable(self._models)
        shared = shared_names(weights)
        for name, array in weights.items():
            if name in shared:
                weights[name] = weights[shared[name]]
            elif name in trainable and np.issubdtype(array.dtype, np.floating):
                sigma = scale * float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))
                weights[name] = (array + sigma * rng.standard_normal(array.shape)).astype(array.dtype)
        self._backend.set_weights(self._models, weights)

    def compile_ahead(self, observations: np.ndarray) -> None:
        """Begin to compile the update of such a window, where the first one would wait for that; nothing is learned.

        Args:
            observations: (T, ...) of any value, as the window will have them.
        """

    def seed(self, seed: int | None) -> None:
        """Restart the random generators, those that models draw from included."""
        check_seed(seed)
        *children, of_models = np.random.SeedSequence(seed).spawn(len(self._generator_names) + 1)
        self._generators = {
            name: np.random.default_rng(child) for name, child in zip(self._generator_names, children, strict=True)
        }
        self._backend.seed(self._models, None if seed is None else int(of_models.generate_state(1, np.uint64)[0]))

    def set_observation_normalizer(self, normalizer: ObsNormalizer | None) -> None:
        """Save the statistics of this normaliser with the weights, and restore them with those."""
        self._store.normalizer = normalizer

    @property
    def observation_normalizer(self) -> ObsNormalizer | None:
        """What the agent's observations were normalised with where it was trained; None where they were not."""
        return self._store.normalizer

    def save_weights(self, path: str) -> None:
        """Write the models' weights, and the statistics of normalised observations, to `<path>.safetensors`."""
        self._store.save_weights(path)

    def load_weights(self, path: str) -> None:
        """Read what `save_weights(path)` wrote; the agent is untouched if it does not fit."""
        self._store.load_weights(path)

    def save_training_state(self, path: str) -> None:
        """Write all that learning needs to go on as if it had never stopped to `<path>.safetensors`."""
        constants = self._backend.constants(self._learned_models)
        self._store.save_training_state(path, self._generators, self._hyperparams, self._extra_state(), constants)

    def load_training_state(self, path: str) -> None:
        """Go on from `save_training_state`; the agent is untouched if the state does not fit."""
        constants = self._backend.constants(self._learned_models)
        check, take = self._check_training_state, self._take_extra_state
        self.set_hyperparams(self._store.load_training_state(path, self._generators, check, take, constants))

    def _check_training_state(
        self, arrays: Mapping[str, TensorSpec], values: Mapping[str, object], hyperparams: HyperparamSet
    ) -> None:
        self._check_extra_state(arrays, values, self._table.resolve(hyperparams.params))

    def _extra_state(self) -> Extra:
        """Return what the algorithm needs besides: arrays by name, and plain JSON values."""
        return {}, {}

    def _check_extra_state(
        self, arrays: Mapping[str, TensorSpec], values: Mapping[str, object], params: Mapping[str, object]
    ) -> None:
        """Raise a typed error unless a file's `_extra_state` fits the agent and the file's hyper-parameters.

        Nothing has been read yet but the header.
        """
        if arrays or values:
            raise CheckpointMismatchError(
                f"The training state has {sorted((*arrays, *values))}, which the agent lacks."
            )

    def _take_extra_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, object]) -> None:
        """Restore what `_extra_state` returned, all or nothing."""
