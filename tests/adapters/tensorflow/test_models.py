"""Models that agents make for themselves: lagged copies, and a temperature."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tensor_optix.adapters.tensorflow._models import LaggedModel, Temperature

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def network() -> keras.Sequential:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Input((3,)), keras.layers.Dense(5, "tanh"), keras.layers.Dense(2)]
    return keras.Sequential(layers)


def output(model: object) -> np.ndarray:
    return np.asarray(model(X))  # type: ignore[operator]


def test_a_copy_gives_what_the_model_gave_when_it_was_made() -> None:
    model = network()
    lagged, before = LaggedModel(model), output(model)
    for variable in model.weights:
        variable.assign(variable + 1.0)
    assert np.allclose(output(lagged), before)
    assert not np.allclose(output(model), before)


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_it_moves_by_its_share(rate: float) -> None:
    model = network()
    lagged = LaggedModel(model)
    before = [w.numpy() for w in lagged.weights]
    for variable in model.weights:
        variable.assign(variable + 1.0)
    lagged.move(model, rate)
    for old, new in zip(before, lagged.weights, strict=True):
        assert new.numpy() == pytest.approx(old + rate, abs=1e-6)
    if rate == 1.0:
        assert np.allclose(output(lagged), output(model), atol=1e-5)


def test_no_gradient_flows_into_it() -> None:
    model = network()
    lagged = LaggedModel(model)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(lagged(X))
    assert tape.gradient(loss, [variable.value for variable in model.trainable_variables]) == [None] * 4


def test_counts_are_copied_when_it_is_made_and_do_not_move() -> None:
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dropout(0.5, seed=1), keras.layers.Dense(1)])
    lagged = LaggedModel(model)
    assert np.array_equal(output(lagged), output(lagged))  # never in training mode


def test_a_temperature_is_one_weight_whose_logarithm_it_returns() -> None:
    temperature = Temperature()
    (weight,) = temperature.weights
    weight.assign([0.75])
    value = temperature(None)
    assert (value.shape, float(value)) == ((), 0.75)
