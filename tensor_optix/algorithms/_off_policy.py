"""What DQN and SAC have besides weights: target networks and a learner from replay, which are saved together."""

from collections.abc import Mapping

import numpy as np

from tensor_optix.adapters.backend import Backend, Model
from tensor_optix.adapters.saving.store import Extra, part_of, without_part
from tensor_optix.adapters.saving.tensorfile import TensorSpec
from tensor_optix.adapters.saving.weights import check_specs
from tensor_optix.algorithms._replay_learner import ReplayLearner, check_saved_learner
from tensor_optix.support.plain import SavedState

_REPLAY = "replay"


class TargetsAndLearner:
    """The target networks of an agent and its replay learner.

    Args:
        backend: the framework.
        online: the networks that have a target, each under the name of its target.
        save_replay: save the replay memory, too.
    """

    def __init__(self, backend: Backend, online: Mapping[str, Model], *, save_replay: bool) -> None:
        self._backend = backend
        self._online = dict(online)
        self._save_replay = save_replay
        self.targets = {name: backend.lagged_copy(network) for name, network in online.items()}
        """Lagged copies of the networks, by name."""
        self.learner = self._new_learner()

    def _new_learner(self) -> ReplayLearner:
        return ReplayLearner(self._backend.device_memory(list(self._online.values())))

    def synchronise(self) -> None:
        """Copy the weights of the networks to their targets."""
        for name, target in self.targets.items():
            self._backend.set_weights({name: target}, self._backend.weights({name: self._online[name]}))

    def state(self) -> Extra:
        """Return what `restore` needs: arrays by name, and plain JSON values."""
        arrays, values = self.learner.state(with_memory=self._save_replay)
        saved = {f"{_REPLAY}.{name}": array for name, array in arrays.items()}
        return {**saved, **self._backend.weights(self.targets)}, {"learner": values}

    def check_saved(
        self,
        arrays: Mapping[str, TensorSpec],
        values: Mapping[str, object],
        params: Mapping[str, object],
        most_capacity: int,
    ) -> None:
        """Raise a typed error unless a saved `state` fits; nothing has been read yet but the header.

        Args:
            arrays: what the header says of the arrays.
            values: the values beside them.
            params: the hyper-parameters that were saved with them.
            most_capacity: the replay capacity that the agent was made with.
        """
        check_saved_learner(part_of(arrays, _REPLAY), values["learner"], params, most_capacity)
        check_specs(self._backend.weights(self.targets), without_part(arrays, _REPLAY))

    def restore(self, arrays: Mapping[str, np.ndarray], values: SavedState) -> None:
        """Restore what `state` returned, all or nothing."""
        learner = self._new_learner()
        learner.restore(part_of(arrays, _REPLAY), values["learner"])
        self._backend.set_weights(self.targets, without_part(arrays, _REPLAY))
        self.learner = learner
