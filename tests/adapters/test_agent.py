"""What all built-in agents share: restored whichever of their tensors is invalid, rates in force, noise, seeds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import HyperparamSet, make_agent
from tensor_optix.adapters.saving.weights import shared_names
from tensor_optix.core.base_agent import ReportsEffectiveHyperparams, RestartsOptimizer
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.mutation import PerturbsWeights
from tensor_optix.core.loop.guard import Health
from tensor_optix.core.loop.learning import learn_guarded
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ContractError, HyperparamError, InvalidArgumentError
from tests.fakes import keras_models, torch_models
from tests.fakes.built_in import AGENTS, agent_of, both_frameworks
from tests.fakes.weights import model_weights, set_nan, weights_of
from tests.fakes.windows import windows

pytestmark = pytest.mark.usefixtures("plain_graphs")


@pytest.mark.parametrize("framework", ["torch", pytest.param("tf", marks=pytest.mark.slow)])
def test_each_invalid_tensor_is_caught_and_the_agent_is_restored(framework: str, tmp_path: Path) -> None:
    agent: Any = make_agent("CartPole-v1", framework=framework, seed=0, net_arch=[4])
    first, second = windows(2)
    agent.learn(first)
    registry, health = CheckpointRegistry(tmp_path / "run"), Health()
    state = agent.snapshot()
    weights = weights_of(agent)
    before = agent.first_non_finite(), {name: array.copy() for name, array in weights.items()}
    assert before[0] is None
    caught = []
    original = type(agent).learn
    for name in weights:

        def poisoned(window: EpisodeData, name: str = name) -> dict[str, Any]:
            found = original(agent, window)
            set_nan(agent, framework, name)
            return found

        agent.learn = poisoned
        _, fault = learn_guarded(agent, registry, health, second)
        caught.append(fault)
        after = weights_of(agent)
        assert all(np.array_equal(after[key], before[1][key]) for key in after)
        agent.restore(state)
    assert caught == [f"{name} is not finite after learn()" for name in weights]
    del agent.learn
    assert learn_guarded(agent, registry, health, second)[1] is None  # what is valid passes


@both_frameworks
def test_a_restarted_optimizer_makes_the_step_of_a_new_one(framework: str, tmp_path: Path) -> None:
    used, new = (make_agent("CartPole-v1", framework=framework, seed=seed, net_arch=[4]) for seed in (0, 1))
    assert isinstance(used, RestartsOptimizer)
    first, second = windows(2)
    used.set_hyperparams(HyperparamSet({**used.get_hyperparams().params, "learning_rate": 1e-3}))
    used.learn(first)
    used.save_weights(str(tmp_path / "weights"))
    used.restart_optimizer()
    assert used.effective_hyperparams()["learning_rate"] == pytest.approx(1e-3)
    new.load_weights(str(tmp_path / "weights"))
    new.set_hyperparams(used.get_hyperparams())
    for agent in (used, new):
        agent.seed(2)
        agent.learn(second)
    ours, theirs = model_weights(used), model_weights(new)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


@both_frameworks
@pytest.mark.parametrize(("env", "algorithm"), AGENTS)
def test_the_effective_learning_rate_is_the_optimizers_own(env: str, algorithm: str, framework: str) -> None:
    agent = agent_of(env, algorithm, framework)
    assert isinstance(agent, ReportsEffectiveHyperparams)
    agent.set_hyperparams(HyperparamSet({**agent.get_hyperparams().params, "learning_rate": 2e-4}))
    assert agent.effective_hyperparams()["learning_rate"] == pytest.approx(2e-4)
    optimizer = next(iter(agent._optimizers.values()))
    agent._backend.set_learning_rates(optimizer, [5e-3])  # behind the agent's back
    assert agent.effective_hyperparams()["learning_rate"] == pytest.approx(5e-3)


@both_frameworks
@pytest.mark.parametrize(("env", "algorithm"), AGENTS)
def test_weights_are_perturbed_by_a_share_of_their_size(env: str, algorithm: str, framework: str) -> None:
    agent = agent_of(env, algorithm, framework)
    assert isinstance(agent, PerturbsWeights)
    before = model_weights(agent)
    agent.perturb_weights(0.1, np.random.default_rng(0))
    after = model_weights(agent)
    for name, array in before.items():
        size = float(np.sqrt(np.square(array).mean()))
        if array.size > 20:
            assert np.std(after[name] - array) == pytest.approx(0.1 * size, rel=0.5, abs=1e-9), name
    agent.perturb_weights(0.0, np.random.default_rng(0))
    assert all(np.array_equal(after[name], array) for name, array in model_weights(agent).items())


@both_frameworks
def test_a_weight_that_models_share_is_perturbed_once_for_both(framework: str) -> None:
    agent = (torch_models if framework == "torch" else keras_models).shared(0)
    before = model_weights(agent)
    agent.perturb_weights(0.1, np.random.default_rng(0))
    after = model_weights(agent)
    shared = shared_names(before)
    assert len(shared) == 2
    assert shared_names(after) == shared
    kernel = next(name for name in shared if before[name].ndim == 2)
    size = float(np.sqrt(np.square(before[kernel]).mean()))
    assert np.std(after[kernel] - before[kernel]) == pytest.approx(0.1 * size, rel=0.3)


@both_frameworks
@pytest.mark.parametrize(("env", "algorithm"), AGENTS)
def test_values_that_are_refused_change_nothing(env: str, algorithm: str, framework: str) -> None:
    agent = agent_of(env, algorithm, framework)
    before = agent.get_hyperparams()
    with pytest.raises(ContractError, match=r"must be a HyperparamSet, but got \{'gamma': 0.9\}"):
        agent.set_hyperparams({"gamma": 0.9})
    with pytest.raises(HyperparamError, match="learning_rate"):
        agent.set_hyperparams(HyperparamSet({**before.params, "gamma": 0.5, "learning_rate": -1.0}))
    assert agent.get_hyperparams() == before
    before.params["gamma"] = 0.0
    assert agent.get_hyperparams().params["gamma"] != 0.0  # what is handed out is a copy


@both_frameworks
@pytest.mark.parametrize(("env", "algorithm"), AGENTS)
def test_a_seed_restarts_what_is_drawn(env: str, algorithm: str, framework: str) -> None:
    agent = agent_of(env, algorithm, framework)
    observations = np.zeros((50, 3 if env == "Pendulum-v1" else 4), np.float32)
    agent.seed(3)
    drawn = agent.act_batch(observations)
    assert not np.array_equal(agent.act_batch(observations), drawn)
    agent.seed(3)
    np.testing.assert_array_equal(agent.act_batch(observations), drawn)
    with pytest.raises(InvalidArgumentError, match="seed must be a whole number of at least 0"):
        agent.seed(-1)
