"""Names and values of Keras variables."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tensor_optix.adapters.tensorflow._variables import (
    as_array,
    computes_in_float16,
    named_variables,
    number_type,
    plain_name,
    trainable_weights,
)
from tests.fakes.keras_models import Unnamed, between, dense, frozen, policy, shared


def test_names_are_the_same_however_many_models_the_process_has() -> None:
    first, second = between(Unnamed)(2), between(Unnamed)(2)
    names = list(named_variables({"actor": first}))
    assert names == list(named_variables({"actor": second}))
    assert names[2] == "actor.2.variable"
    assert plain_name("actor.2.variable_17") == "actor.2.variable"
    assert plain_name("actor.2.kernel_17") == "actor.2.kernel_17"


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int64"])
def test_an_array_is_a_copy(dtype: str) -> None:
    variable = keras.Variable(np.ones(3), dtype=dtype)
    array = as_array(variable)
    assert array.dtype == ("float32" if dtype == "bfloat16" else dtype)
    variable.assign(np.zeros(3))
    assert array.all()
    assert as_array(tf.Variable(tf.ones(2, tf.bfloat16))).dtype == np.float32


def test_what_learns_includes_what_is_frozen_now_and_counts_once() -> None:
    assert len(trainable_weights([frozen(2)])) == 4
    models = shared(0)._models
    assert len(trainable_weights([models["actor"], models["critic"]])) == 6


def test_the_precision_is_that_of_the_weights_and_at_least_float32() -> None:
    with policy("float64"):
        double = dense(2)
    with policy("mixed_float16"):
        half = dense(2)
    assert number_type([dense(2), half]) == tf.float32
    assert number_type([half, double]) == tf.float64
    assert computes_in_float16(half)
    assert not computes_in_float16(double)
