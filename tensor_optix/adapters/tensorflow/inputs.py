"""Keras models of several inputs, as models of one array."""

from typing import Any

import numpy as np

from tensor_optix.adapters._inputs import is_recurrent, n_required, parts_of, refuse_inputs, taken_apart
from tensor_optix.adapters.tensorflow._keras import keras, tf


class TFDictModel(keras.Model):
    """A model over the members of a `Dict` or `Tuple` space, given the flattened observations that agents see.

        actor = TFDictModel(env.observation_space, keras.Model({"image": image, "speed": speed}, logits))

    Args:
        observation_space: the environment's. Members keep their shapes; discrete values are one-hot, all are floats.
        model: called with a dict or tuple of tensors (B, ...), nested as the space is; it is built here if need be.

    Raises:
        SpaceError: a space of another kind.
    """

    def __init__(self, observation_space: Any, model: keras.Model) -> None:
        super().__init__()
        self.model = model
        self._parts, size = parts_of(observation_space)
        self(np.zeros((1, size), np.float32))

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the model's output for observations (B, n)."""
        parts = taken_apart(x, self._parts, lambda part, shape: tf.reshape(part, (-1, *shape)))
        return self.model(parts, training=training)


class PairModel(keras.Model):
    """A model of two inputs, x (B, m) and y (B, n), given [x ‖ y] (B, m + n).

    Args:
        model: called with both.
        size: n.
    """

    def __init__(self, model: keras.Model, size: int) -> None:
        super().__init__()
        self.model = model
        self._size = size
        self._struct = getattr(model, "_inputs_struct", None)
        self._is_swapped = self._struct is not None and self._has_second_first()
        self.built = model.built

    def _has_second_first(self) -> bool:
        first, second = (tensor.shape[-1] for tensor in _listed(self._struct))
        return first == self._size != second

    def call(self, pair: Any, training: bool = False) -> Any:
        """Return the model's output for [x ‖ y]."""
        inputs = [pair[..., : -self._size], pair[..., -self._size :]]
        if self._struct is None:
            return self.model(*inputs, training=training)
        if self._is_swapped:
            inputs.reverse()
        named = dict(zip(self._struct, inputs, strict=True)) if isinstance(self._struct, dict) else inputs
        return self.model(named, training=training)


def pair_model(model: Any, size: int) -> Any:
    """See `Backend.pair_model`."""
    return PairModel(model, size) if isinstance(model, keras.Model) and _n_inputs(model) == 2 else model


def check_inputs(name: str, model: keras.Model) -> None:
    """Raise `ContractError` where a model has several inputs, or takes them by name, and it is no recurrent one."""
    if is_recurrent(model):
        return
    n_inputs = _n_inputs(model)
    if n_inputs > 1 or isinstance(getattr(model, "_inputs_struct", None), dict):
        refuse_inputs(name, n_inputs, TFDictModel.__name__)


def _n_inputs(model: Any) -> int:
    struct = getattr(model, "_inputs_struct", None)
    return n_required(model.call) if struct is None else len(_listed(struct))


def _listed(struct: Any) -> list[Any]:
    """Return the inputs of a functional model in the order that the user gave them."""
    return list(struct.values()) if isinstance(struct, dict) else tf.nest.flatten(struct)
