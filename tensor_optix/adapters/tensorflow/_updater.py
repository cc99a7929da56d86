"""The update steps of a window in TensorFlow: every epoch and minibatch and the optimizer in one XLA program."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from tensor_optix.adapters.backend import Objective
from tensor_optix.adapters.tensorflow._keras import tf
from tensor_optix.adapters.tensorflow._predictor import OWN_UPDATES

logger = logging.getLogger(__name__)

_SMALLEST_CAPACITY = 1024


class TFUpdater:
    """Trains an objective, one optimizer step per minibatch, in one call per window.

    Shapes are padded to powers of two and the number of steps is an argument, so that neither the tuner's values nor
    another number of epochs compiles anything again.

    Args:
        objective: what to train.
        compile: False runs the plain graph; True and None compile it with XLA.
    """

    def __init__(self, objective: Objective, compile: bool | None) -> None:
        self._objective = objective
        # Models may share layers: each weight counts once.
        self._variables = list({id(v): v for model in objective.models for v in model.trainable_variables}.values())
        self._jit = compile is not False
        self._metric_names: list[str] = []
        self._run: Any = None
        self.traces = 0
        """How often the program was traced; once per set of shapes."""

    def __call__(
        self, data: Mapping[str, np.ndarray], rows: np.ndarray, scalars: Mapping[str, float]
    ) -> dict[str, float]:
        """Make one step per row of `rows`; see `Updater`."""
        tensors = {name: _as_tensor(_padded(array, _power_of_two(len(array)))) for name, array in data.items()}
        steps = _padded(rows.astype(np.int32), max(_power_of_two(len(rows)), _SMALLEST_CAPACITY))
        knobs = {name: tf.constant(value, tf.float32) for name, value in scalars.items()}
        arguments = (tensors, tf.constant(steps), tf.constant(len(rows), tf.int32), knobs)
        means = self._call(arguments).numpy()
        return dict(zip(self._metric_names, map(float, means), strict=True))

    def _call(self, arguments: Any) -> Any:
        with OWN_UPDATES.announced():
            return self._compile_and_call(arguments) if self._run is None else self._run(*arguments)

    def _compile_and_call(self, arguments: Any) -> Any:
        self._run = tf.function(self._program, jit_compile=self._jit)
        try:
            return self._run(*arguments)
        except Exception as error:
            if not self._jit:
                raise
            # XLA refuses a program before running any of it, so the plain graph does the same steps.
            logger.warning(
                "XLA cannot compile the update, the plain graph runs instead: %s", " ".join(str(error).split())[:300]
            )
            self._jit = False
            self._run = tf.function(self._program)
            return self._run(*arguments)

    def _program(self, data: Any, rows: Any, n_steps: Any, scalars: Any) -> Any:
        """K update steps as a loop inside the graph; returns the mean of each metric."""
        self.traces += 1

        def step(k: Any) -> Any:
            index = rows[k]
            batch = {name: tf.gather(tensor, index) for name, tensor in data.items()}
            with tf.GradientTape() as tape:
                loss, metrics = self._objective.loss(self._models, batch, scalars)
            metrics["grad_norm"] = self.apply_gradients(tape.gradient(loss, self._variables), scalars)
            self._metric_names = list(metrics)
            return tf.stack([tf.cast(value, tf.float32) for value in metrics.values()])

        first = step(tf.constant(0))
        _, total = tf.while_loop(
            lambda k, _: k < n_steps, lambda k, total: (k + 1, total + step(k)), (tf.constant(1), first)
        )
        return total / tf.cast(n_steps, tf.float32)

    @property
    def _models(self) -> list[Any]:
        return [lambda x, model=model: model(x, training=True) for model in self._objective.models]

    def apply_gradients(self, gradients: list[Any], scalars: Mapping[str, Any]) -> Any:
        """Make one optimizer step, the gradients bounded in their global norm; return the norm before."""
        pairs = [(g, v) for g, v in zip(gradients, self._variables, strict=True) if g is not None]
        norm = tf.linalg.global_norm([gradient for gradient, _ in pairs])
        if self._objective.max_grad_norm is not None:
            factor = tf.minimum(scalars[self._objective.max_grad_norm] / (norm + 1e-6), 1.0)
            pairs = [(gradient * factor, variable) for gradient, variable in pairs]
        self._objective.optimizer.apply_gradients(pairs)
        return norm


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


def _padded(array: np.ndarray, length: int) -> np.ndarray:
    if len(array) == length:
        return array
    padding = np.zeros((length - len(array), *array.shape[1:]), array.dtype)
    return np.concatenate([array, padding])


def _as_tensor(array: np.ndarray) -> Any:
    if np.issubdtype(array.dtype, np.floating):
        return tf.constant(array, tf.float32)
    return tf.constant(array, tf.int32 if array.dtype != np.uint8 else tf.uint8)
