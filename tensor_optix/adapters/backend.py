"""What an algorithm may ask of a framework: a closed list. Adding to it is a design decision.

`Ops` are the tensor functions that losses are written in, bound directly to the framework's own. `Backend` adds the
verbs that have effects: acting, updating, and moving weights in and out as named numpy arrays.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from tensor_optix.adapters._dense import Frozen
from tensor_optix.adapters._device_memory import DeviceMemory
from tensor_optix.adapters._ops import Ops, Tensor
from tensor_optix.support.plain import Json, SavedState

Model: TypeAlias = Any
"""A `torch.nn.Module` or a `keras.Model`: callable on a batch of inputs (B, ...)."""

Optimizer: TypeAlias = Any
"""A `torch.optim.Optimizer` or a `keras.optimizers.Optimizer`."""


ACTIONS = "actions"
"""Name under which a window or minibatch holds actions: integers there are indices."""


def is_mask(name: str) -> bool:
    """Return whether an array of a window or minibatch is a mask, by its name; any other array of truth is 0 and 1."""
    return name.endswith("masks")


TARGET_RATE = "target_rate"
"""Name of the scalar by which lagged copies move: 1 makes them equal to their models, 0 leaves them."""


@dataclass(frozen=True)
class Objective:
    """One loss and what it trains. An update step minimises one objective or several, in turn.

    Args:
        loss: `(models, batch, scalars) -> (loss, metrics)`; `models` are callables in the order of `models` and `reads`
            below, `batch` maps names to tensors (B, ...), `scalars` and `metrics` to 0-d tensors. It must be pure.
            The metrics of a step's earlier objectives are among its `scalars`.
        models: the models whose variables it trains.
        optimizer: the framework's optimizer over those variables.
        max_grad_norm: name of the scalar that bounds the global gradient norm, None for no bound.
        reads: further models that the loss calls and does not train.
        lagged: lagged copies of `models`, in their order; after the step θ_tgt ← ρ·θ + (1−ρ)·θ_tgt, ρ being the scalar
            `TARGET_RATE`.
        name: prefix of the metric `grad_norm`, where several objectives have one each.
        inputs: names of what in `batch` the loss hands to models as it is, and uses for nothing else.
    """

    loss: Callable[[Sequence[Model], Mapping[str, Tensor], Mapping[str, Tensor]], tuple[Tensor, dict[str, Tensor]]]
    models: Sequence[Model]
    optimizer: Optimizer
    max_grad_norm: str | None = None
    reads: Sequence[Model] = ()
    lagged: Sequence[Model] = ()
    name: str = ""
    inputs: Sequence[str] = ()

    @property
    def grad_norm(self) -> str:
        """Name of the metric that holds the gradients' norm."""
        return f"{self.name}_grad_norm" if self.name else "grad_norm"


class Predictor(Protocol):
    """A model's output as a numpy array, without gradients, always from the model's present weights."""

    def __call__(self, observations: object) -> np.ndarray:
        """Return the output (B, ...) for observations (B, ...)."""
        ...

    def one(self, observation: object) -> np.ndarray:
        """Return the output (...) for one observation."""
        ...

    def frozen(self) -> Frozen | None:
        """Return the model as it is now, with weights of its own; None where it is no dense stack on the CPU."""
        ...


class RecurrentPredictor(Protocol):
    """A recurrent model's output as numpy arrays, without gradients, always from the model's present weights."""

    def __call__(self, observations: object, memory: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the outputs (B, T, ...) and the memory (B, S) after the last step.

        Args:
            observations: (B, T, ...) sequences.
            memory: (B, S) what is remembered before their first step.
            begins: (B, T) bool, where an episode begins: what was remembered until then counts for nothing.
        """
        ...


class Updater(Protocol):
    """Runs the update steps of a window."""

    def __call__(
        self, data: Mapping[str, np.ndarray], rows: np.ndarray, scalars: Mapping[str, float]
    ) -> dict[str, float]:
        """Make K steps in one call, and return each metric's mean over them.

        Args:
            data: arrays (T, ...) by name.
            rows: (K, B), the rows of `data` in each minibatch.
            scalars: hyper-parameters by name; changing one never compiles anything again.
        """
        ...

    def on_batches(
        self,
        batches: Mapping[str, Tensor],
        scalars: Mapping[str, float],
        per_step: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, float]:
        """Make K steps in one call on minibatches that are stacked already, and return each metric's mean.

        Args:
            batches: arrays or tensors on the device (K, B, ...) by name.
            scalars: hyper-parameters by name, for all steps.
            per_step: further scalars by name, (K,) each, one value per step.
        """
        ...


class Backend(Protocol):
    """One framework."""

    name: str
    ops: Ops
    programs: dict[str, str]
    """What each updater's compiled program takes, by `key`. It is saved: another program gives other last digits."""

    def check(self, models: Mapping[str, Model], optimizers: Mapping[str, tuple[Optimizer, Sequence[str]]]) -> None:
        """Look at what the user handed over, before anything is done with it.

        Args:
            models: the agent's models by name.
            optimizers: each optimizer by name, with the names of the models that it trains.

        Raises:
            ContractError: an object of another kind, a model of several inputs, numbers that no seed repeats, weights
                in float16, or an optimizer that cannot train a model's weights.
            ModelShapeError: a model without weights.
        """

    def pair_model(self, model: Model, size: int) -> Model:
        """Return a model of [x ‖ y] for one that takes x and y (B, `size`) apart; any other is returned as it is."""
        ...

    def member_model(self, model: Model, n_others: int = 0) -> Model:
        """Return a model of one array for one that takes the members of a structured observation; else the model.

        Such a model asks its first input for members, or has an input for each; `n_others` inputs follow. Its attribute
        `members` learns where they lie in the array when the agent is wired (`_inputs.Members`).
        """
        ...

    def joint_model(self, actor: Model, critic: Model) -> Model | None:
        """Return a model of [actor's output ‖ critic's], which runs the layers that both begin with once; else None."""
        ...

    def predictor(self, model: Model) -> Predictor:
        """Return what computes the model's output for acting; dense stacks skip the framework."""
        ...

    def recurrent_predictor(self, model: Model) -> RecurrentPredictor:
        """Return what computes a recurrent model's output: it is called with observations, memory and begins."""
        ...

    def updater(self, objective: Objective | Sequence[Objective], compile: bool | None, key: str = "update") -> Updater:
        """Return what trains an objective, or several in turn within each step; `key` names it in `programs`.

        `compile` is True, False, or None to compile, where that is worth its time, once a run proves to be long.
        """
        ...

    def lagged_copy(self, model: Model) -> Model:
        """Return a copy of a model for `Objective.lagged`: called like it, never trained, with weights of its own."""
        ...

    def device_memory(self, models: Sequence[Model]) -> DeviceMemory | None:
        """Return tables on the GPU that models are on, None where they are on none: minibatches are numpy's there."""
        ...

    def temperature(self, optimizer: Optimizer) -> Model:
        """Return a model of one weight, log α, which `optimizer` trains; called with anything it returns log α.

        Raises:
            ContractError: the optimizer trains something else already.
        """
        ...

    def minimise(
        self, loss: Callable[[], Tensor], models: Sequence[Model], optimizer: Optimizer
    ) -> tuple[float, float]:
        """Make one optimizer step on a loss that the user computes; return the loss and the gradients' norm."""
        ...

    def weights(self, models: Mapping[str, Model]) -> dict[str, np.ndarray]:
        """Return copies of all weights as `{"<model>.<path>": array}`; one of several names is one array."""
        ...

    def set_weights(self, models: Mapping[str, Model], weights: Mapping[str, np.ndarray]) -> None:
        """Put weights in place: all of them, or none if one is missing, misshapen or not finite.

        Those of `constants` need not be finite.

        Raises:
            CheckpointMismatchError: names the tensor and both shapes.
            NonFiniteError: names the tensor.
        """

    def trainable(self, models: Mapping[str, Model]) -> Collection[str]:
        """Return the names, as in `weights`, of what an optimizer moves: no statistics, nothing that is frozen."""
        ...

    def constants(self, models: Mapping[str, Model]) -> Collection[str]:
        """Return the names of weights that learning leaves alone, which may hold a NaN or an infinity by design.

        The running statistics of normalisation layers are none: they diverge as the weights do.
        """
        ...

    def plain_name(self, name: str) -> str:
        """Return a saved weight's name as `weights` would have it, where it was saved from a model in other clothes."""
        ...

    def seed(self, models: Mapping[str, Model], seed: int | None) -> None:
        """Restart whatever the models draw random numbers from, such as dropout's; None takes a seed from the system.

        Meanwhile and elsewhere, what the rest of the program draws from stays as it is.
        """

    def random_state(self, models: Mapping[str, Model]) -> dict[str, np.ndarray]:
        """Return where the generators of `seed` are, as integers by name."""
        ...

    def set_random_state(self, models: Mapping[str, Model], state: Mapping[str, np.ndarray]) -> None:
        """Go on from `random_state`; a generator that is not named there stays where it is.

        Raises:
            CheckpointMismatchError: that is no state of such a generator; nothing is changed then.
        """

    def optimizer_state(self, optimizer: Optimizer) -> tuple[dict[str, np.ndarray], dict[str, Json]]:
        """Return the optimizer's moments as arrays, and its settings as plain JSON values."""
        ...

    def set_optimizer_state(self, optimizer: Optimizer, arrays: Mapping[str, np.ndarray], settings: SavedState) -> None:
        """Go on from `optimizer_state`."""

    def expected_moments(self, optimizer: Optimizer) -> dict[str, np.ndarray]:
        """Return arrays like the moments of `optimizer_state` once each weight has made a step, whatever they hold."""
        ...

    def restart_optimizer(self, optimizer: Optimizer) -> None:
        """Give an optimizer the state of a new one; its settings stay, its learning rate may not."""

    def set_learning_rates(self, optimizer: Optimizer, learning_rates: Sequence[float]) -> None:
        """Set the learning rate of each parameter group.

        Raises:
            HyperparamError: the optimizer follows a schedule of its own.
        """

    def learning_rates(self, optimizer: Optimizer) -> list[float]:
        """Return the learning rate that each parameter group works with.

        Raises:
            HyperparamError: the optimizer follows a schedule of its own.
        """
        ...
