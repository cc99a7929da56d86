"""The variables of Keras models: their names, their values as numpy arrays, and what numbers they compute with."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tensor_optix.adapters.backend import Model
from tensor_optix.adapters.tensorflow._keras import Variable, keras, tf

_UNNAMED = re.compile(r"(?<=\.)variable_[0-9]+$")
"""Keras numbers weights without a name through the process."""


def as_array(variable: Variable) -> np.ndarray:
    """Return a copy of a variable's value; numpy has no bfloat16, whose values float32 holds exactly.

    A Keras variable's own `numpy()` takes three times as long, and each window asks twice.
    """
    own = variable.value if isinstance(variable, keras.Variable) else variable
    if not isinstance(own, tf.Variable) or not hasattr(own, "handle"):
        return variable.numpy()
    array = tf.raw_ops.ReadVariableOp(resource=own.handle, dtype=own.dtype).numpy()
    return array.astype(np.float32) if own.dtype == tf.bfloat16 else array


def named_variables(models: Mapping[str, Model]) -> dict[str, Variable]:
    """Return each weight under its model's name, its position there and its own name, `actor.0.kernel`.

    Keras' own paths count the models of the process, so they differ from run to run.
    """
    # A plain tf.Variable puts ":0" behind its name, a Keras one does not.
    return {
        plain_name(f"{name}.{i}.{v.name.removesuffix(':0')}"): v
        for name, model in models.items()
        for i, v in enumerate(model.weights)
    }


def plain_name(name: str) -> str:
    """Return a weight's name without what Keras adds to one that was given none."""
    return _UNNAMED.sub("variable", name)


def trainable_weights(models: Sequence[Model]) -> list[Variable]:
    """Return the weights that models learn, in their order, those of layers that are frozen now included."""
    learned = {id(v) for model in models for layer in model._flatten_layers() for v in layer._trainable_variables}
    return list({id(v): v for model in models for v in model.variables if id(v) in learned}.values())


def number_type(models: Sequence[Model]) -> Any:
    """Return what losses and actions are computed in: float64 if a model has such weights, else float32."""
    return (
        tf.float64 if any(tf.as_dtype(v.dtype) == tf.float64 for model in models for v in model.weights) else tf.float32
    )


def computes_in_float16(model: Model) -> bool:
    """Return whether a layer computes in float16, whose gradients vanish unless the loss is scaled."""
    return any(layer.compute_dtype == "float16" for layer in model._flatten_layers())
