"""An actor and a critic on one trunk in Keras: what they answer, and how often the trunk runs."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tensor_optix.adapters.tensorflow._trunk import joint_model

L: Any = keras.layers
X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


class Counted(keras.layers.Layer):
    """A layer that notes how often it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.runs = L.Dense(4), 0

    def build(self, input_shape: Any) -> None:
        self.dense.build(input_shape)

    def call(self, x: Any) -> Any:
        self.runs += 1
        return self.dense(x)


def stacks(*trunk: Any, dtype: Any = None) -> tuple[Any, Any]:
    actor, critic = (
        keras.Sequential([L.Input((3,)), *trunk, L.Activation("tanh", dtype=dtype), L.Dense(n, dtype=dtype)])
        for n in (2, 1)
    )
    return actor, critic


def on_one_input() -> tuple[Any, Any]:
    inputs = L.Input((3,))
    trunk = L.Dense(4, "tanh")(inputs)
    return keras.Model(inputs, L.Dense(2)(trunk)), keras.Model(inputs, L.Dense(1)(trunk))


def test_it_answers_what_both_do_and_runs_the_trunk_once() -> None:
    counted = Counted()
    actor, critic = stacks(counted)
    joint = joint_model(actor, critic)
    assert joint is not None
    before = counted.runs
    found = joint(X)
    assert counted.runs == before + 1
    np.testing.assert_allclose(found, np.concatenate([actor(X), critic(X)], -1), rtol=1e-5)


@pytest.mark.parametrize("make", [lambda: stacks(L.Dense(4)), on_one_input], ids=["stacks", "one graph"])
def test_its_gradients_are_those_of_both_and_each_weight_is_there_once(make: Callable[[], tuple[Any, Any]]) -> None:
    keras.utils.set_random_seed(0)
    actor, critic = make()
    joint = joint_model(actor, critic)
    assert joint is not None
    variables = joint.trainable_variables
    assert len(variables) == 6
    assert {*map(id, variables)} == {id(v) for model in (actor, critic) for v in model.trainable_variables}
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(actor(X) ** 2) + tf.reduce_mean(tf.sin(critic(X)))
    apart = tape.gradient(loss, variables)
    with tf.GradientTape() as tape:
        outputs = joint(X)
        loss = tf.reduce_mean(outputs[:, :-1] ** 2) + tf.reduce_mean(tf.sin(outputs[:, -1]))
    for one, other in zip(tape.gradient(loss, variables), apart, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_what_heads_compute_in_half_is_joined_in_full() -> None:
    actor, critic = stacks(L.Dense(4), dtype="mixed_bfloat16")
    joint = joint_model(actor, critic)
    assert joint is not None
    assert joint(X).dtype == tf.float32


@pytest.mark.parametrize(
    "apart",
    [
        lambda: (stacks(L.Dense(4))[0], stacks(L.Dense(4))[1]),
        lambda: stacks(L.Identity()),
        lambda: (on_one_input()[0], on_one_input()[1]),
    ],
    ids=["alike", "no weights", "two graphs"],
)
def test_what_shares_no_weights_stays_apart(apart: Callable[[], tuple[Any, Any]]) -> None:
    assert joint_model(*apart()) is None


def test_a_layer_shared_behind_others_stays_apart() -> None:
    shared = L.Dense(4)
    assert joint_model(*(keras.Sequential([L.Input((3,)), L.Dense(3), shared, L.Dense(n)]) for n in (2, 1))) is None
