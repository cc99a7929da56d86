"""Keras models of every kind, as agents; a kind that is refused says so when it is made."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tensor_optix.adapters.tensorflow.inputs import TFDictModel
from tensor_optix.algorithms.tf_dqn import TFDQNAgent
from tensor_optix.algorithms.tf_ppo import TFPPOAgent
from tensor_optix.algorithms.tf_sac import TFSACAgent
from tests.fakes.cycles import DQN, PPO, SAC, Make
from tests.fakes.torch_models import DICT

L = keras.layers


class Noisy(L.Layer):
    """Draws without a generator of its own."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        super().__init__()
        self.draw = draw

    def call(self, x: Any, training: bool = False) -> Any:
        return x * (1.0 + 0.5 * self.draw(tf.shape(x))) if training else x


class Unnamed(L.Layer):
    """A weight that Keras numbers through the process."""

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones")

    def call(self, x: Any) -> Any:
        return x * self.scale


class Hidden(L.Layer):
    """A variable of TensorFlow's own, which Keras does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = tf.Variable(tf.ones(8))

    def call(self, x: Any) -> Any:
        return x * self.scale


class Stopped(L.Layer):
    def call(self, x: Any) -> Any:
        return tf.stop_gradient(x)


class Own(keras.Model):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.first, self.dropout, self.head = L.Dense(8, "tanh"), L.Dropout(0.3), L.Dense(outputs)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.head(self.dropout(self.first(x), training=training))


class OfDict(keras.Model):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.flat, self.head = L.Flatten(), L.Dense(outputs)

    def call(self, x: Any) -> Any:
        return self.head(tf.concat([self.flat(x["image"]), x["side"], x["speed"]], -1))


class OfTwo(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = L.Dense(8), L.Dense(8), L.Dense(1)

    def call(self, observation: Any, action: Any) -> Any:
        return self.head(tf.tanh(self.first(observation) + self.second(action)))


def dense(outputs: int, size: int = 4, hidden: int = 8) -> keras.Model:
    return keras.Sequential([L.Input((size,)), L.Dense(hidden, "tanh"), L.Dense(outputs)])


def between(*layers: Callable[[], Any]) -> Callable[[int], keras.Model]:
    return lambda n: keras.Sequential([L.Input((4,)), L.Dense(8), *(layer() for layer in layers), L.Dense(n)])


@contextlib.contextmanager
def policy(name: str) -> Iterator[None]:
    """Compute in another precision within."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def ppo(
    network: Callable[[int], keras.Model], optimizer: Callable[[], Any] = keras.optimizers.Adam, precision: str = ""
) -> Make:
    """Return what makes PPO agents of two such networks, without XLA, which takes long."""

    def make(seed: int) -> TFPPOAgent:
        keras.utils.set_random_seed(seed)
        with policy(precision) if precision else contextlib.nullcontext():
            return TFPPOAgent(network(2), network(1), optimizer(), PPO, seed=seed, compile=False)

    return make


def dqn(
    network: Callable[[int], keras.Model], precision: str = "", optimizer: Callable[[], Any] = keras.optimizers.Adam
) -> Make:
    def make(seed: int) -> TFDQNAgent:
        keras.utils.set_random_seed(seed)
        with policy(precision) if precision else contextlib.nullcontext():
            return TFDQNAgent(network(2), 2, optimizer(), DQN, seed=seed, compile=False)

    return make


def sac(
    actor: Callable[[int], keras.Model],
    critic: Callable[[int], keras.Model],
    optimizer: Callable[[], Any] = keras.optimizers.Adam,
) -> Make:
    def make(seed: int) -> TFSACAgent:
        keras.utils.set_random_seed(seed)
        optimizers = optimizer(), optimizer(), optimizer()
        return TFSACAgent(actor(4), critic(1), critic(1), 2, *optimizers, SAC, seed=seed, compile=False)

    return make


def shared(seed: int) -> TFPPOAgent:
    keras.utils.set_random_seed(seed)
    inputs = L.Input((4,))
    trunk = L.Dense(8, "tanh")(inputs)
    actor, critic = (keras.Model(inputs, L.Dense(n)(trunk)) for n in (2, 1))
    return TFPPOAgent(actor, critic, keras.optimizers.Adam(), PPO, seed=seed, compile=False)


def frozen(outputs: int) -> keras.Model:
    model = dense(outputs)
    model.layers[0].trainable = False
    return model


def adapted(outputs: int) -> keras.Model:
    model = dense(outputs)
    model.layers[0].enable_lora(2)
    return model


def images(outputs: int) -> keras.Model:
    return keras.Sequential(
        [L.Input((8, 8, 3)), L.Conv2D(4, 3, activation="relu"), L.SpatialDropout2D(0.3), L.Flatten(), L.Dense(outputs)]
    )


def channels_first(outputs: int) -> keras.Model:
    form = "channels_first"
    return keras.Sequential(
        [L.Input((3, 8, 8)), L.Conv2D(4, 3, data_format=form, activation="relu"), L.Flatten(form), L.Dense(outputs)]
    )


def recurrent(outputs: int) -> keras.Model:
    return keras.Sequential([L.Input((4,)), L.Reshape((4, 1)), L.LSTM(6, dropout=0.2), L.Dense(outputs)])


def forgetful(outputs: int) -> keras.Model:
    cell = L.GRU(8, dropout=0.3, recurrent_dropout=0.3)
    return keras.Sequential([L.Input((4,)), L.Reshape((2, 2)), cell, L.Dense(outputs)])


def remembering(outputs: int) -> keras.Model:
    """A layer that goes on from the last batch, whatever that was."""
    rows = L.Input(batch_shape=(16, 4))
    return keras.Sequential([rows, L.Reshape((2, 2)), L.LSTM(8, stateful=True), L.Dense(outputs)])


def attending(outputs: int) -> keras.Model:
    inputs = L.Input((4,))
    sequence = L.Reshape((4, 1))(inputs)
    attended = L.MultiHeadAttention(2, 4, dropout=0.2)(sequence, sequence, use_causal_mask=True)
    return keras.Model(inputs, L.Dense(outputs)(L.Flatten()(attended)))


def embedded(outputs: int) -> keras.Model:
    positive = L.Lambda(lambda x: tf.cast(x > 0, tf.int32))
    return keras.Sequential([L.Input((4,)), positive, L.Embedding(8, 3), L.Flatten(), L.Dense(outputs)])


def own(outputs: int) -> keras.Model:
    model = Own(outputs)
    model(tf.zeros((1, 4)))
    return model


def wrapped(outputs: int) -> keras.Model:
    return keras.Sequential(
        [L.Input((4,)), L.Reshape((4, 1)), L.TimeDistributed(dense(3, 1)), L.Flatten(), dense(outputs, 12)]
    )


def of_dict(outputs: int) -> keras.Model:
    shapes = {"speed": (2,), "image": (2, 2), "side": (3,)}
    inputs = {name: L.Input(shape, name=name) for name, shape in shapes.items()}
    image, speed, side = (
        L.Dense(3)(L.Flatten()(inputs["image"])),
        L.Dense(3)(inputs["speed"]),
        L.Dense(3)(inputs["side"]),
    )
    return keras.Model(inputs, L.Dense(outputs)(L.add([image, L.multiply([speed, side])])))


def listed(outputs: int) -> keras.Model:
    """The same with a list of inputs, which are told apart by their shapes."""
    named = of_dict(outputs)
    inputs = [L.Input(shape) for shape in ((2,), (2, 2), (3,))]
    return keras.Model(inputs, named(dict(zip(("speed", "image", "side"), inputs, strict=True))))


def critic_of_dict(outputs: int) -> keras.Model:
    """The members as one dict, and the action."""
    shapes = {"speed": (2,), "image": (2, 2), "side": (3,)}
    inputs, action = {name: L.Input(shape, name=name) for name, shape in shapes.items()}, L.Input((2,))
    flat = [L.Flatten()(one) for one in inputs.values()]
    return keras.Model([inputs, action], L.Dense(outputs)(L.concatenate([*flat, action])))


def own_of_dict(outputs: int) -> keras.Model:
    model = OfDict(outputs)
    model({"image": tf.zeros((1, 2, 2)), "side": tf.zeros((1, 3)), "speed": tf.zeros((1, 2))})
    return model


def taken_apart(outputs: int) -> keras.Model:
    return TFDictModel(DICT, of_dict(outputs))


def of_two(outputs: int) -> keras.Model:
    observation, action = L.Input((4,)), L.Input((2,))
    hidden = L.add([L.Dense(8)(observation), L.Dense(8)(action)])
    return keras.Model([observation, action], L.Dense(outputs)(hidden))


def own_of_two(outputs: int) -> keras.Model:
    model = OfTwo()
    model(tf.zeros((1, 4)), tf.zeros((1, 2)))
    return model
