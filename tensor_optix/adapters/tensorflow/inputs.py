"""Keras models of several inputs, as models of one array."""

from typing import Any

import numpy as np

from tensor_optix.adapters._inputs import Members, is_recurrent, required, taken_apart, takes_members, unwired
from tensor_optix.adapters.backend import Model, Tensor
from tensor_optix.adapters.tensorflow._keras import keras, tf
from tensor_optix.core.types import Space


class MemberModel(keras.Model):
    """A model over the members of a structured observation, given the flattened observations that agents see.

    Args:
        model: called with a dict or tuple of tensors (B, ...), nested as the space is, or with one tensor for each
            member; and with what else is given.
        members: how it takes them.
    """

    def __init__(self, model: keras.Model, members: Members) -> None:
        super().__init__()
        self.model = model
        self.members = members
        self._struct = getattr(model, "_inputs_struct", None)
        if hasattr(model, "memory_size"):
            self.memory_size = model.memory_size
        self.built = model.built

    def call(self, x: Tensor, other: Tensor = None, begins: Tensor = None, training: bool = False) -> Tensor:
        """Return the model's output for observations (..., n), and what it takes besides."""
        others = [one for one in (other, begins) if one is not None]
        if self.members.parts is None:
            try:
                return self._answer([x, *others], training)
            except Exception as error:
                raise unwired(self.model, TFDictModel.__name__) from error
        given = taken_apart(x, self.members.parts, _shaped)
        is_whole = self.members.names is None
        return self._answer([given, *others] if is_whole else self.members.inputs(given, others), training)

    def _answer(self, inputs: list[Tensor], training: bool) -> Tensor:
        if self._struct is None:
            return self.model(*inputs, training=training)
        if self.members.names is not None and isinstance(self._struct, dict) and len(inputs) == len(self._struct):
            return self.model(dict(zip(self._struct, inputs, strict=True)), training=training)
        return self.model(inputs if len(inputs) > 1 else inputs[0], training=training)


def _shaped(part: Tensor, shape: tuple[int, ...]) -> Tensor:
    if part.shape.rank == 2:  # so its shape stays known
        return tf.reshape(part, (-1, *shape))
    return tf.reshape(part, tf.concat([tf.shape(part)[:-1], shape], 0))


class TFDictModel(MemberModel):
    """A model over the members of a `Dict` or `Tuple` space, where the agent's own environment does not show it.

        actor = TFDictModel(env.observation_space, keras.Model({"image": image, "speed": speed}, logits))

    Models that take a dict, or members by their names, need no wrapper: see `member_model`.

    Args:
        observation_space: the environment's. Members keep their shapes; discrete values are one-hot, all are floats.
        model: called with a dict or tuple of tensors (B, ...), nested as the space is, or with one tensor for each
            member; it is built here if need be.

    Raises:
        SpaceError: a space of another kind.
    """

    def __init__(self, observation_space: Space, model: keras.Model) -> None:
        names, shapes = _named_inputs(model)
        n_others = len(names or ()) - 1
        is_own = getattr(model, "_inputs_struct", None) is None
        is_whole = n_others < 1 or (is_own and takes_members(model.call, n_others))
        given = Members(None if is_whole else names, shapes=shapes, observation_space=observation_space)
        super().__init__(model, given)
        if not model.built:
            self(np.zeros((1, given.size), np.float32))


class PairModel(keras.Model):
    """A model of two inputs, x (B, m) and y (B, n), given [x ‖ y] (B, m + n).

    Args:
        model: called with both.
        size: n.
    """

    def __init__(self, model: keras.Model, size: int) -> None:
        super().__init__()
        self.model = model
        self.members = getattr(model, "members", None)
        self._size = size
        self._struct = getattr(model, "_inputs_struct", None)
        self._is_swapped = self._struct is not None and self._has_second_first()
        self.built = model.built

    def _has_second_first(self) -> bool:
        first, second = (tensor.shape[-1] for tensor in _listed(self._struct))
        return first == self._size != second

    def call(self, pair: Tensor, training: bool = False) -> Tensor:
        """Return the model's output for [x ‖ y]."""
        inputs = [pair[..., : -self._size], pair[..., -self._size :]]
        if self._struct is None:
            return self.model(*inputs, training=training)
        if self._is_swapped:
            inputs.reverse()
        named = dict(zip(self._struct, inputs, strict=True)) if isinstance(self._struct, dict) else inputs
        return self.model(named, training=training)


def pair_model(model: Model, size: int) -> Model:
    """See `Backend.pair_model`."""
    if not isinstance(model, keras.Model):
        return model
    inner = model.model if isinstance(model, MemberModel) else model
    if _n_inputs(inner) < 2:
        return model
    is_pair = _n_inputs(inner) == 2 and getattr(inner, "_inputs_struct", None) is not None
    return PairModel(model if is_pair else member_model(model, 1), size)


def member_model(model: Model, n_others: int = 0) -> Model:
    """See `Backend.member_model`."""
    if not isinstance(model, keras.Model) or isinstance(model, MemberModel):
        return model
    if (is_recurrent(model) and not n_others) or type(model) is keras.Sequential:
        return model
    names, shapes = _named_inputs(model)
    struct = getattr(model, "_inputs_struct", None)
    if struct is not None:
        is_one = names is not None and len(names) == 1 and not isinstance(struct, dict)
        return model if is_one else MemberModel(model, Members(names, n_others, shapes=shapes))
    if takes_members(model.call, max(len(names or ()) - 1, n_others)):
        return MemberModel(model, Members())
    return MemberModel(model, Members(names, n_others)) if len(names or ()) > 1 + n_others else model


def _named_inputs(model: Model) -> tuple[list[str] | None, list[tuple[int | None, ...]]]:
    """Return the names of a model's inputs, None where it takes them nested, and their shapes where it tells them."""
    struct = getattr(model, "_inputs_struct", None)
    if struct is None:
        return required(model.call), []
    listed = (
        list(struct.values()) if isinstance(struct, dict) else struct if isinstance(struct, list | tuple) else [struct]
    )
    if not all(hasattr(tensor, "shape") for tensor in listed):
        return None, []
    names = list(struct) if isinstance(struct, dict) else [tensor.name for tensor in listed]
    return names, [tuple(tensor.shape[1:]) for tensor in listed]


def _n_inputs(model: Model) -> int:
    struct = getattr(model, "_inputs_struct", None)
    return len(required(model.call)) if struct is None else len(_listed(struct))


def _listed(struct: object) -> list[Any]:
    """Return the inputs of a functional model in the order that the user gave them."""
    return list(struct.values()) if isinstance(struct, dict) else tf.nest.flatten(struct)
