"""Models that agents make for themselves: lagged copies, and the temperature of an entropy bonus."""

from typing import Any

from tensor_optix.adapters.backend import Model, Tensor
from tensor_optix.adapters.tensorflow._keras import keras, tf
from tensor_optix.adapters.tensorflow._randomness import layers_of
from tensor_optix.errors import ContractError


class LaggedModel:
    """A Keras model called with weights of its own, which follow the model's at a distance.

    No copy of the model itself is made, so that any model has one, not only those that can describe themselves.

    Args:
        model: what to call.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.weights = [tf.Variable(v, trainable=False, name=v.name) for v in model.weights]
        self.are_constant = are_constant(model)
        self._positions = {id(v): i for i, v in enumerate(model.weights)}

    def __call__(self, x: Tensor, training: bool = False) -> Tensor:
        """Return the model's output (B, ...) with these weights, never in training mode."""
        trainable, fixed = (
            # What is no weight, such as the state of a dropout's generator, is the model's own.
            [self.weights[self._positions[id(v)]] if id(v) in self._positions else v for v in variables]
            for variables in (self._model.trainable_variables, self._model.non_trainable_variables)
        )
        return self._model.stateless_call(trainable, fixed, x, training=False)[0]

    def move(self, model: Model, rate: Tensor) -> None:
        """θ_tgt ← ρ·θ + (1−ρ)·θ_tgt."""
        for target, source in zip(self.weights, model.weights, strict=True):
            if target.dtype.is_floating:
                share = tf.cast(rate, target.dtype)
                target.assign(share * tf.convert_to_tensor(source) + (1.0 - share) * target)


def are_constant(model: Model) -> list[bool]:
    """Return which of a model's weights learning leaves alone: all that are frozen but running statistics."""
    if isinstance(model, LaggedModel):
        return model.are_constant
    normalising = (layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization))
    statistics = {id(v) for layer in normalising for v in (layer.moving_mean, layer.moving_variance)}
    return [not v.trainable and id(v) not in statistics for v in model.weights]


class Temperature(keras.layers.Layer):
    """log α, as a model of one weight."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.log_alpha = self.add_weight(shape=(1,), initializer="zeros", name="log_alpha")
        self.built = True

    def call(self, _: object) -> Tensor:
        """Return log α as a scalar."""
        return tf.reshape(self.log_alpha, ())


def refuse_memory(name: str, model: Model) -> None:
    """Raise `ContractError` where a layer holds what minibatches have not in common, or what Keras does not know of."""
    known = {id(weight.value) for weight in model.weights}
    for layer in layers_of(model):
        if getattr(layer, "stateful", False) is True:
            raise ContractError(
                f"{name} has a layer that remembers its last batch ({layer.name!r} is stateful), but rows of a "
                f"minibatch are of any time. Make it with stateful=False; for memory within an episode, use recurrent "
                f"PPO: make_agent(env, 'recurrent_ppo')."
            )
        for attribute, value in vars(layer).items():
            if isinstance(value, tf.Variable) and not attribute.startswith("_") and id(value) not in known:
                raise ContractError(
                    f"{name} has a tf.Variable that Keras does not know of ({attribute!r} of {layer.name!r}): it is "
                    f"neither trained nor saved. Make it in the layer with self.add_weight(...), or keras.Variable."
                )
