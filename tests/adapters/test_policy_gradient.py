"""The generic agent's recipe: REINFORCE and A2C by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from tensor_optix.adapters.pytorch.torch_agent import TorchAgent
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import (
    ModelShapeError,
    SpaceError,
)
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tests.fakes.environments import Identity
from tests.fakes.policy_gradient import agent_of, linear, window

RETURNS = np.array([1 + 0.5 * (0 + 0.5 * 2), 0 + 0.5 * 2, 2, -1 + 0.5 * 3, 3, 0.5])
"""Of `window()` with gamma = 0.5: cut after rows 2 (terminated), 4 (truncated) and 5 (end of window)."""


def step_by_hand(model: nn.Sequential, data: EpisodeData, advantages: np.ndarray, lr: float) -> tuple[Any, Any, float]:
    """Return weight, bias and the gradient's norm after one step down −mean(log π(a|s)·Â), Â normalised.

    For a linear softmax policy the gradient with respect to the logits is −(onehot(a) − π)·Â/T.
    """
    weight, bias = (p.detach().numpy().astype(np.float64) for p in model[0].parameters())
    observations, actions = np.asarray(data.observations, np.float64), np.asarray(data.actions)
    logits = observations @ weight.T + bias
    policy = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    normalised = (advantages - advantages.mean()) / advantages.std()
    by_logits = -(np.eye(policy.shape[1])[actions] - policy) * normalised[:, None] / len(actions)
    by_weight, by_bias = by_logits.T @ observations, by_logits.sum(0)
    norm = float(np.sqrt((by_weight**2).sum() + (by_bias**2).sum()))
    return weight - lr * by_weight, bias - lr * by_bias, norm


@pytest.mark.parametrize(
    "values", [None, np.array([0.3, -1.0, 2.0, 0.0, 1.5, 4.0], np.float32)], ids=["none", "values"]
)
def test_one_step_is_the_policy_gradient_by_hand(values: np.ndarray | None) -> None:
    model = linear()
    agent = agent_of(model, lr=0.1, gamma=0.5)
    data = window(values=values)
    advantages = RETURNS if values is None else RETURNS - values
    weight, bias, norm = step_by_hand(model, data, advantages, 0.1)
    diagnostics = agent.learn(data)
    np.testing.assert_allclose(model[0].weight.detach().numpy(), weight, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model[0].bias.detach().numpy(), bias, rtol=1e-5, atol=1e-6)
    assert diagnostics["grad_norm"] == pytest.approx(norm, rel=1e-5)


def test_the_loss_reported_is_minus_the_mean_of_log_probability_times_advantage() -> None:
    model = linear()
    data = window()
    with torch.no_grad():
        log_probs = torch.log_softmax(model(torch.from_numpy(data.observations)), -1).numpy()
    normalised = (RETURNS - RETURNS.mean()) / RETURNS.std()
    expected = -(log_probs[np.arange(6), data.actions] * normalised).mean()
    assert agent_of(model, gamma=0.5).learn(data)["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_entropy_bonus_is_subtracted_from_the_loss() -> None:
    data = window()
    plain = agent_of(linear(), gamma=0.5).learn(data)["loss"]
    bonus = agent_of(linear(), gamma=0.5, entropy_coef=2.0).learn(data)["loss"]
    with torch.no_grad():
        entropy = torch.distributions.Categorical(logits=linear()(torch.from_numpy(data.observations))).entropy().mean()
    assert plain - bonus == pytest.approx(2.0 * float(entropy), rel=1e-4)


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_returns_never_cross_an_end(end: str) -> None:
    """A reward after the end changes the loss of the rows after it only, so equal returns before it stay equal."""
    flags = np.array([False, False, True, False, False, False])
    none = np.zeros(6, bool)
    model = linear()
    fields = {"terminated": none, "truncated": none, end: flags}
    data = window(rewards=np.array([0, 0, 0, 0, 0, 8.0]), **fields)
    expected = step_by_hand(model, data, np.array([0, 0, 0, 2.0, 4.0, 8.0]), 0.1)
    agent_of(model, gamma=0.5).learn(data)
    np.testing.assert_allclose(model[0].weight.detach().numpy(), expected[0], rtol=1e-5, atol=1e-6)


def test_returns_never_cross_from_one_environment_to_the_next() -> None:
    none = np.zeros(6, bool)
    model = linear()
    data = window(rewards=np.array([0, 0, 1.0, 0, 0, 8.0]), terminated=none, truncated=none, n_envs=2)
    expected = step_by_hand(model, data, np.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0]), 0.1)
    agent_of(model, gamma=0.5).learn(data)
    np.testing.assert_allclose(model[0].weight.detach().numpy(), expected[0], rtol=1e-5, atol=1e-6)


def test_the_diagnostics_say_which_baseline_was_used() -> None:
    plain = agent_of(linear(), gamma=0.5).learn(window())
    perfect = agent_of(linear(), gamma=0.5).learn(window(values=RETURNS.astype(np.float32)))
    useless = agent_of(linear(), gamma=0.5).learn(window(values=[7.0] * 6))
    for diagnostics in (plain, perfect, useless):
        assert set(diagnostics) == {"loss", "grad_norm", "baseline_type", "explained_variance"}
    assert (plain["baseline_type"], perfect["baseline_type"]) == ("none", "values")
    assert plain["explained_variance"] == 0.0
    assert perfect["explained_variance"] == pytest.approx(1.0, abs=1e-6)
    assert useless["explained_variance"] == pytest.approx(0.0, abs=1e-6)


def test_a_perfect_baseline_leaves_nothing_to_learn() -> None:
    model = linear()
    before = model[0].weight.detach().clone()
    agent_of(model, gamma=0.5).learn(window(values=RETURNS.astype(np.float32)))
    torch.testing.assert_close(model[0].weight, before, rtol=0, atol=1e-6)


def test_a_window_of_one_step_changes_nothing_and_breaks_nothing() -> None:
    model = linear()
    before = model[0].weight.detach().clone()
    one = {name: getattr(window(), name)[:1] for name in ("observations", "actions", "rewards")}
    flags = np.zeros(1, bool)
    diagnostics = agent_of(model).learn(EpisodeData(**one, terminated=flags, truncated=flags))
    assert torch.equal(model[0].weight, before)
    assert diagnostics["grad_norm"] == 0.0


def test_actions_are_drawn_from_the_softmax_and_greedy_ones_are_the_likeliest() -> None:
    model = linear(2, 3)
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.log(torch.tensor([0.2, 0.5, 0.3])))
    agent = agent_of(model)
    actions = agent.act_batch(np.zeros((20_000, 2), np.float32))
    assert actions.shape == (20_000,)
    np.testing.assert_allclose(np.bincount(actions, minlength=3) / 20_000, [0.2, 0.5, 0.3], atol=0.015)
    np.testing.assert_array_equal(agent.act_batch(np.zeros((4, 2), np.float32), deterministic=True), [1, 1, 1, 1])
    assert type(agent.act(np.zeros(2, np.float32))) is int


def test_it_learns_to_name_what_it_sees() -> None:
    model = linear(3, 3)
    optimizer = torch.optim.Adam(model.parameters())
    agent = TorchAgent(model, optimizer, HyperparamSet({"learning_rate": 0.05, "gamma": 0.0}), seed=0)
    windows = BatchPipeline(Identity(3, length=10), agent, window_size=100, seed=0).episodes()
    for _ in range(80):
        agent.learn(next(windows))
    np.testing.assert_array_equal(agent.act_batch(np.eye(3, dtype=np.float32), deterministic=True), [0, 1, 2])
    assert np.mean([next(windows).total_reward for _ in range(5)]) > 90


BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)


def test_spaces_that_fit_are_taken() -> None:
    agent_of(linear(3, 2)).check_spaces(BOX, spaces.Discrete(2))


@pytest.mark.parametrize(
    ("observations", "actions", "error", "message"),
    [
        (BOX, spaces.Discrete(4), ModelShapeError, r"\(2, 2\).*\(2, 4\) is needed.*Discrete\(4\)"),
        (spaces.Box(-1, 1, (5,)), spaces.Discrete(2), ModelShapeError, r"cannot take observations of shape \(2, 5\)"),
        (BOX, spaces.Box(-1.0, 1.0, (2,)), SpaceError, r"Discrete actions from 0, but the space is Box"),
        (BOX, spaces.Discrete(2, start=1), SpaceError, r"from 0, but the space is Discrete\(2, start=1\)"),
        (BOX, spaces.MultiBinary(2), SpaceError, r"MultiBinary\(2\)"),
        (BOX, spaces.MultiDiscrete([2, 2]), SpaceError, "MultiDiscrete"),
        (spaces.Dict(a=BOX), spaces.Discrete(2), SpaceError, "Dict"),
    ],
)
def test_spaces_that_do_not_fit_are_refused_by_name(observations: Any, actions: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        agent_of(linear(3, 2)).check_spaces(observations, actions)
