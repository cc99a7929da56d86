from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tensor_optix.adapters.tensorflow import _predictor
from tensor_optix.adapters.tensorflow._predictor import OWN_UPDATES, KerasPredictor, LogStd
from tensor_optix.errors import ContractError
from tensor_optix.support.undisturbed import UNDISTURBED

OBSERVATIONS = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)


def dense(activation: str = "tanh", **kwargs: Any) -> keras.Sequential:
    layers = keras.layers
    return keras.Sequential(
        [layers.Input((4,)), layers.Dense(8, activation, **kwargs), layers.Dense(8, activation), layers.Dense(2)]
    )


def functional() -> keras.Model:
    inputs = keras.layers.Input((4,))
    hidden = keras.layers.Dense(8)(inputs)
    hidden = keras.layers.Activation("tanh")(hidden)
    return keras.Model(inputs, keras.layers.Dense(2)(hidden))


def nested() -> keras.Sequential:
    inner = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8, "relu")])
    return keras.Sequential([keras.layers.Input((4,)), inner, keras.layers.Dropout(0.5), keras.layers.Dense(2)])


def gaussian() -> keras.Sequential:
    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3), LogStd(-0.5)])


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.layer = keras.layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.layer(x) * 2.0


def subclassed() -> keras.Model:
    model = Subclassed()
    model(OBSERVATIONS)
    return model


def skipping() -> keras.Model:
    inputs = keras.layers.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Add()([inputs, keras.layers.Dense(4)(inputs)])))


def adapted() -> keras.Model:
    model = dense("tanh")
    model.layers[0].enable_lora(2)
    return model


def through_keras(model: keras.Model) -> np.ndarray:
    return model(OBSERVATIONS, training=False).numpy()


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "silu", "elu", "linear"])
def test_the_mirror_equals_the_model(activation: str) -> None:
    model = dense(activation)
    predictor = KerasPredictor(model)
    assert predictor._layers is not None
    np.testing.assert_allclose(predictor(OBSERVATIONS), through_keras(model), atol=1e-6)


@pytest.mark.parametrize("build", [functional, nested, gaussian, lambda: dense(use_bias=False)])
def test_other_dense_stacks_are_mirrored_too(build: Any) -> None:
    model = build()
    predictor = KerasPredictor(model)
    assert predictor._layers is not None
    np.testing.assert_allclose(predictor(OBSERVATIONS), through_keras(model), atol=1e-6)
    np.testing.assert_allclose(predictor.one(OBSERVATIONS[0]), through_keras(model)[0], atol=1e-6)


@pytest.mark.parametrize("build", [subclassed, skipping, adapted])
def test_anything_else_acts_through_one_compiled_function(build: Any) -> None:
    model = build()
    predictor = KerasPredictor(model)
    assert predictor._layers is None
    np.testing.assert_allclose(predictor(OBSERVATIONS), through_keras(model), atol=1e-6)
    np.testing.assert_allclose(predictor.one(OBSERVATIONS[0]), through_keras(model)[0], atol=1e-6)
    predictor(OBSERVATIONS[:3])
    assert predictor._compiled.experimental_get_tracing_count() == 1


def step_by_optimizer(model: keras.Model) -> None:
    optimizer = keras.optimizers.SGD(0.1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(OBSERVATIONS))
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)


def train_in_a_graph(model: keras.Model) -> None:
    tf.function(lambda: step_by_optimizer(model) if False else model.trainable_variables[0].assign_add(
        tf.ones_like(model.trainable_variables[0])))()  # fmt: skip


class Clock:
    """Stands still: a change itself must be noticed, and not the time that has passed."""

    now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_predictor, "time", clock)
    return clock


CHANGES = {
    "set_weights": lambda model: model.set_weights([w + 1 for w in model.get_weights()]),
    "assign": lambda model: model.trainable_variables[0].assign(model.trainable_variables[0] + 1),
    "assign_add": lambda model: model.trainable_variables[1].value.assign_add(
        tf.ones_like(model.trainable_variables[1])
    ),
    "assign_sub": lambda model: model.layers[0].kernel.value.assign_sub(tf.ones_like(model.layers[0].kernel)),
    "optimizer": step_by_optimizer,
    "graph": train_in_a_graph,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.usefixtures("clock")
def test_a_change_of_the_weights_shows_in_the_next_action(change: Any) -> None:
    model = dense()
    predictor = KerasPredictor(model)
    before = predictor(OBSERVATIONS)
    change(model)
    after = predictor(OBSERVATIONS)
    np.testing.assert_allclose(after, through_keras(model), atol=1e-5)
    assert np.abs(after - before).max() > 1e-3


@pytest.mark.usefixtures("clock")
def test_a_graph_traced_by_others_is_followed_each_time_it_runs() -> None:
    model = dense()
    predictor = KerasPredictor(model)
    variable = model.trainable_variables[0]
    train = tf.function(lambda: variable.assign_add(tf.ones_like(variable)))
    for _ in range(3):
        train()
        np.testing.assert_allclose(predictor(OBSERVATIONS), through_keras(model), atol=1e-5)


def test_a_graph_traced_before_is_followed_after_a_pause(clock: Clock) -> None:
    model = dense()
    variable = model.trainable_variables[0]
    train = tf.function(lambda: variable.assign_add(tf.ones_like(variable)))
    train()
    predictor = KerasPredictor(model)
    predictor(OBSERVATIONS)
    train()
    clock.now += 3600.0
    np.testing.assert_allclose(predictor(OBSERVATIONS), through_keras(model), atol=1e-5)


def test_while_a_window_is_played_a_pause_is_that_of_its_environments(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = dense()
    predictor = KerasPredictor(model)
    predictor(OBSERVATIONS)
    read, reads = predictor._read, list[float]()
    monkeypatch.setattr(predictor, "_read", lambda: (reads.append(clock.now), read()))
    for _ in range(2):
        with UNDISTURBED.block():
            for _ in range(3):
                clock.now += 1.0
                predictor(OBSERVATIONS)
    assert reads == [1001.0, 1004.0]  # with the first action of each: somebody may have trained before
    model.set_weights([w + 1 for w in model.get_weights()])
    with UNDISTURBED.block():
        predictor(OBSERVATIONS)
        with OWN_UPDATES.announced():
            model.set_weights([w + 1 for w in model.get_weights()])
        np.testing.assert_allclose(predictor(OBSERVATIONS), through_keras(model), atol=1e-5)
    clock.now += 1.0
    predictor(OBSERVATIONS)
    assert reads[-1] == clock.now


@pytest.mark.usefixtures("clock")
def test_an_announced_update_shows_and_does_not_end_the_mirroring() -> None:
    model = dense()
    predictor = KerasPredictor(model)
    variable = model.trainable_variables[0]
    train = tf.function(lambda: variable.assign_add(tf.ones_like(variable)), jit_compile=True)
    for _ in range(3):
        with OWN_UPDATES.announced():
            train()
        np.testing.assert_allclose(predictor(OBSERVATIONS), through_keras(model), atol=1e-5)
    assert not predictor._always_read


def test_what_was_returned_does_not_change_with_the_weights() -> None:
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    predictor = KerasPredictor(model)
    output = predictor(OBSERVATIONS)
    kept = output.copy()
    model.set_weights([w + 1 for w in model.get_weights()])
    predictor(OBSERVATIONS)
    np.testing.assert_array_equal(output, kept)


def test_a_model_that_returns_no_tensor_is_refused_with_what_it_returns() -> None:
    inputs = keras.Input((3,))
    predict = KerasPredictor(keras.Model(inputs, {"logits": keras.layers.Dense(2)(inputs)}))
    for _ in range(2):
        with pytest.raises(ContractError, match=r"must return one tf\.Tensor, but returned a dict of 'logits'"):
            predict(np.zeros((2, 3)))
