"""Keras models of several inputs."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from tensor_optix.adapters.tensorflow.inputs import PairModel, TFDictModel, check_inputs, pair_model
from tensor_optix.errors import ContractError, SpaceError
from tests.fakes.keras_models import DICT, L, dense, of_dict, of_two, own_of_two

PAIR = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)


def test_a_model_gets_the_members_of_the_space() -> None:
    inner = of_dict(2)
    x = np.arange(18, dtype=np.float32).reshape(2, 9)
    expected = inner({"image": x[:, :4].reshape(2, 2, 2), "side": x[:, 4:7], "speed": x[:, 7:]})
    np.testing.assert_array_equal(TFDictModel(DICT, inner)(x), expected)


def test_a_model_that_is_not_built_is_built() -> None:
    class Sum(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.head = L.Dense(2)

        def call(self, parts: Any) -> Any:
            return self.head(tf.concat(parts, -1))

    model = TFDictModel(spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1, (3,))]), Sum())
    assert model.built
    assert [tuple(v.shape) for v in model.weights] == [(5, 2), (2,)]


def test_a_space_without_members_is_refused() -> None:
    with pytest.raises(SpaceError):
        TFDictModel(spaces.Discrete(2), dense(2))


def swapped() -> keras.Model:
    action, observation = L.Input((2,)), L.Input((4,))
    return keras.Model([action, observation], L.Dense(1)(L.concatenate([action, observation])))


def named() -> keras.Model:
    inputs = {name: L.Input((size,), name=name) for name, size in (("observation", 4), ("action", 2))}
    return keras.Model(inputs, L.Dense(1)(L.concatenate([inputs["observation"], inputs["action"]])))


@pytest.mark.parametrize(
    ("made", "call"),
    [
        (lambda: of_two(1), lambda model, x, y: model([x, y])),
        (swapped, lambda model, x, y: model([y, x])),
        (named, lambda model, x, y: model({"observation": x, "action": y})),
        (lambda: own_of_two(1), lambda model, x, y: model(x, y)),
    ],
)
def test_a_model_of_two_inputs_gets_them_apart(made: Any, call: Any) -> None:
    critic = made()
    model = pair_model(critic, 2)
    assert isinstance(model, PairModel)
    np.testing.assert_array_equal(model(PAIR), call(critic, PAIR[:, :4], PAIR[:, 4:]))
    assert [id(v) for v in model.trainable_variables] == [id(v) for v in critic.trainable_variables]


def test_whatever_else_is_left_as_it_is() -> None:
    for model in (dense(1), "no model", None):
        assert pair_model(model, 2) is model


def test_several_inputs_are_refused() -> None:
    check_inputs("actor", dense(2))
    for model, n in ((of_dict(2), 3), (of_two(2), 2), (own_of_two(1), 2)):
        with pytest.raises(ContractError, match=rf"actor takes {n} inputs.*TFDictModel"):
            check_inputs("actor", model)
