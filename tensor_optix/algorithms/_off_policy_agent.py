"""What DQN and SAC share: they learn from a replay memory, with target networks, and may do so beside exploring."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tensor_optix.adapters._agent import BuiltInAgent
from tensor_optix.adapters._dense import Frozen
from tensor_optix.adapters.backend import Model, Predictor, Tensor
from tensor_optix.adapters.saving.store import Extra, part_of, without_part
from tensor_optix.adapters.saving.tensorfile import TensorSpec
from tensor_optix.algorithms._off_policy import TargetsAndLearner
from tensor_optix.algorithms._update_beside import Said, Submit, UpdateBeside, check_saved_beside
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import CheckpointMismatchError
from tensor_optix.support.plain import SavedState

_BESIDE = "beside"
"""Under this name the weights that explore, and what the last update came to, are saved."""


class _Snapshot(NamedTuple):
    learned: object
    exploring: Frozen | None


class OffPolicyAgent(BuiltInAgent):
    """Learns from any policy's actions: each is stored with its outcome.

    Whatever reads or changes what an update does waits for the update in progress (`learn_beside`).
    """

    learns_off_policy = True
    """It learns from any policy's actions: each is stored with its outcome."""

    _off_policy: TargetsAndLearner
    _policy: Predictor
    """The outputs that actions are chosen by."""
    _beside: UpdateBeside | None = None
    _rate = 0.0
    """The learning rate of the update in progress."""
    _fault: str | None = None
    """What was not finite after the update that `learn` has joined."""

    # --- learning beside exploring ---

    def learn_beside(self, submit: Submit | None = None) -> bool:
        """Make each update in a thread of its own, while the next window is collected; to be called before the first.

        Exploring acts with the weights from before the newest update, and `learn` returns the diagnostics of the
        update before: a seed repeats a run whenever the thread is done. Greedy actions, saving, weights and
        hyper-parameters are as without: they wait for the update. Whoever reads the models themselves waits by
        `join`.

        Args:
            submit: has an update made; None = in a thread, where the machine has a second core.

        Returns:
            False where the network that acts is no dense stack on the CPU: then nothing changes.
        """
        self.join()
        self._beside = None if self._policy.frozen() is None else UpdateBeside(submit)
        return self._beside is not None

    def join(self) -> None:
        """Wait for the update in progress."""
        if self._beside is not None:
            self._beside.join()

    def _acting(self, deterministic: bool) -> Predictor:
        """Return what acts: greedily the newest weights, else those that explore."""
        if self._beside is None:
            return self._policy
        if deterministic or self._beside.exploring is None:
            self._beside.join()
            return self._policy
        return self._beside.exploring

    def _learned(self, window: EpisodeData) -> Said:
        """Take a window in, and make the gradient steps that are due, or begin them; return the latest diagnostics."""
        params, learner, beside = self._hyperparams.params, self._off_policy.learner, self._beside
        if beside is None:
            learner.remember(window, params)
            return self._update()
        said, self._fault = beside.finished(self._guarded_update)
        said = self._update() if said is None else said  # none are due yet
        learner.remember(window, params)
        if self._fault is not None:
            learner.skip()
            return said
        self._rate = super().get_hyperparams().params["learning_rate"]
        beside.exploring = self._policy.frozen()
        beside.begin(self._guarded_update)
        return said

    def _update(self) -> Said:
        """Make the gradient steps that are due, and return diagnostics."""
        learner, rng = self._off_policy.learner, self._generators["replay"]
        return learner.update(self._hyperparams.params, rng, self._make_steps)

    def _make_steps(self, batches: dict[str, Tensor]) -> dict[str, float]:
        """Make one gradient step per minibatch of (K, B, ...), and return the mean of each metric."""
        raise NotImplementedError

    def _guarded_update(self) -> tuple[Said, str | None]:
        """Update, with the weights as before where that raises or leaves something that is not finite."""
        before = super().snapshot()
        try:
            said = self._update()
        except Exception:
            super().restore(before)
            raise
        loss = next((name for name, value in said.items() if "loss" in name and not math.isfinite(value)), None)
        fault = loss or super().first_non_finite()
        if fault is not None:
            super().restore(before)
        return {name: value for name, value in said.items() if math.isfinite(value)}, fault

    # --- what waits for the update in progress ---

    def get_hyperparams(self) -> HyperparamSet:
        """Return the values in force; a learning rate that the optimizer was given by others than the agent counts."""
        if self._beside is None or not self._beside.is_running:
            return super().get_hyperparams()
        values = self._hyperparams.copy()
        values.params["learning_rate"] = self._rate
        return values

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        """Put values in force; see `BuiltInAgent.set_hyperparams`."""
        self.join()
        super().set_hyperparams(hp)

    def effective_hyperparams(self) -> dict[str, float]:
        """Return the learning rate that the optimizers really work with, the farthest from what was asked for."""
        self.join()
        return super().effective_hyperparams()

    def snapshot(self) -> object:
        """Return a copy of weights and optimizer moments, and of the weights that explore."""
        self.join()
        state = super().snapshot()
        return state if self._beside is None else _Snapshot(state, self._beside.exploring)

    def restore(self, state: object) -> None:
        """Restore what `snapshot` returned."""
        self.join()
        learned, exploring = state if isinstance(state, _Snapshot) else (state, None)
        if self._beside is not None:
            self._beside.exploring = exploring
        super().restore(learned)

    keep, give_back = snapshot, restore
    """The names of both in earlier versions."""

    def restart_optimizer(self) -> None:
        """Set the moments of all optimizers to what they are before the first step."""
        self.join()
        super().restart_optimizer()

    def first_non_finite(self) -> str | None:
        """Return the name of a weight or moment with a NaN or an infinity, None if there is none.

        While an update is in progress, that of the one before: `learn` asks so, and must not wait.
        """
        if self._beside is not None and (self._beside.is_running or self._fault is not None):
            return self._fault
        return super().first_non_finite()

    def perturb_weights(self, scale: float, rng: np.random.Generator) -> None:
        """Add normal noise to each weight tensor; see `BuiltInAgent.perturb_weights`."""
        self._explore_with_newest()
        super().perturb_weights(scale, rng)

    def seed(self, seed: int | None) -> None:
        """Restart the random generators, those that models draw from included."""
        self.join()
        super().seed(seed)

    def save_weights(self, path: str) -> None:
        """Write the models' weights, and the statistics of normalised observations, to `<path>.safetensors`."""
        self.join()
        super().save_weights(path)

    def load_weights(self, path: str) -> None:
        """Read what `save_weights(path)` wrote, and make the target networks equal to it."""
        self._explore_with_newest()
        super().load_weights(path)
        self._off_policy.synchronise()

    def save_training_state(self, path: str) -> None:
        """Write all that learning needs to go on as if it had never stopped to `<path>.safetensors`."""
        self.join()
        super().save_training_state(path)

    def load_training_state(self, path: str) -> None:
        """Go on from `save_training_state`; the agent is untouched if the state does not fit."""
        self.join()
        super().load_training_state(path)

    def _explore_with_newest(self) -> None:
        self.join()
        if self._beside is not None:
            self._beside.exploring = None

    # --- hyper-parameters and saving ---

    def _resolved(self, params: Mapping[str, object]) -> dict[str, Any]:
        resolved = super()._resolved(params)
        self._off_policy.learner.check(resolved)
        return resolved

    @property
    def _learned_models(self) -> Mapping[str, Model]:
        return {**self._models, **self._off_policy.targets}

    def _extra_state(self) -> Extra:
        arrays, values = self._off_policy.state()
        if self._beside is None:
            return arrays, values
        exploring, beside = self._beside.state()
        return {**arrays, **{f"{_BESIDE}.{name}": each for name, each in exploring.items()}}, {
            **values,
            _BESIDE: beside,
        }

    def _check_extra_state(
        self, arrays: Mapping[str, TensorSpec], values: Mapping[str, object], params: Mapping[str, object]
    ) -> None:
        if values.keys() - {_BESIDE} != {"learner"}:
            raise CheckpointMismatchError(
                f"The training state has {sorted(values)}, where {self._table.owner} has the learner."
            )
        if _BESIDE in values:
            check_saved_beside(part_of(arrays, _BESIDE), values[_BESIDE], self._policy.frozen())
        others = without_part(arrays, _BESIDE)
        self._off_policy.check_saved(others, values, params, self._hyperparams.params["replay_capacity"])

    def _take_extra_state(self, arrays: Mapping[str, np.ndarray], values: SavedState) -> None:
        self._off_policy.restore(without_part(arrays, _BESIDE), values)
        self._fault = None
        if self._beside is not None:  # one that learns at once explores with the newest weights
            saved = values.get(_BESIDE, {"said": None, "fault": None, "explores": False})
            self._beside.restore(part_of(arrays, _BESIDE), saved, self._policy.frozen())


def learn_beside(agent: object) -> bool:
    """Let an agent learn beside exploring, and return whether it can; see `OffPolicyAgent.learn_beside`."""
    return isinstance(agent, OffPolicyAgent) and agent.learn_beside()
