"""Dense chains on the places of ones in one-hot rows: the product with such a row is a row of the first kernel."""

from collections.abc import Sequence

from tensor_optix.adapters.backend import Model, Objective, Tensor
from tensor_optix.adapters.tensorflow._keras import keras, tf
from tensor_optix.adapters.tensorflow._predictor import stack_of


def inputs_to_gather(objectives: Sequence[Objective]) -> list[str]:
    """Return the names of what may become the places of ones where it is one-hot, whatever model it is handed to."""
    names = [name for name in objectives[0].inputs if all(name in objective.inputs for objective in objectives)]
    models = [model for objective in objectives for model in (*objective.models, *objective.reads)]
    return names if names and all(map(_takes_places, models)) else []


def _takes_places(model: Model) -> bool:
    """Return whether `called` takes places for this model; dropout is left to Keras, which knows of training."""
    layers = _layers_of(model)
    return bool(layers) and type(layers[0]) is keras.layers.Dense and keras.layers.Dropout not in map(type, layers)


def called(model: Model, *inputs: Tensor, training: bool) -> Tensor:
    """Return a model's output; one that takes places may be given those (B,) of the ones for one-hot rows (B, n)."""
    places = inputs[0]
    are_places = tf.is_tensor(places) and places.shape.rank == 1 and places.dtype.is_integer
    if not are_places or not _takes_places(model):
        return model(*inputs, training=training)
    first, *others = _layers_of(model)
    x = tf.gather(first.kernel.value, places)
    x = first.activation(x + first.bias if first.use_bias else x)
    for layer in others:
        x = layer(x)
    return x


def _layers_of(model: Model) -> list[keras.layers.Layer]:
    return [layer for layer in stack_of(model) or () if type(layer) is not keras.layers.InputLayer]
