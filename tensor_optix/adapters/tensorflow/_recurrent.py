"""Recurrent networks in Keras, and acting with them.

A recurrent model is called with `(observations (B, T, ...), memory (B, S), begins (B, T))` and returns its outputs
(B, T, ...) and the memory (B, S) after the last step; `memory_size` is S. Where an episode begins it starts from zeros.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tensor_optix.adapters._architecture import FORGET_BIAS, Architecture, RecurrentArchitecture
from tensor_optix.adapters.backend import Model, Tensor
from tensor_optix.adapters.tensorflow import _networks
from tensor_optix.adapters.tensorflow._keras import keras, tf
from tensor_optix.adapters.tensorflow._placement import device_of, on


class Cell(keras.layers.Layer):
    """An LSTM or a GRU over sequences that begin anew; gates, and their order, are those of PyTorch's cells.

    Args:
        inputs: F, features of a step.
        size: H.
        is_lstm: which of the two.
        seeds: of the initial weights.
    """

    def __init__(self, inputs: int, size: int, is_lstm: bool, seeds: np.random.SeedSequence, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.is_lstm = size, is_lstm
        self.memory_size = size * (2 if is_lstm else 1)
        """S: [h ‖ c] of an LSTM, h of a GRU."""
        gates = 4 if is_lstm else 3
        self.kernel = self._gates("kernel", inputs, gates, seeds)
        self.recurrent = self._gates("recurrent", size, gates, seeds)
        bias = np.zeros(gates * size, np.float32)
        if is_lstm:
            bias[size : 2 * size] = FORGET_BIAS
        self.bias = self.add_weight(shape=bias.shape, initializer="zeros", name="bias")
        self.bias.assign(bias)
        self.recurrent_bias = self.add_weight(shape=bias.shape, initializer="zeros", name="recurrent_bias")
        self.built = True

    def _gates(self, name: str, rows: int, gates: int, seeds: np.random.SeedSequence) -> Tensor:
        weight = self.add_weight(shape=(rows, gates * self.size), initializer="zeros", name=name)
        each: list[Tensor] = [
            keras.initializers.Orthogonal(seed=int(child.generate_state(1)[0]))((rows, self.size))
            for child in seeds.spawn(gates)
        ]
        weight.assign(tf.concat(each, -1))
        return weight

    def call(self, features: Tensor, memory: Tensor, begins: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the cell gives (B, T, H) for features (B, T, F), and the memory (B, S) after the last step."""
        projected = tf.tensordot(features, self.kernel, 1) + self.bias
        goes_on = tf.cast(~begins, projected.dtype)[..., None]
        steps = tf.scan(self._step, (_time_major(projected), _time_major(goes_on)), initializer=memory)
        return _time_major(steps[..., : self.size]), steps[-1]

    def _step(self, memory: Tensor, inputs: Tensor) -> Tensor:
        projected, goes_on = inputs
        memory = memory * goes_on
        if self.is_lstm:
            h, c = memory[:, : self.size], memory[:, self.size :]
            i, f, g, o = tf.split(projected + tf.matmul(h, self.recurrent) + self.recurrent_bias, 4, -1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            return tf.concat([tf.sigmoid(o) * tf.tanh(c), c], -1)
        r, z, n = tf.split(projected, 3, -1)
        r_h, z_h, n_h = tf.split(tf.matmul(memory, self.recurrent) + self.recurrent_bias, 3, -1)
        candidate = tf.tanh(n + tf.sigmoid(r + r_h) * n_h)
        keep = tf.sigmoid(z + z_h)
        return (1.0 - keep) * candidate + keep * memory


def _time_major(sequences: Tensor) -> Tensor:
    return tf.transpose(sequences, [1, 0, 2])


class RecurrentNetwork(keras.Model):
    """A policy and a value, each with a memory of its own: outputs are [parameters ‖ value] (B, T, P + 1).

    Args:
        policy: (encoder, cell, head) that give the distribution's parameters, or the means where there is a log_std.
        value: those that give one number.
        input_shape: of one observation.
        log_std: A, of a free log_std; None = the policy gives all its parameters.
    """

    def __init__(
        self,
        policy: tuple[Model, Cell, Model],
        value: tuple[Model, Cell, Model],
        input_shape: tuple[int, ...],
        log_std: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.policy_encoder, self.policy_cell, self.policy_head = policy
        self.value_encoder, self.value_cell, self.value_head = value
        self.has_log_std = log_std is not None
        if log_std is not None:
            self.log_std = self.add_weight(shape=(log_std,), initializer="zeros", name="log_std")
        self.memory_size = self.policy_cell.memory_size + self.value_cell.memory_size
        self(tf.zeros((1, 1, *input_shape)), tf.zeros((1, self.memory_size)), tf.zeros((1, 1), tf.bool))

    def call(
        self, observations: Tensor, memory: Tensor, begins: Tensor, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return the outputs (B, T, P + 1), and the memory (B, S) after the last step."""
        size = self.policy_cell.memory_size
        params, of_policy = self._run(
            (self.policy_encoder, self.policy_cell, self.policy_head), observations, memory[:, :size], begins, training
        )
        value, of_value = self._run(
            (self.value_encoder, self.value_cell, self.value_head), observations, memory[:, size:], begins, training
        )
        if self.has_log_std:
            params = tf.concat([params, tf.broadcast_to(self.log_std, tf.shape(params))], -1)
        return tf.concat([params, value], -1), tf.concat([of_policy, of_value], -1)

    def _run(
        self, parts: tuple[Model, Cell, Model], observations: Tensor, memory: Tensor, begins: Tensor, training: bool
    ) -> Tensor:
        encoder, cell, head = parts
        shape = tf.shape(begins)
        features = tf.reshape(observations, tf.concat([[shape[0] * shape[1]], tf.shape(observations)[2:]], 0))
        features = tf.reshape(encoder(features, training=training), [shape[0], shape[1], cell.kernel.shape[0]])
        given, after = cell(_with_length_of(features, begins), memory, begins)
        flat = head(tf.reshape(given, [-1, cell.size]), training=training)
        return tf.reshape(flat, [shape[0], shape[1], flat.shape[-1]]), after


def _with_length_of(features: Tensor, begins: Tensor) -> Tensor:
    """Return the features with the static number of steps, which XLA needs for the gradient of a loop."""
    features.set_shape([begins.shape[0], begins.shape[1], features.shape[2]])
    return features


class KerasRecurrentPredictor:
    """A recurrent model's output as numpy arrays, through one compiled function.

    Args:
        model: the model.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._device = device_of([model])
        self._compiled: Callable[..., Tensor] | None = None

    def __call__(self, observations: object, memory: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the outputs and the memory after the last step; see `RecurrentPredictor`."""
        observations = np.asarray(observations, np.float32)
        compiled = self._compiled
        if compiled is None:
            signature = [
                tf.TensorSpec((None, None, *observations.shape[2:]), tf.float32),
                tf.TensorSpec((None, memory.shape[1]), tf.float32),
                tf.TensorSpec((None, None), tf.bool),
            ]
            compiled = self._compiled = tf.function(
                lambda *inputs: self._model(*inputs, training=False), input_signature=signature
            )
        with on(self._device):
            outputs, after = compiled(observations, np.asarray(memory, np.float32), begins)
        return outputs.numpy(), after.numpy()


def build(architecture: RecurrentArchitecture, seeds: np.random.SeedSequence) -> RecurrentNetwork:
    """Return the network; nothing is drawn from the process's global generator."""
    policy = _trunk(architecture, architecture.head, seeds)
    value = _trunk(architecture, replace(architecture.head, outputs=1, head_gain=1.0), seeds)
    log_std = architecture.head.outputs if architecture.has_log_std else None
    return RecurrentNetwork(policy, value, architecture.input_shape, log_std)


def _trunk(
    architecture: RecurrentArchitecture, head: Architecture, seeds: np.random.SeedSequence
) -> tuple[Model, Cell, Model]:
    encoder = keras.Sequential([keras.layers.Input(architecture.input_shape), keras.layers.Flatten()])
    features = math.prod(architecture.input_shape)
    if architecture.encoder is not None:
        encoder = _networks.build(architecture.encoder, seeds)
        encoder.add(keras.layers.Activation("relu"))
        features = architecture.encoder.outputs
    cell = Cell(features, architecture.memory_size, architecture.cell == "lstm", seeds)
    return encoder, cell, _networks.build(head, seeds)
