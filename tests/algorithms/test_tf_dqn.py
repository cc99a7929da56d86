"""What is Keras' own in DQN; `test_dqn.py` tests the recipe on both frameworks."""

import pytest

from tensor_optix.core.types import HyperparamSet
from tests.algorithms.off_policy import (
    window,
)


@pytest.mark.usefixtures("plain_graphs")
def test_a_model_with_dropout_has_a_target_in_keras() -> None:
    import keras

    from tensor_optix import TFDQNAgent

    layers = keras.layers
    net = keras.Sequential([layers.Input((3,)), layers.Dense(8, "relu"), layers.Dropout(0.5), layers.Dense(2)])
    agent = TFDQNAgent(net, 2, keras.optimizers.Adam(), HyperparamSet({"batch_size": 8, "learning_starts": 8}), seed=0)
    assert agent.learn(window(16))["n_updates"] == 4
