"""The generic agent on Keras models: it makes the steps of PyTorch's, and refuses what is no Keras."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from gymnasium import spaces

from tensor_optix.adapters.tensorflow.tf_agent import TFAgent
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import ContractError, HyperparamError, ModelShapeError
from tests.fakes.policy_gradient import agent_of, linear, window

PARAMS = {"learning_rate": 0.1, "gamma": 0.5, "entropy_coef": 0.2}


def dense(size: int = 3, n_actions: int = 2) -> keras.Sequential:
    return keras.Sequential([keras.layers.Input((size,)), keras.layers.Dense(n_actions)])


def agent(model: Any = None, optimizer: Any = None, params: dict[str, Any] = PARAMS, **kwargs: Any) -> TFAgent:
    optimizer = keras.optimizers.SGD(0.1) if optimizer is None else optimizer
    return TFAgent(dense() if model is None else model, optimizer, HyperparamSet(params), seed=0, **kwargs)


@pytest.mark.parametrize(
    "values", [None, np.array([0.3, -1.0, 2.0, 0.0, 1.5, 4.0], np.float32)], ids=["none", "values"]
)
def test_a_step_is_that_of_pytorch(values: np.ndarray | None, tmp_path: Path) -> None:
    module, model = linear(), dense()
    reference, ours = agent_of(module, lr=0.1, gamma=0.5, entropy_coef=0.2), agent(model)
    reference.save_weights(str(tmp_path / "weights"))
    ours.load_weights(str(tmp_path / "weights"))
    data = window(values=values)
    expected, found = reference.learn(data), ours.learn(data)
    assert found.pop("baseline_type") == expected.pop("baseline_type")
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
    kernel, bias = model.get_weights()
    layer: Any = module[0]
    np.testing.assert_allclose(kernel.T, layer.weight.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bias, layer.bias.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_snapshot_acts_the_same_in_pytorch(tmp_path: Path) -> None:
    ours, other = agent(), agent_of(linear(seed=5))
    ours.save_weights(str(tmp_path / "weights"))
    other.load_weights(str(tmp_path / "weights"))
    observations = np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        ours.act_batch(observations, deterministic=True), other.act_batch(observations, deterministic=True)
    )
    ours.seed(3)
    other.seed(3)
    np.testing.assert_array_equal(ours.act_batch(observations), other.act_batch(observations))
    assert type(ours.act(observations[0])) is int


def test_a_custom_loss_replaces_the_policy_gradient() -> None:
    model, seen = dense(), []

    def pull_to_zero(given: Any, data: EpisodeData) -> Any:
        seen.append((given, data))
        return tf.reduce_sum(tf.square(given(data.observations)))

    data, before = window(), model.get_weights()
    logits = data.observations @ before[0] + before[1]
    found = agent(model, compute_loss_fn=pull_to_zero).learn(data)
    assert seen == [(model, data)]
    assert found["loss"] == pytest.approx(float(np.square(logits).sum()), rel=1e-5)
    assert (found["baseline_type"], found["explained_variance"]) == ("custom", 0.0)
    np.testing.assert_allclose(model.get_weights()[1], before[1] - 0.1 * 2.0 * logits.sum(0), rtol=1e-4, atol=1e-5)


def test_the_learning_rate_is_put_in_force_and_read_back() -> None:
    optimizer = keras.optimizers.SGD(0.7)
    made = agent(optimizer=optimizer, params={})
    assert float(optimizer.learning_rate) == pytest.approx(0.7)
    made.set_hyperparams(HyperparamSet({"learning_rate": 0.25}))
    assert float(optimizer.learning_rate) == pytest.approx(0.25)
    assert made.effective_hyperparams() == pytest.approx({"learning_rate": 0.25})


def test_spaces_are_compared_with_what_the_model_gives() -> None:
    box = spaces.Box(-1.0, 1.0, (3,), np.float32)
    agent().check_spaces(box, spaces.Discrete(2))
    with pytest.raises(ModelShapeError, match=r"\(2, 4\) is needed"):
        agent().check_spaces(box, spaces.Discrete(4))


class TestBadInput:
    def test_what_is_no_keras(self) -> None:
        with pytest.raises(ContractError, match=r"model must be a keras\.Model, but got Sequential"):
            agent(linear())
        with pytest.raises(ContractError, match=r"optimizer must be a keras\.optimizers\.Optimizer, but got SGD"):
            agent(optimizer=torch.optim.SGD(linear().parameters()))

    def test_a_model_that_is_not_built(self) -> None:
        with pytest.raises(ModelShapeError, match="not built"):
            agent(keras.Sequential([keras.layers.Dense(2)]))

    def test_an_optimizer_of_other_variables(self) -> None:
        taken = keras.optimizers.SGD()
        taken.build(dense(5).trainable_variables)
        with pytest.raises(ContractError, match="optimizer is already bound"):
            agent(optimizer=taken)

    def test_hyperparams_that_are_misspelt(self) -> None:
        with pytest.raises(HyperparamError, match="Did you mean 'gamma'"):
            agent(params={"gama": 0.9})
