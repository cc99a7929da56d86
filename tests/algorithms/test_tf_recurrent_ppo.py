"""Recurrent PPO with a Keras network of one's own; the recipe is tested in `test_recurrent_ppo`."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tensor_optix import BatchPipeline, HyperparamSet, TFRecurrentPPOAgent


class Own(keras.Model):
    """A GRU cell, step by step."""

    memory_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = keras.layers.GRUCell(8), keras.layers.Dense(3)
        self(tf.zeros((1, 1, 4)), tf.zeros((1, 8)), tf.zeros((1, 1), tf.bool))

    def call(self, observations: Any, memory: Any, begins: Any, training: bool = False) -> Any:
        def step(memory: Any, inputs: Any) -> Any:
            now, begins_now = inputs
            return self.cell(now, memory * tf.cast(~begins_now, memory.dtype)[:, None])[0]

        steps = tf.scan(step, (tf.transpose(observations, [1, 0, 2]), tf.transpose(begins)), initializer=memory)
        return self.head(tf.transpose(steps, [1, 0, 2])), steps[-1]


def test_a_network_of_ones_own_learns() -> None:
    keras.utils.set_random_seed(0)
    network = Own()
    params = HyperparamSet({"n_epochs": 2, "sequence_length": 8})
    agent = TFRecurrentPPOAgent(network, keras.optimizers.Adam(1e-2), params, seed=0, compile=False)
    assert agent.get_hyperparams().params["learning_rate"] == 1e-2
    pipeline = BatchPipeline("CartPole-v1", agent, window_size=50, seed=0)
    pipeline.setup()
    before = network.head.kernel.numpy()
    diagnostics = agent.learn(next(iter(pipeline.episodes())))
    assert np.isfinite(list(diagnostics.values())).all()
    assert not np.array_equal(network.head.kernel.numpy(), before)
