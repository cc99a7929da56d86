from typing import Any

import keras
import numpy as np
import pytest

from tensor_optix import BatchPipeline, HyperparamSet, TFAgent, TFPPOAgent, make_agent
from tensor_optix.adapters.tensorflow._adam import PaperAdam
from tensor_optix.errors import HyperparamError, ModelShapeError
from tests.fakes.environments import Identity
from tests.fakes.weights import weights_of


def network(n_in: int, n_out: int) -> keras.Sequential:
    return keras.Sequential([keras.layers.Input((n_in,)), keras.layers.Dense(16, "tanh"), keras.layers.Dense(n_out)])


def build(**params: Any) -> TFPPOAgent:
    keras.utils.set_random_seed(0)
    return TFPPOAgent(network(3, 3), network(3, 1), keras.optimizers.Adam(), HyperparamSet(params), seed=0)


def test_it_learns_the_identity() -> None:
    agent = build(learning_rate=1e-2, gamma=0.5)
    windows = BatchPipeline(Identity(3, length=20), agent, window_size=256, seed=0).episodes()
    for _ in range(12):
        diagnostics = agent.learn(next(windows))
    assert set(diagnostics) >= {
        "policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction", "explained_var", "n_updates",
    }  # fmt: skip
    np.testing.assert_array_equal(agent.act_batch(np.eye(3), deterministic=True), [0, 1, 2])


@pytest.mark.usefixtures("plain_graphs")
def test_the_generic_agent_learns_the_identity() -> None:
    keras.utils.set_random_seed(0)
    agent = TFAgent(
        network(3, 3), keras.optimizers.Adam(), HyperparamSet({"learning_rate": 3e-2, "gamma": 0.0}), seed=0
    )
    windows = BatchPipeline(Identity(3, length=20), agent, window_size=256, seed=0).episodes()
    for _ in range(40):
        diagnostics = agent.learn(next(windows))
    assert set(diagnostics) == {"loss", "grad_norm", "baseline_type", "explained_variance"}
    np.testing.assert_array_equal(agent.act_batch(np.eye(3), deterministic=True), [0, 1, 2])


def test_tuning_traces_nothing_again() -> None:
    agent = build(minibatch_size=32)
    windows = BatchPipeline(Identity(3, length=20), agent, window_size=128, seed=0).episodes()
    for change in ({}, {"learning_rate": 1e-4}, {"clip_ratio": 0.1}, {"entropy_coef": 0.0}, {"n_epochs": 7}):
        agent.set_hyperparams(HyperparamSet({**agent.get_hyperparams().params, **change}))
        agent.learn(next(windows))
    assert agent._update.traces == 1  # type: ignore[attr-defined]
    assert agent._policy._always_read is False  # type: ignore[attr-defined]


def test_a_first_window_finds_its_update_compiled_and_learns_the_same() -> None:
    learned: list[dict[str, np.ndarray]] = []
    for is_ahead in (False, True):
        agent = build(minibatch_size=32)
        if is_ahead:
            agent.compile_ahead(np.zeros((128, 3), np.float32))
        agent.learn(next(BatchPipeline(Identity(3, length=20), agent, window_size=128, seed=0).episodes()))
        assert agent._update.traces == 1  # type: ignore[attr-defined]
        assert agent._policy._always_read is False  # type: ignore[attr-defined]
        learned.append(weights_of(agent))
    assert learned[0].keys() == learned[1].keys()
    assert all(np.array_equal(learned[0][name], learned[1][name]) for name in learned[0])


def test_the_learning_rate_reaches_the_optimizer_and_reads_back_exactly() -> None:
    agent = build(learning_rate=3e-4)
    agent.set_hyperparams(HyperparamSet({"learning_rate": 1.2345e-3}))
    assert agent.get_hyperparams().params["learning_rate"] == 1.2345e-3
    assert agent.effective_hyperparams()["learning_rate"] == pytest.approx(1.2345e-3)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights() -> None:
    def trained() -> dict[str, np.ndarray]:
        agent = make_agent("CartPole-v1", framework="tf", seed=4)
        for _, window in zip(
            range(2), BatchPipeline("CartPole-v1", agent, window_size=128, seed=1).episodes(), strict=False
        ):
            agent.learn(window)
        return weights_of(agent)

    first, second = trained(), trained()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


@pytest.mark.usefixtures("plain_graphs")
def test_a_learned_update_shows_in_the_next_action() -> None:
    keras.utils.set_random_seed(0)
    actor = network(3, 3)
    agent = TFPPOAgent(actor, network(3, 1), keras.optimizers.Adam(), HyperparamSet({}), seed=0)
    window = next(iter(BatchPipeline(Identity(3, length=20), agent, window_size=64, seed=0).episodes()))
    for _ in range(2):
        agent.learn(window)
        expected = keras.ops.softmax(actor(np.eye(3, dtype=np.float32))).numpy()
        np.testing.assert_allclose(agent.action_probs(np.eye(3)), expected, atol=1e-6)


@pytest.mark.parametrize(("actor", "critic", "message"), [
    (network(3, 5), network(3, 1), r"actor returns shape \(2, 5\).*\(2, 3\) is needed"),
    (network(3, 3), network(3, 2), r"critic returns shape \(2, 2\).*\(2, 1\) is needed"),
    (network(4, 3), network(3, 1), r"actor cannot take observations of shape \(2, 3\)"),
])  # fmt: skip
def test_a_model_of_the_wrong_size_is_refused_with_both_shapes(actor: Any, critic: Any, message: str) -> None:
    agent = TFPPOAgent(actor, critic, keras.optimizers.Adam(), HyperparamSet({}))
    env = Identity(3, length=20)
    with pytest.raises(ModelShapeError, match=message):
        agent.check_spaces(env.observation_space, env.action_space)


def test_a_misspelt_hyper_parameter_is_refused() -> None:
    with pytest.raises(HyperparamError, match="Did you mean 'clip_ratio'"):
        build(clip_ratoi=0.1)


def test_the_papers_adam_is_kept() -> None:
    """One step from zero moments moves each weight by lr·g/(|g| + ε)."""
    variable = keras.Variable(np.array([1.0, 2.0], np.float32))
    optimizer = PaperAdam(0.1, epsilon=0.5)
    optimizer.build([variable])
    optimizer.apply([np.array([0.5, -1.5], np.float32)])
    np.testing.assert_allclose(variable.numpy(), [1.0 - 0.1 * 0.5, 2.0 + 0.1 * 0.75], rtol=1e-5)


class Subclassed(keras.Model):
    """A model that no mirror can stand for."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.hidden, self.head = keras.layers.Dense(8, "tanh"), keras.layers.Dense(size)

    def call(self, x: Any) -> Any:
        return self.head(self.hidden(x) * 2.0)


@pytest.mark.slow
def test_subclassed_models_learn_through_xla_too(caplog: pytest.LogCaptureFixture) -> None:
    keras.utils.set_random_seed(0)
    actor, critic = Subclassed(3), Subclassed(1)
    actor(np.zeros((1, 3), np.float32))
    critic(np.zeros((1, 3), np.float32))
    agent = TFPPOAgent(
        actor, critic, keras.optimizers.Adam(), HyperparamSet({"learning_rate": 1e-2, "gamma": 0.5}), seed=0
    )
    windows = BatchPipeline(Identity(3, length=20), agent, window_size=256, seed=0).episodes()
    for _ in range(30):
        agent.learn(next(windows))
    np.testing.assert_array_equal(agent.act_batch(np.eye(3), deterministic=True), [0, 1, 2])
    assert not [record for record in caplog.records if record.name.startswith("tensor_optix")]
