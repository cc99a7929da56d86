"""Keras models on the places of ones against the same models on one-hot rows."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import pytest
import tensorflow as tf

from tensor_optix.adapters.backend import Objective
from tensor_optix.adapters.tensorflow._gathering import called, inputs_to_gather
from tensor_optix.adapters.tensorflow._predictor import LogStd

LAYERS = keras.layers
PLACES = np.array([2, 0, 4, 2])

Made = Callable[[], Sequence[keras.layers.Layer]]
CHAINS: dict[str, Made] = {
    "a single layer": lambda: [LAYERS.Dense(2)],
    "several": lambda: [LAYERS.Dense(3, "tanh"), LAYERS.Dense(3), LAYERS.Activation("relu"), LAYERS.Dense(2)],
    "without bias": lambda: [LAYERS.Dense(3, "relu", use_bias=False), LAYERS.Dense(2)],
    "gaussian": lambda: [LAYERS.Dense(2), LogStd()],
}
OTHERS: dict[str, Made] = {
    "dropout": lambda: [LAYERS.Dense(3), LAYERS.Dropout(0.1), LAYERS.Dense(2)],
    "another layer first": lambda: [LAYERS.Activation("tanh"), LAYERS.Dense(2)],
    "a layer that numpy has not": lambda: [LAYERS.Dense(3), LAYERS.LayerNormalization()],
    "half precision": lambda: [LAYERS.Dense(2, dtype="mixed_float16")],
}


def model_of(make: Made) -> keras.Sequential:
    keras.utils.set_random_seed(0)
    return keras.Sequential([LAYERS.Input((5,)), *make()])


def objective(*models: keras.Model, inputs: Sequence[str] = ("observations",)) -> Objective:
    return Objective(lambda *_: (None, {}), models[:1], None, reads=models[1:], inputs=inputs)


@pytest.mark.parametrize("name", CHAINS)
def test_places_give_the_output_and_the_gradients_of_one_hot_rows(name: str) -> None:
    model = model_of(CHAINS[name])
    found = []
    for x in (tf.one_hot(PLACES, 5), tf.constant(PLACES, tf.int32)):
        with tf.GradientTape() as tape:
            output = called(model, x, training=True)
            loss = tf.reduce_sum(output**2)
        found.append([output, *map(tf.convert_to_tensor, tape.gradient(loss, model.trainable_variables))])
    for expected, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    assert inputs_to_gather([objective(model)]) == ["observations"]


@pytest.mark.parametrize("name", OTHERS)
def test_no_places_are_handed_to_other_models(name: str) -> None:
    chain, other = model_of(CHAINS["several"]), model_of(OTHERS[name])
    assert inputs_to_gather([objective(other)]) == []
    assert inputs_to_gather([objective(chain, other)]) == []


def test_inputs_that_are_no_tensor_go_to_the_model() -> None:
    pair = [keras.Input((2,)), keras.Input((3,))]
    model = keras.Model(pair, LAYERS.Dense(1)(LAYERS.Concatenate()(pair)))
    inputs = [np.ones((4, 2), np.float32), np.ones((4, 3), np.float32)]
    np.testing.assert_array_equal(called(model, inputs, training=False), model(inputs))


def test_only_what_every_objective_names_becomes_places() -> None:
    chain = model_of(CHAINS["several"])
    assert inputs_to_gather([objective(chain), objective(chain, inputs=())]) == []
