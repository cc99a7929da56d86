"""The update steps of a window in TensorFlow: every epoch and minibatch and the optimizer in one XLA program."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tensor_optix.adapters.backend import TARGET_RATE, Model, Objective, Tensor
from tensor_optix.adapters.tensorflow._keras import keras, tf
from tensor_optix.adapters.tensorflow._predictor import OWN_UPDATES
from tensor_optix.errors import ContractError

logger = logging.getLogger(__name__)

_SMALLEST_CAPACITY = 1024


class TFUpdater:
    """Trains one objective or several, one optimizer step each per minibatch, in one call per window.

    Shapes are padded to powers of two and the number of steps is an argument, so that neither the tuner's values nor
    another number of epochs compiles anything again.

    Args:
        objectives: what to train, in this order within each step.
        compile: True compiles with XLA, False runs the plain graph, None compiles unless a model has convolutions,
            whose gradients XLA makes several times slower on a CPU.
    """

    def __init__(self, objectives: Objective | Sequence[Objective], compile: bool | None) -> None:
        listed = [objectives] if isinstance(objectives, Objective) else list(objectives)
        self._trained = [_Trained(objective) for objective in listed]
        models = [model for objective in listed for model in objective.models]
        self._jit = not any(map(_has_convolutions, models)) if compile is None else compile
        self._metric_names: list[str] = []
        self._runs: dict[Callable[..., Any], Any] = {}
        self.traces = 0
        """How often a program was traced; once per set of shapes."""

    def __call__(
        self, data: Mapping[str, np.ndarray], rows: np.ndarray, scalars: Mapping[str, float]
    ) -> dict[str, float]:
        """Make one step per row of `rows`; see `Updater`."""
        tensors = {name: _as_tensor(_padded(array, _power_of_two(len(array)))) for name, array in data.items()}
        steps = _padded(rows.astype(np.int32), max(_power_of_two(len(rows)), _SMALLEST_CAPACITY))
        return self._run(self._gathered_steps, len(rows), _scalars(scalars), tensors, tf.constant(steps))

    def on_batches(
        self,
        batches: Mapping[str, np.ndarray],
        scalars: Mapping[str, float],
        per_step: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, float]:
        """Make one step per minibatch of `batches`; see `Updater`."""
        n_steps = len(next(iter(batches.values())))
        capacity = _power_of_two(n_steps)
        tensors = {name: _as_tensor(_padded(array, capacity)) for name, array in batches.items()}
        varying = {
            name: tf.constant(_padded(np.asarray(values, np.float32), capacity))
            for name, values in (per_step or {}).items()
        }
        return self._run(self._stacked_steps, n_steps, _scalars(scalars), tensors, varying)

    def _run(
        self, program: Callable[..., Any], n_steps: int, scalars: Mapping[str, Tensor], *data: Tensor
    ) -> dict[str, float]:
        changed = [trained.refresh() for trained in self._trained]
        if any(changed):
            self._runs.clear()
        arguments = (tf.constant(n_steps, tf.int32), scalars, *data)
        with OWN_UPDATES.announced():
            run = self._runs.get(program)
            means = self._compile_and_run(program, arguments) if run is None else run(*arguments)
        return dict(zip(self._metric_names, map(float, means.numpy()), strict=True))

    def _compile_and_run(self, program: Callable[..., Any], arguments: Any) -> Any:
        self._runs[program] = tf.function(program, jit_compile=self._jit)
        try:
            return self._runs[program](*arguments)
        except Exception as error:
            if not self._jit:
                raise
            # XLA refuses a program before running any of it, so the plain graph does the same steps.
            logger.warning(
                "XLA cannot compile the update, the plain graph runs instead: %s", " ".join(str(error).split())[:300]
            )
            self._jit = False
            self._runs[program] = tf.function(program)
            return self._runs[program](*arguments)

    def _gathered_steps(self, n_steps: Tensor, scalars: Tensor, data: Tensor, rows: Tensor) -> Any:
        """Steps on the rows of a window."""
        return self._steps(
            n_steps, lambda k: ({name: tf.gather(tensor, rows[k]) for name, tensor in data.items()}, scalars)
        )

    def _stacked_steps(self, n_steps: Tensor, scalars: Tensor, batches: Tensor, varying: Tensor) -> Any:
        """Steps on minibatches that are stacked already."""
        return self._steps(
            n_steps,
            lambda k: (
                {name: tensor[k] for name, tensor in batches.items()},
                {**scalars, **{name: values[k] for name, values in varying.items()}},
            ),
        )

    def _steps(self, n_steps: Tensor, inputs_of: Callable[[Any], tuple[Any, Any]]) -> Any:
        """K update steps as a loop inside the graph; returns the mean of each metric."""
        self.traces += 1

        def step(k: Tensor) -> Any:
            batch, scalars = inputs_of(k)
            batch = {
                name: tf.cast(t, tf.float32) if t.dtype == tf.uint8 and name != "actions" else t
                for name, t in batch.items()
            }
            metrics: dict[str, Tensor] = {}
            for trained in self._trained:
                metrics |= trained.step(batch, {**scalars, **metrics})
            self._metric_names = list(metrics)
            return tf.stack([tf.cast(value, tf.float32) for value in metrics.values()])

        first = step(tf.constant(0))
        _, total = tf.while_loop(
            lambda k, _: k < n_steps, lambda k, total: (k + 1, total + step(k)), (tf.constant(1), first)
        )
        return total / tf.cast(n_steps, tf.float32)


class _Trained:
    """One objective with the variables that it trains."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.variables: list[Any] = []
        self.refresh()
        self._callables = [
            *(lambda x, model=model: model(x, training=True) for model in objective.models),
            *(lambda x, model=model: model(x, training=False) for model in objective.reads),
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
        metrics[self.objective.grad_norm] = self.apply_gradients(tape.gradient(loss, self.variables), scalars)
        for lagged, model in zip(self.objective.lagged, self.objective.models, strict=False):
            lagged.move(model, scalars[TARGET_RATE])
        return metrics

    def apply_gradients(self, gradients: list[Tensor], scalars: Mapping[str, Tensor]) -> Any:
        """Make one optimizer step, the gradients bounded in their global norm; return the norm before."""
        pairs = [(g, v) for g, v in zip(gradients, self.variables, strict=True) if g is not None]
        if not pairs:  # all is frozen
            return tf.zeros(())
        norm = tf.linalg.global_norm([gradient for gradient, _ in pairs])
        if self.objective.max_grad_norm is not None:
            factor = tf.minimum(scalars[self.objective.max_grad_norm] / (norm + 1e-6), 1.0)
            pairs = [(gradient * factor, variable) for gradient, variable in pairs]
        self.objective.optimizer.apply_gradients(pairs)
        return norm


def bound_variables(optimizer: Any) -> list[Any]:
    """Return the weights that a Keras optimizer was built for."""
    return list(getattr(optimizer, "inner_optimizer", optimizer)._trainable_variables)


def trainable_weights(models: Sequence[Model]) -> list[Any]:
    """Return the weights that models learn, in their order, those of layers that are frozen now included."""
    learned = {id(v) for model in models for layer in model._flatten_layers() for v in layer._trainable_variables}
    return list({id(v): v for model in models for v in model.variables if id(v) in learned}.values())


def _has_convolutions(model: keras.Model) -> bool:
    layers = model._flatten_layers() if isinstance(model, keras.layers.Layer) else ()
    return any(isinstance(layer, keras.layers.Conv1D | keras.layers.Conv2D | keras.layers.Conv3D) for layer in layers)


def one_step(
    loss: Callable[[], Tensor], models: Sequence[Model], optimizer: keras.optimizers.Optimizer
) -> tuple[float, float]:
    """Make one eager optimizer step on a loss that the caller computes; return the loss and the gradients' norm."""
    trained = _Trained(Objective(lambda *_: (None, {}), models, optimizer))
    with tf.GradientTape() as tape:
        value = loss()
    norm = trained.apply_gradients(tape.gradient(value, trained.variables), {})
    return float(value), float(norm)


def _scalars(scalars: Mapping[str, float]) -> dict[str, Tensor]:
    return {name: tf.constant(value, tf.float32) for name, value in scalars.items()}


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


def _padded(array: np.ndarray, length: int) -> np.ndarray:
    if len(array) == length:
        return array
    padding = np.zeros((length - len(array), *array.shape[1:]), array.dtype)
    return np.concatenate([array, padding])


def _as_tensor(array: np.ndarray) -> Tensor:
    if np.issubdtype(array.dtype, np.floating):
        return tf.constant(array, tf.float32)
    if array.dtype in (np.uint8, np.bool_):  # images become numbers one minibatch at a time
        return tf.constant(array)
    return tf.constant(array, tf.int32)
