from typing import Any

import keras
import numpy as np
import pytest

from tensor_optix.adapters.tensorflow.backend import TFBackend
from tensor_optix.errors import (
    CheckpointMismatchError,
    ContractError,
    HyperparamError,
    ModelShapeError,
    NonFiniteError,
)

BACKEND = TFBackend()


def network(size: int = 2) -> keras.Sequential:
    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(size)])


def check(model: Any, optimizer: Any) -> None:
    BACKEND.check({"actor": model}, {"optimizer": (optimizer, ("actor",))})


def test_weights_are_named_by_position_and_come_back() -> None:
    first, second = network(), network()
    weights = BACKEND.weights({"actor": first})
    assert list(weights) == ["actor.0.kernel", "actor.1.bias", "actor.2.kernel", "actor.3.bias"]
    BACKEND.set_weights({"actor": second}, weights)
    for name, array in BACKEND.weights({"actor": second}).items():
        np.testing.assert_array_equal(array, weights[name])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda w: w.pop("actor.2.kernel"),
            CheckpointMismatchError,
            r"lacks tensor 'actor.2.kernel' of shape \(8, 2\)",
        ),
        (
            lambda w: w.update({"actor.2.kernel": np.zeros((8, 3), np.float32)}),
            CheckpointMismatchError,
            r"'actor.2.kernel' has shape \(8, 3\) in the snapshot, but \(8, 2\) in the model",
        ),
        (lambda w: w.update({"actor.9.x": np.zeros(1)}), CheckpointMismatchError, "has tensor 'actor.9.x'"),
        (lambda w: w["actor.3.bias"].fill(np.nan), NonFiniteError, "'actor.3.bias' holds 2 values"),
    ],
)
def test_weights_that_do_not_fit_name_the_tensor_and_change_nothing(
    change: Any, error: type[Exception], message: str
) -> None:
    model = network()
    before = BACKEND.weights({"actor": model})
    wrong = {name: array + 1 for name, array in before.items()}
    change(wrong)
    with pytest.raises(error, match=message):
        BACKEND.set_weights({"actor": model}, wrong)
    for name, array in BACKEND.weights({"actor": model}).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("kind", ["Adam", "SGD", "RMSprop"])
def test_the_optimizer_goes_on_from_its_state(kind: str) -> None:
    first, second = (getattr(keras.optimizers, kind)(0.1) for _ in range(2))
    models = network(), network()
    models[1].set_weights(models[0].get_weights())
    first.build(models[0].trainable_variables)
    second.build(models[1].trainable_variables)
    gradients = [np.ones(v.shape, np.float32) for v in models[0].trainable_variables]
    first.apply(gradients)
    arrays, settings = BACKEND.optimizer_state(first)
    BACKEND.set_optimizer_state(second, arrays, settings)
    models[1].set_weights(models[0].get_weights())
    first.apply(gradients)
    second.apply(gradients)
    for mine, other in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_the_state_of_another_kind_of_optimizer_is_refused() -> None:
    model = network()
    adam, sgd = keras.optimizers.Adam(), keras.optimizers.SGD()
    adam.build(model.trainable_variables)
    sgd.build(model.trainable_variables)
    with pytest.raises(CheckpointMismatchError, match="saved optimizer is 'Adam', this is 'SGD'"):
        BACKEND.set_optimizer_state(sgd, *BACKEND.optimizer_state(adam))


def test_the_learning_rate_is_put_in_force_and_a_schedule_is_refused() -> None:
    optimizer = keras.optimizers.Adam(0.1)
    BACKEND.set_learning_rates(optimizer, [0.25])
    assert float(optimizer.learning_rate) == 0.25
    scheduled = keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9))
    with pytest.raises(HyperparamError, match="LearningRateSchedule"):
        BACKEND.set_learning_rates(scheduled, [0.1])


def test_a_model_that_is_not_built_is_refused_by_name() -> None:
    with pytest.raises(ModelShapeError, match="actor is not built"):
        check(keras.Sequential([keras.layers.Dense(2)]), keras.optimizers.Adam())


@pytest.mark.parametrize(
    ("model", "optimizer", "message"),
    [
        (object(), keras.optimizers.Adam(), "actor must be a keras.Model, but got object"),
        (network(), "adam", "optimizer must be a keras.optimizers.Optimizer, but got str"),
    ],
)
def test_objects_of_another_kind_are_refused_by_name(model: Any, optimizer: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        check(model, optimizer)


def test_an_optimizer_bound_to_other_variables_is_refused() -> None:
    optimizer = keras.optimizers.Adam()
    optimizer.build(network().trainable_variables)
    with pytest.raises(ContractError, match="already bound to other variables"):
        check(network(), optimizer)


def test_an_optimizer_bound_to_the_same_variables_is_taken() -> None:
    model, optimizer = network(), keras.optimizers.Adam()
    check(model, optimizer)
    check(model, optimizer)
