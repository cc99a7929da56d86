"""Keras models of several inputs."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from tensor_optix.adapters.tensorflow.inputs import MemberModel, PairModel, TFDictModel, member_model, pair_model
from tensor_optix.errors import ContractError, SpaceError
from tests.fakes.keras_models import DICT, L, critic_of_dict, dense, listed, of_dict, of_two, own_of_dict, own_of_two

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


X = np.arange(18, dtype=np.float32).reshape(2, 9)
MEMBERS = {"speed": X[:, 7:], "image": X[:, :4].reshape(2, 2, 2), "side": X[:, 4:7]}


@pytest.mark.parametrize(
    ("make", "call"),
    [
        (of_dict, lambda model: model(MEMBERS)),
        (listed, lambda model: model(list(MEMBERS.values()))),
        (own_of_dict, lambda model: model(MEMBERS)),
    ],
)
def test_a_model_that_takes_members_needs_no_wrapper(make: Any, call: Any) -> None:
    inner = make(2)
    model = member_model(inner)
    assert isinstance(model, MemberModel)
    model.members.wire(DICT)
    np.testing.assert_array_equal(model(X), call(inner))
    assert [id(v) for v in model.trainable_variables] == [id(v) for v in inner.trainable_variables]


def test_a_model_of_one_array_is_left_as_it_is() -> None:
    inputs = L.Input((4,))
    for model in (dense(2), keras.Model(inputs, L.Dense(2)(inputs)), "no model"):
        assert member_model(model) is model


def critic_of_names() -> keras.Model:
    shapes = {"speed": (2,), "image": (2, 2), "side": (3,), "action": (2,)}
    inputs = {name: L.Input(shape, name=name) for name, shape in shapes.items()}
    flat = [L.Flatten()(one) for one in inputs.values()]
    return keras.Model(inputs, L.Dense(1)(L.concatenate(flat)))


@pytest.mark.parametrize(
    ("made", "call"),
    [
        (critic_of_names, lambda model, action: model({**MEMBERS, "action": action})),
        (lambda: critic_of_dict(1), lambda model, action: model([MEMBERS, action])),
    ],
)
def test_a_critic_takes_members_and_the_action(made: Any, call: Any) -> None:
    critic = made()
    model = pair_model(critic, 2)
    model.members.wire(DICT)
    np.testing.assert_array_equal(model(np.concatenate([X, X[:, :2]], -1)), call(critic, X[:, :2]))


def test_before_it_is_wired_the_remedy_is_named() -> None:
    with pytest.raises(ContractError, match=r"Functional takes the members.*TFDictModel\(env.observation_space"):
        member_model(of_dict(2))(X)
