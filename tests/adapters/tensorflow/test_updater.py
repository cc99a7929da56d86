import logging
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tensor_optix.adapters.backend import Objective
from tensor_optix.adapters.tensorflow._updater import TFUpdater
from tensor_optix.errors import ContractError
from tests.fakes import keras_models as models
from tests.fakes.cycles import window

RNG = np.random.default_rng(0)
DATA = {
    "observations": RNG.normal(size=(50, 4)).astype(np.float32),
    "targets": RNG.normal(size=50).astype(np.float32),
}


def network() -> keras.Sequential:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])


def squared_error(models: Any, batch: Mapping[str, Any], scalars: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    loss = tf.reduce_mean(tf.square(models[0](batch["observations"])[:, 0] - batch["targets"])) * scalars["scale"]
    return loss, {"loss": loss}


def rows(k: int, b: int = 8) -> np.ndarray:
    return np.random.default_rng(k).integers(0, 50, (k, b))


def objective(model: Any, optimizer: Any) -> Objective:
    return Objective(squared_error, (model,), optimizer, max_grad_norm="bound")


SCALARS = {"scale": 1.0, "bound": 0.3}


def textbook(model: Any, optimizer: Any, order: np.ndarray) -> list[tuple[float, float]]:
    seen = []
    for row in order:
        batch = {name: array[row] for name, array in DATA.items()}
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(batch["observations"])[:, 0] - batch["targets"]))
        gradients, norm = tf.clip_by_global_norm(tape.gradient(loss, model.trainable_variables), SCALARS["bound"])
        optimizer.apply(gradients, model.trainable_variables)
        seen.append((float(loss), float(norm)))
    return seen


@pytest.mark.parametrize(
    ("kind", "compile"),
    [
        *(("Adam", True), ("Adam", False), ("SGD", True), ("RMSprop", False), ("AdamW", False)),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in (("SGD", False), ("RMSprop", True), ("AdamW", True))),
    ],
)
def test_the_program_makes_the_steps_of_a_textbook_loop(kind: str, compile: bool) -> None:
    ours, theirs = network(), network()
    optimizers = [getattr(keras.optimizers, kind)(1e-2) for _ in range(2)]
    optimizers[0].build(ours.trainable_variables)
    result = TFUpdater(objective(ours, optimizers[0]), compile)(DATA, rows(13), SCALARS)
    seen = textbook(theirs, optimizers[1], rows(13))
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-5)
    assert result["loss"] == pytest.approx(np.mean([loss for loss, _ in seen]), rel=1e-4)
    assert result["grad_norm"] == pytest.approx(np.mean([norm for _, norm in seen]), rel=1e-4)
    assert int(optimizers[0].iterations.numpy()) == 13


def test_no_value_and_no_number_of_steps_is_traced_again() -> None:
    model, optimizer = network(), keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    updater = TFUpdater(objective(model, optimizer), None)
    for i, k in enumerate((5, 1, 200, 1024)):
        optimizer.learning_rate = 10.0 ** -(i + 2)
        updater(DATA, rows(k), {"scale": 1.0 + i, "bound": 0.1 * (i + 1)})
    shorter = {name: array[:33] for name, array in DATA.items()}
    updater(shorter, rows(3) % 33, SCALARS)
    assert updater.traces == 1


def bounded_error(models: Any, batch: Mapping[str, Any], scalars: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    loss, metrics = squared_error(models, batch, scalars)
    if loss > scalars["most"]:  # of a tensor: TensorFlow has to convert it
        loss = loss * 0.0
    return loss, metrics


@pytest.mark.parametrize("most", [0.0, 1e9])
def test_a_loss_of_the_users_own_may_branch_on_tensors(most: float) -> None:
    model, optimizer = network(), keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    before = model.get_weights()
    TFUpdater(Objective(bounded_error, (model,), optimizer), False)(DATA, rows(2), {"scale": 1.0, "most": most})
    stayed = all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))
    assert stayed == (most == 0.0)


def nothing(of: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.zeros_like(array) for name, array in of.items()}


ONE_HOT = {**DATA, "observations": np.eye(70, dtype=np.float32)[RNG.integers(0, 40, 50)]}


def wide() -> keras.Sequential:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.layers.Input((70,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])


@pytest.mark.parametrize("compile", [True, False])
def test_one_hot_rows_gather_weights_to_the_same_gradients(compile: bool) -> None:
    found: list[tuple[list[np.ndarray], dict[str, float]]] = []
    for inputs in ((), ("observations",)):
        ranks: list[int] = []

        def loss(models: Any, batch: Any, scalars: Any, ranks: list[int] = ranks) -> Any:
            ranks.append(batch["observations"].shape.rank)
            return squared_error(models, batch, scalars)

        model, optimizer = wide(), keras.optimizers.Adam(1e-2)
        optimizer.build(model.trainable_variables)
        updater = TFUpdater(Objective(loss, (model,), optimizer, max_grad_norm="bound", inputs=inputs), compile)
        metrics = updater(ONE_HOT, rows(13), SCALARS)
        assert set(ranks) == {1 if inputs else 2}
        found.append((model.get_weights(), metrics))
    (expected, theirs), (gathered, ours) = found
    for mine, other in zip(gathered, expected, strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-5)
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_what_was_compiled_ahead_makes_the_same_steps_and_has_made_none_itself() -> None:
    weights: list[list[np.ndarray]] = []
    for is_ahead in (False, True):
        model, optimizer = network(), keras.optimizers.Adam(1e-2)
        optimizer.build(model.trainable_variables)
        updater = TFUpdater(objective(model, optimizer), None)
        if is_ahead:
            before = model.get_weights()
            updater.compile_ahead(nothing(DATA), rows(1), SCALARS)
            assert all(map(np.array_equal, before, model.get_weights()))
            assert int(optimizer.iterations) == 0
        updater(DATA, rows(3), SCALARS)
        assert updater.traces == 1
        weights.append(model.get_weights())
    assert all(map(np.array_equal, *weights))


def test_what_is_frozen_meanwhile_stays_so() -> None:
    model, optimizer = network(), keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    updater = TFUpdater(objective(model, optimizer), None)
    updater.compile_ahead(nothing(DATA), rows(1), SCALARS)
    model.layers[0].trainable = False
    before = model.get_weights()
    updater(DATA, rows(3), SCALARS)
    kept = list(map(np.array_equal, before, model.get_weights()))
    assert kept == [True, True, False, False]


class HostCall(keras.layers.Layer):
    """Calls back into Python, which XLA cannot do."""

    def call(self, x: Any) -> Any:
        y = tf.numpy_function(lambda a: a, [x], tf.float32)
        return x + tf.stop_gradient(tf.ensure_shape(y, x.shape) * 0.0)


@pytest.mark.parametrize("is_ahead", [False, True])
def test_a_model_that_xla_refuses_runs_as_a_plain_graph_with_one_warning(
    caplog: pytest.LogCaptureFixture, is_ahead: bool
) -> None:
    keras.utils.set_random_seed(0)
    refused = keras.Sequential(
        [keras.layers.Input((4,)), HostCall(), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)]
    )
    plain = network()
    refused.set_weights(plain.get_weights())
    optimizers = [keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1)]
    for optimizer, model in zip(optimizers, (refused, plain), strict=True):
        optimizer.build(model.trainable_variables)
    updater = TFUpdater(objective(refused, optimizers[0]), None)
    if is_ahead:
        updater.compile_ahead(nothing(DATA), rows(1), SCALARS)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            updater(DATA, rows(3), SCALARS)
    assert [record.getMessage()[:30] for record in caplog.records] == ["XLA cannot compile the update,"]
    reference = TFUpdater(objective(plain, optimizers[1]), None)
    for _ in range(2):
        reference(DATA, rows(3), SCALARS)
    for mine, other in zip(refused.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5)


def test_a_layer_shared_by_two_models_counts_once() -> None:
    keras.utils.set_random_seed(0)
    trunk = keras.layers.Dense(8)
    inputs = keras.layers.Input((4,))
    first = keras.Model(inputs, keras.layers.Dense(1)(trunk(inputs)))
    second = keras.Model(inputs, keras.layers.Dense(1)(trunk(inputs)))
    updater = TFUpdater(Objective(squared_error, (first, second), keras.optimizers.SGD()), None)
    assert len(updater._trained[0].variables) == 6


def test_an_error_of_the_users_own_loss_is_not_called_one_of_xla(caplog: pytest.LogCaptureFixture) -> None:
    def wrong(models: Any, batch: Any, scalars: Any) -> Any:
        raise LookupError("my own")

    model, optimizer = network(), keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    with caplog.at_level(logging.WARNING), pytest.raises(Exception, match="my own"):
        TFUpdater(Objective(wrong, (model,), optimizer), True)(DATA, rows(2), SCALARS)
    assert not caplog.records


def test_a_model_whose_output_is_cut_off_from_its_weights_is_named() -> None:
    def stopped(outputs: int) -> keras.Model:
        return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(outputs), models.Stopped()])

    def actor_only(outputs: int) -> keras.Model:
        return stopped(outputs) if outputs == 2 else models.dense(outputs)

    for make in (models.dqn(stopped), models.ppo(actor_only)):
        with pytest.raises(ContractError, match="Sequential cannot be trained: what it returns is cut off"):
            make(0).learn(window(seed=0))
