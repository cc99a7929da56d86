"""PPO on PyTorch: acting leaves no trace, parts that do not fit are refused, seeds repeat and files restore."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import (
    CheckpointMismatchError,
    ContractError,
    InvalidArgumentError,
    ModelShapeError,
    SpaceError,
)
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tests.fakes.ppo import Parts, assert_same_weights, continuous_window, window

torch.set_num_threads(1)


# --- acting leaves no trace ---


def test_looking_at_the_policy_a_thousand_times_before_learning_changes_no_bit_of_the_update() -> None:
    plain, curious = Parts(), Parts()
    data = window()
    for _ in range(1000):
        curious.agent.act_batch(data.observations[:3], deterministic=True)
    for parts in (plain, curious):
        parts.agent.learn(data)
    assert_same_weights(plain, curious)


@pytest.mark.parametrize("gaussian", [False, True], ids=["categorical", "gaussian"])
def test_acting_a_thousand_times_before_learning_leaves_the_update_as_it_was(gaussian: bool) -> None:
    plain, curious = (Parts(gaussian=gaussian, n_epochs=5, minibatch_size=8) for _ in range(2))
    data = continuous_window() if gaussian else window()
    for i in range(1000):
        curious.agent.act(data.observations[i % 32])
    for parts in (plain, curious):
        parts.agent.learn(data)
    assert_same_weights(plain, curious)


def test_acting_leaves_weights_moments_and_gradients_alone() -> None:
    parts = Parts()
    parts.agent.learn(window())
    before, moments = parts.weights(), [e["exp_avg"].clone() for e in parts.optimizer.state.values()]
    for observation in window().observations:
        parts.agent.act(observation)
    parts.agent.act_batch(window().observations)
    for one, other in zip(before, parts.weights(), strict=True):
        assert torch.equal(one, other)
    for one, entry in zip(moments, parts.optimizer.state.values(), strict=True):
        assert torch.equal(one, entry["exp_avg"])


def test_actions_are_ints_for_one_observation_and_integer_arrays_for_many() -> None:
    agent = Parts(n=4).agent
    assert type(agent.act(np.zeros(3, np.float32))) is int
    for deterministic in (False, True):
        batch = agent.act_batch(np.zeros((5, 3), np.float32), deterministic=deterministic)
        assert batch.shape == (5,)
        assert np.issubdtype(batch.dtype, np.integer)


def test_gaussian_actions_are_float32_vectors_and_greedily_the_mean() -> None:
    parts = Parts(gaussian=True)
    observations = window().observations[:5]
    assert parts.agent.act(observations[0]).shape == (2,)
    assert parts.agent.act(observations[0]).dtype == np.float32
    greedy = parts.agent.act_batch(observations, deterministic=True)
    with torch.no_grad():
        mean = parts.actor(torch.from_numpy(observations))[:, :2].numpy()
    np.testing.assert_allclose(greedy, mean, rtol=1e-5, atol=1e-6)


# --- wrong parts ---


def test_an_optimizer_that_does_not_train_both_models_is_refused_by_the_tensor_it_misses() -> None:
    actor, critic = nn.Linear(3, 2), nn.Linear(3, 1)
    with pytest.raises(ContractError, match=r"critic\.weight"):
        TorchPPOAgent(actor, critic, torch.optim.Adam(actor.parameters()), HyperparamSet({}))


@pytest.mark.parametrize(
    ("part", "wrong", "message"),
    [
        ("optimizer", 3e-4, r"optimizer must be a torch\.optim\.Optimizer, but got float"),
        ("actor", "mlp", r"actor must be a torch\.nn\.Module, but got str"),
        ("critic", None, r"critic must be a torch\.nn\.Module, but got NoneType"),
    ],
)
def test_a_part_of_another_kind_is_refused_by_name_and_type(part: str, wrong: Any, message: str) -> None:
    parts = Parts()
    given: dict[str, Any] = {"actor": parts.actor, "critic": parts.critic, "optimizer": parts.optimizer, part: wrong}
    with pytest.raises(ContractError, match=message):
        TorchPPOAgent(**given, hyperparams=HyperparamSet({}))


def test_an_unknown_distribution_is_refused() -> None:
    actor, critic = nn.Linear(3, 2), nn.Linear(3, 1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()])
    with pytest.raises(InvalidArgumentError, match="'beta'"):
        TorchPPOAgent(actor, critic, optimizer, HyperparamSet({}), distribution="beta")


BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)


def test_spaces_that_fit_are_taken() -> None:
    Parts(3, 4).agent.check_spaces(BOX, spaces.Discrete(4))
    Parts(3, 4).agent.check_spaces(BOX, spaces.Discrete(4, start=1))
    Parts(3, 2, gaussian=True).agent.check_spaces(BOX, spaces.Box(-2.0, 2.0, (2,)))
    Parts(3, 2, gaussian=True).agent.check_spaces(BOX, spaces.Box(-2.0, 2.0, (2, 1)))


@pytest.mark.parametrize(
    ("high", "says"),
    [(1.0, ""), (np.inf, "without finite bounds"), (3.4e38, "without finite bounds"), (1e7, "1,000,000 wide")],
)
def test_missing_bounds_are_said_once_with_the_remedy(high: float, says: str, caplog: pytest.LogCaptureFixture) -> None:
    agent = Parts(3, 2, gaussian=True).agent
    for _ in range(2):
        agent.check_spaces(BOX, spaces.Box(0.0, high, (2,)))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == bool(says)
    assert all(says in text and "gymnasium.wrappers.TransformAction" in text for text in said)


@pytest.mark.parametrize(
    ("gaussian", "observations", "actions", "error", "message"),
    [
        (False, BOX, spaces.Discrete(5), ModelShapeError, r"actor returns shape \(2, 2\).*\(2, 5\) is needed"),
        (True, BOX, spaces.Box(-1, 1, (3,)), ModelShapeError, r"actor returns shape \(2, 4\).*\(2, 6\) is needed"),
        (False, spaces.Box(-1, 1, (7,)), spaces.Discrete(2), ModelShapeError, r"actor cannot take.*\(2, 7\)"),
        (False, BOX, spaces.Box(-1, 1, (2,)), SpaceError, r"'categorical'.*Box.*distribution='gaussian'"),
        (True, BOX, spaces.Discrete(2), SpaceError, r"'gaussian'.*Discrete\(2\).*distribution='categorical'"),
        (
            False,
            BOX,
            spaces.Box(0, 3, (2,), np.int64),
            SpaceError,
            r"int64.*PPO serves Discrete, ",
        ),
        (False, BOX, spaces.MultiBinary(2), SpaceError, r"MultiBinary\(2\).*=MultiCategorical\(\[2, 2\]\)"),
        (False, spaces.Dict(a=BOX), spaces.Discrete(2), SpaceError, r"Dict"),
    ],
)
def test_spaces_that_do_not_fit_are_refused_by_both_shapes(
    gaussian: bool, observations: Any, actions: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        Parts(gaussian=gaussian).agent.check_spaces(observations, actions)


def test_a_critic_of_another_shape_is_refused_by_both_shapes() -> None:
    actor, critic = nn.Linear(3, 2), nn.Linear(3, 4)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()])
    agent = TorchPPOAgent(actor, critic, optimizer, HyperparamSet({}))
    with pytest.raises(ModelShapeError, match=r"critic returns shape \(2, 4\).*\(2, 1\) is needed"):
        agent.check_spaces(BOX, spaces.Discrete(2))


# --- seeds and files ---


def trained(seed: int, windows: int = 3) -> Parts:
    parts = Parts(4, 2, seed=seed, n_epochs=3)
    stream = BatchPipeline("CartPole-v1", parts.agent, 64, seed=seed).episodes()
    for _ in range(windows):
        parts.agent.learn(next(stream))
    return parts


def test_the_same_seed_gives_the_same_weights_bit_for_bit() -> None:
    assert_same_weights(trained(0), trained(0))
    assert not torch.equal(trained(0).weights()[0], trained(1).weights()[0])


def test_weights_survive_a_file_without_touching_anything_else(tmp_path: Path) -> None:
    path = str(tmp_path / "weights")
    source, target = trained(0), Parts(4, 2, seed=9, learning_rate=0.5)
    source.agent.save_weights(path)
    target.agent.load_weights(path)
    assert_same_weights(source, target)
    assert target.agent.get_hyperparams().params["learning_rate"] == 0.5
    assert target.optimizer.state == {}
    observations = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    np.testing.assert_array_equal(
        source.agent.act_batch(observations, deterministic=True),
        target.agent.act_batch(observations, deterministic=True),
    )


def test_weights_of_another_architecture_are_refused_and_change_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "weights")
    Parts(3, 2, hidden=8).agent.save_weights(path)
    target = Parts(3, 2, hidden=9)
    before = target.weights()
    with pytest.raises(CheckpointMismatchError, match=r"actor\.0\.weight.*\(8, 3\).*\(9, 3\)"):
        target.agent.load_weights(path)
    for one, other in zip(before, target.weights(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("gaussian", [False, True], ids=["categorical", "gaussian"])
def test_a_resumed_agent_goes_on_bit_for_bit_as_if_it_had_never_stopped(tmp_path: Path, gaussian: bool) -> None:
    path = str(tmp_path / "state")
    data = continuous_window() if gaussian else window()
    first, second = (Parts(gaussian=gaussian, seed=seed, n_epochs=2, minibatch_size=8) for seed in (0, 1))
    first.agent.learn(data)
    first.agent.set_hyperparams(HyperparamSet({"learning_rate": 0.02, "n_epochs": 3, "minibatch_size": 5}))
    first.agent.act_batch(data.observations)
    first.agent.save_training_state(path)
    second.agent.load_training_state(path)
    for parts in (first, second):
        parts.agent.learn(data)
    assert_same_weights(first, second)
    assert first.agent.get_hyperparams().params == second.agent.get_hyperparams().params
    np.testing.assert_array_equal(first.agent.act_batch(data.observations), second.agent.act_batch(data.observations))


def test_a_training_state_holds_the_optimizers_moments_and_its_count_of_steps(tmp_path: Path) -> None:
    path = str(tmp_path / "state")
    first, second = (Parts(seed=seed, n_epochs=2, minibatch_size=8) for seed in (0, 1))
    first.agent.learn(window())
    first.agent.save_training_state(path)
    second.agent.load_training_state(path)
    assert_same_weights(first, second)
    for one, other in zip(first.optimizer.state.values(), second.optimizer.state.values(), strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
        assert (other["step"].shape, float(other["step"])) == ((), 8.0)


def test_weights_alone_are_no_training_state_and_change_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "weights")
    Parts(seed=0).agent.save_weights(path)
    target = Parts(seed=1)
    with pytest.raises(CheckpointMismatchError, match=r"holds weights only, no training state\. Use load_weights"):
        target.agent.load_training_state(path)
    assert_same_weights(target, Parts(seed=1))
