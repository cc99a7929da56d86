"""An actor and a critic on one trunk, as one model that runs the trunk once."""

from tensor_optix.adapters._trunk import trunk_length
from tensor_optix.adapters.backend import Model, Tensor
from tensor_optix.adapters.tensorflow._keras import keras
from tensor_optix.adapters.tensorflow._variables import number_type


def joint_model(actor: Model, critic: Model) -> Model | None:
    """See `Backend.joint_model`: both must be a `keras.Sequential`, or functional models of one `Input`."""
    if not {id(v) for v in actor.trainable_variables} & {id(v) for v in critic.trainable_variables}:
        return None
    found = _of_stacks(actor, critic) or _of_one_graph(actor, critic)
    if found is None:
        return None
    x, outputs = found
    joined = keras.layers.Concatenate(dtype=number_type([actor, critic]).name)
    return keras.Model(x, joined(outputs))


def _of_stacks(actor: Model, critic: Model) -> tuple[Tensor, list[Tensor]] | None:
    """Return input and both outputs of two stacks that begin with the same layers."""
    if not all(type(stack) is keras.Sequential and stack._functional is not None for stack in (actor, critic)):
        return None
    n = trunk_length(actor.layers, critic.layers)
    if not n:
        return None
    x = keras.layers.Input(batch_shape=actor.inputs[0].shape, dtype=actor.inputs[0].dtype)
    features = _through(actor.layers[:n], x)
    return x, [_through(stack.layers[n:], features) for stack in (actor, critic)]


def _of_one_graph(actor: Model, critic: Model) -> tuple[Tensor, list[Tensor]] | None:
    """Return input and both outputs of two functional models that were built on the same input."""
    if not all(type(model).__name__ == "Functional" for model in (actor, critic)):
        return None
    if any(len(model.inputs) != 1 or len(model.outputs) != 1 for model in (actor, critic)):
        return None
    return (actor.inputs[0], [*actor.outputs, *critic.outputs]) if actor.inputs[0] is critic.inputs[0] else None


def _through(layers: list[keras.layers.Layer], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x
