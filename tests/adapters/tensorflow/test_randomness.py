"""What Keras models draw comes from the agent's seed, and the rest of the program draws what it would have drawn."""

import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tensor_optix.adapters.tensorflow._randomness import (
    TFRandomness,
    check_randomness,
    may_be_unseeded,
    refuse_unseeded,
)
from tensor_optix.errors import CheckpointMismatchError, ContractError
from tests.fakes.keras_models import L, Noisy, between, dense, own


def dropped(seed: int | None = None) -> Any:
    return keras.Sequential([L.Input((4,)), L.Dropout(0.5, seed=seed), L.Dense(2)])


def seeded(seed: int | None, models: Any = None) -> TFRandomness:
    randomness = TFRandomness()
    randomness.seed(models or {}, seed)
    return randomness


def drawn(randomness: TFRandomness) -> list[float]:
    with randomness:
        of_keras, of_tensorflow = keras.random.uniform((2,)), tf.random.get_global_generator().uniform((2,))
    return [*np.asarray(of_keras).tolist(), *of_tensorflow.numpy().tolist()]


def test_the_same_seed_draws_the_same_and_the_program_goes_on_where_it_was() -> None:
    keras.utils.set_random_seed(0)
    first, second = seeded(3), seeded(3)
    before = drawn(first)
    outside = np.asarray(keras.random.uniform((2,))).tolist()
    assert drawn(second) == before
    assert drawn(first) != before
    assert drawn(seeded(4)) != before
    keras.utils.set_random_seed(0)
    assert np.asarray(keras.random.uniform((2,))).tolist() == outside


def test_it_goes_on_from_a_state() -> None:
    models = {"actor": dropped(), "critic": dropped()}
    one, other = seeded(3, models), seeded(4)
    drawn(one)
    state = one.state(models)
    assert set(state) == {"keras", "tensorflow", "actor.0", "critic.0"}
    expected = drawn(one)
    others = {"actor": dropped(), "critic": dropped()}
    other.restore(others, state)
    assert drawn(other) == expected
    for name, array in other.state(others).items():
        np.testing.assert_array_equal(array, one.state(models)[name])
    other.restore(others, {})  # a state of before there was one


@pytest.mark.parametrize("wrong", [np.zeros(3, np.int64), np.zeros(2, np.float32)])
def test_what_is_no_state_is_refused_and_changes_nothing(wrong: np.ndarray) -> None:
    randomness = seeded(3)
    before = randomness.state({})
    with pytest.raises(CheckpointMismatchError, match="saved state of generator 'keras'"):
        randomness.restore({}, {"tensorflow": before["tensorflow"] + 1, "keras": wrong})
    np.testing.assert_array_equal(randomness.state({})["tensorflow"], before["tensorflow"])


def test_layers_keep_their_own_seeds_where_the_agent_has_none() -> None:
    model = dropped(seed=11)
    (generator,) = model.layers[0]._seed_generators
    seeded(None, {"actor": model})
    assert generator.state.numpy().tolist() == [11, 0]
    seeded(3, {"actor": model})
    assert generator.state.numpy().tolist() != [11, 0]


def test_a_shared_layer_counts_once() -> None:
    model = dropped()
    assert set(seeded(3).state({"actor": model, "critic": model})) == {"keras", "tensorflow", "actor.0"}


UNSEEDED: dict[str, Any] = {
    "uniform": between(lambda: Noisy(tf.random.uniform)),
    "dropout": between(lambda: L.Lambda(lambda x: tf.nn.dropout(x, 0.5))),
    "truncated": between(lambda: Noisy(tf.random.truncated_normal)),
}


@pytest.mark.parametrize("kind", UNSEEDED)
def test_what_no_seed_repeats_is_refused(kind: str) -> None:
    with pytest.raises(ContractError, match=r"actor draws random numbers by TensorFlow's .*Use keras.layers.Dropout"):
        check_randomness("actor", UNSEEDED[kind](2))


@pytest.mark.parametrize("kind", [dense, own, between(lambda: Noisy(keras.random.normal))])
def test_what_a_seed_repeats_is_not(kind: Any) -> None:
    check_randomness("actor", kind(2))


def test_a_graph_is_looked_through_to_its_loops() -> None:
    @tf.function
    def looped() -> Any:
        return tf.while_loop(lambda i: i < 3, lambda i: i + tf.cast(tf.random.uniform(()) > 2, tf.int32) + 1, [0])

    with pytest.raises(ContractError, match="RandomUniform"):
        refuse_unseeded("A model", looped.get_concrete_function().graph)


def test_only_code_of_the_users_own_is_looked_at() -> None:
    assert not may_be_unseeded(dropped())
    assert may_be_unseeded(own(2))
    assert may_be_unseeded(UNSEEDED["dropout"](2))


_DETERMINISTIC = """
import numpy as np, tensorflow as tf
tf.config.experimental.enable_op_determinism()
tf.keras.utils.set_random_seed(0)
from tensor_optix.adapters.tensorflow._randomness import TFRandomness
randomness = TFRandomness()
randomness.seed({}, 3)
with randomness:
    inside = tf.random.get_global_generator().uniform([]).numpy()
try:
    tf.random.get_global_generator()
except RuntimeError:
    print("none outside", inside > 0)
"""


def test_operations_may_be_deterministic_which_leaves_no_generator_of_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", _DETERMINISTIC], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.split("\n")[0] == "none outside True"
