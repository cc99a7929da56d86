"""The update steps of a window in TensorFlow: every epoch and minibatch and the optimizer in one XLA program."""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tensor_optix.adapters._checks import cut_off
from tensor_optix.adapters._one_hot import with_places
from tensor_optix.adapters.backend import ACTIONS, TARGET_RATE, Model, Objective, Tensor, is_mask
from tensor_optix.adapters.tensorflow._arrays import as_tensor
from tensor_optix.adapters.tensorflow._beside import compile_beside
from tensor_optix.adapters.tensorflow._gathering import called, inputs_to_gather
from tensor_optix.adapters.tensorflow._keras import Variable, keras, tf
from tensor_optix.adapters.tensorflow._optimizers import apply_gradients, bound_variables, scales_loss
from tensor_optix.adapters.tensorflow._padding import padded, power_of_two
from tensor_optix.adapters.tensorflow._placement import device_of, layers_in, needs_xla, on
from tensor_optix.adapters.tensorflow._predictor import OWN_UPDATES
from tensor_optix.adapters.tensorflow._randomness import TFRandomness, may_be_unseeded, refuse_unseeded
from tensor_optix.adapters.tensorflow._variables import number_type
from tensor_optix.errors import ContractError

logger = logging.getLogger(__name__)

_SMALLEST_CAPACITY = 1024
_COMPACT = (tf.uint8, tf.bool)


class TFUpdater:
    """Trains one objective or several, one optimizer step each per minibatch, in one call per window.

    Shapes are padded to powers of two and the number of steps is an argument, so that neither the tuner's values nor
    another number of epochs compiles anything again.

    Args:
        objectives: what to train, in this order within each step.
        compile: True compiles with XLA, False runs the plain graph, None compiles unless a model has convolutions,
            whose gradients XLA makes several times slower on a CPU. What only XLA computes is compiled anyway.
        randomness: what the models draw from; None: from the process's generators.
    """

    def __init__(
        self,
        objectives: Objective | Sequence[Objective],
        compile: bool | None,
        randomness: TFRandomness | None = None,
    ) -> None:
        listed = [objectives] if isinstance(objectives, Objective) else list(objectives)
        models = [model for objective in listed for model in objective.models]
        self._randomness = randomness or contextlib.nullcontext()
        self._may_be_unseeded = any(map(may_be_unseeded, models))
        # What users wrote may branch on tensors; to convert our own losses took longer than to trace them.
        self._converts = self._may_be_unseeded or not all(_is_ours(objective.loss) for objective in listed)
        self._dtype = number_type(models)
        self._device = device_of(models)
        self._trained = [_Trained(objective, self._dtype) for objective in listed]
        self._jit = not any(map(_has_convolutions, models)) if compile is None else compile
        self._jit = self._jit or needs_xla(models, self._device)
        self._inputs = inputs_to_gather(listed) if self._device is None else ()
        self._metric_names: list[str] = []
        self._runs: dict[Callable[..., Tensor], Any] = {}
        self._ahead: dict[Callable[..., Tensor], Callable[..., Tensor]] = {}
        self.traces = 0
        """How often a program was traced; once per set of shapes."""

    def __call__(
        self, data: Mapping[str, np.ndarray], rows: np.ndarray, scalars: Mapping[str, float]
    ) -> dict[str, float]:
        """Make one step per row of `rows`; see `Updater`."""
        with on(self._device):
            return self._run(self._gathered_steps, len(rows), *self._gathered(data, rows, scalars))

    def compile_ahead(self, data: Mapping[str, np.ndarray], rows: np.ndarray, scalars: Mapping[str, float]) -> None:
        """See `CompilesAhead`; what is not compiled by XLA on the only device waits for its first window."""
        if not self._jit or self._may_be_unseeded or self._device is not None:
            return
        arguments = (tf.constant(0, tf.int32), *self._gathered(data, rows, scalars))
        program = tf.function(self._gathered_steps, autograph=False, jit_compile=True)
        with OWN_UPDATES.announced(), self._randomness:
            traced = program.get_concrete_function(*arguments)
        self._ahead[self._gathered_steps] = program
        compile_beside(traced, arguments)

    def on_batches(
        self,
        batches: Mapping[str, Tensor],
        scalars: Mapping[str, float],
        per_step: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, float]:
        """Make one step per minibatch of `batches`; see `Updater`."""
        n_steps = len(next(iter(batches.values())))
        capacity = power_of_two(n_steps)
        with on(self._device):
            tensors = {name: as_tensor(name, padded(each, capacity), self._dtype) for name, each in batches.items()}
            varying = {
                name: tf.constant(padded(np.asarray(values, np.float32), capacity), self._dtype)
                for name, values in (per_step or {}).items()
            }
            return self._run(self._stacked_steps, n_steps, self._scalars(scalars), tensors, varying)

    def _run(
        self, program: Callable[..., Tensor], n_steps: int, scalars: Mapping[str, Tensor], *data: Tensor
    ) -> dict[str, float]:
        changed = [trained.refresh() for trained in self._trained]
        if any(changed):
            self._runs.clear()
            self._ahead.clear()
        arguments = (tf.constant(n_steps, tf.int32), scalars, *data)
        with OWN_UPDATES.announced(), self._randomness:
            run = self._runs.get(program)
            means = self._compile_and_run(program, arguments) if run is None else run(*arguments)
        return dict(zip(self._metric_names, map(float, means.numpy()), strict=True))

    def _compile_and_run(self, program: Callable[..., Tensor], arguments: Sequence[object]) -> Tensor:
        ahead = self._ahead.pop(program, None)
        self._runs[program] = ahead or tf.function(program, autograph=False, jit_compile=self._jit)
        if self._may_be_unseeded:
            refuse_unseeded("A model", self._runs[program].get_concrete_function(*arguments).graph)
        try:
            return self._runs[program](*arguments)
        except tf.errors.OpError as error:  # any other one comes from tracing, which is not XLA's
            if not self._jit:
                raise
            # XLA refuses a program before running any of it, so the plain graph does the same steps.
            logger.warning(
                "XLA cannot compile the update, the plain graph runs instead: %s", " ".join(str(error).split())[:300]
            )
            self._jit = False
            self._runs[program] = tf.function(program, autograph=False)
            return self._runs[program](*arguments)

    def _gathered_steps(self, n_steps: Tensor, scalars: Tensor, data: Tensor, rows: Tensor) -> Tensor:
        """Steps on the rows of a window."""
        return self._steps(
            n_steps, lambda k: ({name: tf.gather(tensor, rows[k]) for name, tensor in data.items()}, scalars)
        )

    def _stacked_steps(self, n_steps: Tensor, scalars: Tensor, batches: Tensor, varying: Tensor) -> Tensor:
        """Steps on minibatches that are stacked already."""
        return self._steps(
            n_steps,
            lambda k: (
                {name: tensor[k] for name, tensor in batches.items()},
                {**scalars, **{name: values[k] for name, values in varying.items()}},
            ),
        )

    def _steps(self, n_steps: Tensor, inputs_of: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        """K update steps as a loop inside the graph; returns the mean of each metric."""
        self.traces += 1

        def step(k: Tensor) -> Tensor:
            batch, scalars = inputs_of(k)
            batch = {
                name: tf.cast(t, self._dtype) if t.dtype in _COMPACT and name != ACTIONS and not is_mask(name) else t
                for name, t in batch.items()
            }
            metrics: dict[str, Tensor] = {}
            for trained in self._trained:
                metrics |= trained.step(batch, {**scalars, **metrics})
            self._metric_names = list(metrics)
            return tf.stack([tf.cast(value, tf.float32) for value in metrics.values()])

        # As a function, what a step returns is known without another one before the loop, which is compiled as well.
        once = tf.function(step, autograph=self._converts).get_concrete_function(tf.TensorSpec((), tf.int32))
        for trained in self._trained:
            trained.check_reached()
        _, total = tf.while_loop(
            lambda k, _: k < n_steps,
            lambda k, total: (k + 1, total + once(k)),
            (tf.constant(0), tf.zeros(once.output_shapes)),
        )
        return total / tf.cast(n_steps, tf.float32)

    def _gathered(
        self, data: Mapping[str, np.ndarray], rows: np.ndarray, scalars: Mapping[str, float]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        steps = padded(rows.astype(np.int32), max(power_of_two(len(rows)), _SMALLEST_CAPACITY))
        data, columns = with_places(data, self._inputs)
        arrays = {name: padded(array, power_of_two(len(array))) for name, array in data.items()}
        tensors = {
            name: tf.constant(array, tf.int32) if name in columns else as_tensor(name, array, self._dtype)
            for name, array in arrays.items()
        }
        return self._scalars(scalars), tensors, tf.constant(steps)

    def _scalars(self, scalars: Mapping[str, float]) -> dict[str, Tensor]:
        return {name: tf.constant(value, self._dtype) for name, value in scalars.items()}


def _cast(outputs: Tensor, dtype: Any) -> Tensor:
    """Return a model's output, or each of several, in one dtype."""
    return tf.nest.map_structure(lambda tensor: tf.cast(tensor, dtype), outputs)


class _Trained:
    """One objective with the variables that it trains.

    Args:
        objective: the objective.
        dtype: what its loss is computed in, whatever the models' layers compute in.
    """

    def __init__(self, objective: Objective, dtype: Any = tf.float32) -> None:
        self.objective = objective
        self.variables: list[Variable] = []
        self._reached: set[int] = set()
        self.refresh()
        self._dtype = dtype
        self._callables = [
            *(lambda *x, model=model: _cast(called(model, *x, training=True), dtype) for model in objective.models),
            *(lambda *x, model=model: _cast(called(model, *x, training=False), dtype) for model in objective.reads),
        ]

    def refresh(self) -> bool:
        """Look again at what is frozen; return True if that has changed.

        Raises:
            ContractError: a weight is trainable now that the optimizer does not have.
        """
        # Models may share layers: each weight counts once.
        present = list({id(v): v for model in self.objective.models for v in model.trainable_variables}.values())
        if [*map(id, present)] == [*map(id, self.variables)]:
            return False
        bound = {id(v) for v in bound_variables(self.objective.optimizer)}
        strange = [v.path for v in present if id(v) not in bound]
        if bound and strange:
            raise ContractError(
                f"A layer is trainable now whose weight {strange[0]!r} the optimizer does not have. Give the agent an "
                f"optimizer that is not built: it takes all of the model's weights, and frozen ones stay as they are."
            )
        self.variables = present
        return True

    def step(self, batch: Tensor, scalars: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Make one step on a minibatch and return its metrics."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in self.variables])
            loss, metrics = self.objective.loss(self._callables, batch, scalars)
            scaled = self.scaled(loss)
        metrics[self.objective.grad_norm] = self.apply_gradients(tape.gradient(scaled, self.variables), scalars)
        for lagged, model in zip(self.objective.lagged, self.objective.models, strict=False):
            lagged.move(model, scalars[TARGET_RATE])
        return metrics

    def check_reached(self) -> None:
        """Raise `ContractError` where the last step's loss depends on none of a model's weights.

        Not within the step, whose errors AutoGraph makes others of.
        """
        for model in self.objective.models:
            weights = model.trainable_variables
            if weights and not any(id(v) in self._reached for v in weights):
                raise ContractError(cut_off(model))

    def scaled(self, loss: Tensor) -> Tensor:
        """Return the loss as the optimizer wants it for the gradients."""
        return self.objective.optimizer.scale_loss(loss) if scales_loss(self.objective.optimizer) else loss

    def apply_gradients(self, gradients: list[Tensor], scalars: Mapping[str, Tensor]) -> Tensor:
        """Make one optimizer step, the gradients bounded in their global norm; return the norm before."""
        self._reached = {id(v) for g, v in zip(gradients, self.variables, strict=True) if g is not None}
        # Gradients of an embedding come as slices.
        pairs = [(tf.convert_to_tensor(g), v) for g, v in zip(gradients, self.variables, strict=True) if g is not None]
        if not pairs:  # all is frozen
            return tf.zeros(())
        optimizer = self.objective.optimizer
        norm = tf.linalg.global_norm([tf.cast(gradient, self._dtype) for gradient, _ in pairs])
        if scales_loss(optimizer):
            norm = norm / tf.cast(optimizer.scale_loss(1.0), self._dtype)
        if self.objective.max_grad_norm is not None:
            factor = tf.minimum(scalars[self.objective.max_grad_norm] / (norm + 1e-6), 1.0)
            pairs = [(gradient * tf.cast(factor, gradient.dtype), variable) for gradient, variable in pairs]
        apply_gradients(optimizer, pairs)
        # Where a scaled loss was too large, the optimizer leaves the step out.
        return tf.where(tf.math.is_finite(norm), norm, 0.0) if scales_loss(optimizer) else norm


def _is_ours(loss: Callable[..., object]) -> bool:
    return (getattr(loss, "__module__", None) or "").startswith("tensor_optix.")


def _has_convolutions(model: keras.Model) -> bool:
    kinds = keras.layers.Conv1D | keras.layers.Conv2D | keras.layers.Conv3D
    return any(isinstance(layer, kinds) for layer in layers_in(model))


def one_step(
    loss: Callable[[], Tensor], models: Sequence[Model], optimizer: keras.optimizers.Optimizer
) -> tuple[float, float]:
    """Make one eager optimizer step on a loss that the caller computes; return the loss and the gradients' norm."""
    trained = _Trained(Objective(lambda *_: (None, {}), models, optimizer))
    with tf.GradientTape() as tape:
        value = loss()
        scaled = trained.scaled(value)
    norm = trained.apply_gradients(tape.gradient(scaled, trained.variables), {})
    trained.check_reached()
    return float(value), float(norm)
