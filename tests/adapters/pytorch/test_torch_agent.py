"""The generic agent: REINFORCE and A2C by hand, on any module that returns logits."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from tensor_optix.adapters.pytorch.torch_agent import TorchAgent
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import (
    CheckpointMismatchError,
    ContractError,
    HyperparamError,
    ModelShapeError,
    NonFiniteError,
    SpaceError,
)
from tensor_optix.pipeline.batch_pipeline import BatchPipeline

torch.set_num_threads(1)


def linear(size: int = 3, n_actions: int = 2, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(size, n_actions))


def agent_of(model: nn.Module, lr: float = 0.1, **params: Any) -> TorchAgent:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return TorchAgent(model, optimizer, HyperparamSet({"learning_rate": lr, **params}), seed=0)


def window(**fields: Any) -> EpisodeData:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {
        "observations": rng.standard_normal((6, 3)).astype(np.float32),
        "actions": np.array([0, 1, 1, 0, 1, 0]),
        "rewards": np.array([1.0, 0.0, 2.0, -1.0, 3.0, 0.5], np.float32),
        "terminated": np.array([False, False, True, False, False, False]),
        "truncated": np.array([False, False, False, False, True, False]),
    }
    return EpisodeData(**(values | fields))


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


def test_a_loss_of_the_users_own_takes_the_place_of_the_policy_gradient() -> None:
    model = linear()
    seen: list[tuple[Any, Any]] = []

    def imitation(given: nn.Module, data: EpisodeData) -> torch.Tensor:
        seen.append((given, data))
        return nn.functional.cross_entropy(given(torch.from_numpy(data.observations)), torch.from_numpy(data.actions))

    data = window()
    twin = linear()
    expected = imitation(twin, data)
    expected.backward()
    seen.clear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    agent = TorchAgent(model, optimizer, HyperparamSet({"learning_rate": 0.1}), compute_loss_fn=imitation)
    diagnostics = agent.learn(data)
    assert seen == [(model, data)]
    assert diagnostics["loss"] == pytest.approx(float(expected.detach()), rel=1e-6)
    gradients = [p.grad for p in twin.parameters()]
    norm = torch.linalg.vector_norm(torch.cat([g.reshape(-1) for g in gradients if g is not None]))
    assert diagnostics["grad_norm"] == pytest.approx(float(norm), rel=1e-5)
    for ours, theirs, gradient in zip(model.parameters(), twin.parameters(), gradients, strict=True):
        torch.testing.assert_close(ours, theirs - 0.1 * gradient)
    assert set(diagnostics) == {"loss", "grad_norm", "baseline_type", "explained_variance"}


# --- acting ---


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


IMAGE_MODELS = {
    "conv": lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)),
    "flatten": lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3)),
    "batch norm": lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)),
}


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_one_image_is_acted_on_as_a_batch_of_one(name: str) -> None:
    torch.manual_seed(0)
    model = IMAGE_MODELS[name]()
    one, many = agent_of(model), agent_of(model)
    for image in np.random.default_rng(0).standard_normal((20, 1, 4, 4)).astype(np.float32):
        action = one.act(image)
        assert type(action) is int
        assert action == many.act_batch(image[None])[0]


def test_one_row_is_acted_on_by_a_model_that_normalises_batches() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    assert agent_of(model).act(np.ones(3, np.float32)) in (0, 1)


def test_the_same_seed_draws_the_same_actions() -> None:
    first, second = agent_of(linear()), agent_of(linear())
    second.act(np.zeros(3, np.float32))
    second.seed(0)
    observations = np.zeros((40, 3), np.float32)
    np.testing.assert_array_equal(first.act_batch(observations), second.act_batch(observations))


class Identity(gym.Env):
    """Reward 1 for naming the observation; ten steps per episode."""

    observation_space = spaces.Box(0.0, 1.0, (3,), np.float32)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return self._draw(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward = float(action == self.state)
        self.steps += 1
        return self._draw(), reward, False, self.steps == 10, {}

    def _draw(self) -> np.ndarray:
        self.state = int(self.np_random.integers(3))
        return np.eye(3, dtype=np.float32)[self.state]


def test_it_learns_to_name_what_it_sees() -> None:
    model = linear(3, 3)
    optimizer = torch.optim.Adam(model.parameters())
    agent = TorchAgent(model, optimizer, HyperparamSet({"learning_rate": 0.05, "gamma": 0.0}), seed=0)
    windows = BatchPipeline(Identity(), agent, window_size=100, seed=0).episodes()
    for _ in range(80):
        agent.learn(next(windows))
    np.testing.assert_array_equal(agent.act_batch(np.eye(3, dtype=np.float32), deterministic=True), [0, 1, 2])
    assert np.mean([next(windows).total_reward for _ in range(5)]) > 90


# --- hyper-parameters, files, spaces ---


def test_defaults_are_filled_in_and_the_learning_rate_is_put_in_force() -> None:
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.7)
    agent = TorchAgent(model, optimizer, HyperparamSet({"mine": "kept"}))
    assert agent.get_hyperparams().params == {"learning_rate": 1e-3, "gamma": 0.99, "entropy_coef": 0.0, "mine": "kept"}
    assert optimizer.param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize(
    "params", [{"gama": 0.9}, {"gamma": 1.5}, {"learning_rate": 0}, {"entropy_coef": float("nan")}]
)
def test_hyperparams_that_are_misspelt_or_out_of_range_are_refused_and_nothing_changes(params: dict[str, Any]) -> None:
    agent = agent_of(linear(), lr=0.1)
    before = agent.get_hyperparams().params
    with pytest.raises(HyperparamError, match=next(iter(params))):
        agent.set_hyperparams(HyperparamSet({**before, **params}))
    assert agent.get_hyperparams().params == before
    with pytest.raises(HyperparamError):
        agent_of(linear(), **{"lr": 0.1, **params})


def test_weights_survive_a_file_and_another_model_refuses_them(tmp_path: Path) -> None:
    path = str(tmp_path / "w")
    source, target = linear(seed=0), linear(seed=1)
    agent_of(source).save_weights(path)
    agent_of(target).load_weights(path)
    assert torch.equal(source[0].weight, target[0].weight)
    with pytest.raises(CheckpointMismatchError, match=r"model\.0\.weight.*\(2, 3\).*\(2, 5\)"):
        agent_of(linear(5)).load_weights(path)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    model = linear()
    nn.init.constant_(model[0].bias, float("nan"))
    with pytest.raises(NonFiniteError, match=r"model\.0\.bias"):
        agent_of(model).save_weights(str(tmp_path / "w"))
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_agent_learns_and_acts_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    path = str(tmp_path / "state")

    def adam_agent(seed: int) -> tuple[nn.Sequential, TorchAgent]:
        model = linear(seed=seed)
        return model, TorchAgent(model, torch.optim.Adam(model.parameters()), HyperparamSet({}), seed=seed)

    first, agent = adam_agent(0)
    agent.set_hyperparams(HyperparamSet({"learning_rate": 0.03, "gamma": 0.5}))
    agent.learn(window())
    agent.act_batch(np.zeros((5, 3)))
    agent.save_training_state(path)
    second, resumed = adam_agent(9)
    resumed.load_training_state(path)
    for one in (agent, resumed):
        one.learn(window())
    assert torch.equal(first[0].weight, second[0].weight)
    assert resumed.get_hyperparams().params == agent.get_hyperparams().params
    observations = np.zeros((50, 3), np.float32)
    np.testing.assert_array_equal(agent.act_batch(observations), resumed.act_batch(observations))


def normalising(seed: int) -> tuple[nn.Module, torch.optim.Adam, TorchAgent]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = torch.optim.Adam(model.parameters())
    return model, optimizer, TorchAgent(model, optimizer, HyperparamSet({}), seed=seed)


def test_counters_without_axes_survive_in_model_and_optimizer(tmp_path: Path) -> None:
    model, _, agent = normalising(0)
    agent.learn(window())
    agent.save_weights(str(tmp_path / "weights"))
    agent.save_training_state(str(tmp_path / "state"))
    other, optimizer, resumed = normalising(1)
    for load, path in ((resumed.load_weights, "weights"), (resumed.load_training_state, "state")):
        load(str(tmp_path / path))
        assert other.state_dict().keys() == model.state_dict().keys()
        for name, tensor in model.state_dict().items():
            assert torch.equal(other.state_dict()[name], tensor), name
    assert other.state_dict()["1.num_batches_tracked"].shape == ()
    assert {(entry["step"].shape, float(entry["step"])) for entry in optimizer.state.values()} == {((), 1.0)}


def test_weights_alone_are_no_training_state_and_change_nothing(tmp_path: Path) -> None:
    agent_of(linear(seed=0)).save_weights(str(tmp_path / "w"))
    model = linear(seed=1)
    with pytest.raises(CheckpointMismatchError, match="holds weights only"):
        agent_of(model).load_training_state(str(tmp_path / "w"))
    assert torch.equal(model[0].weight, linear(seed=1)[0].weight)


@pytest.mark.parametrize(
    ("model", "optimizer", "message"),
    [
        (linear(), torch.optim.SGD(linear().parameters()), r"does not train 'model\.0\.weight' of shape \(2, 3\)"),
        (linear(), "adam", r"optimizer must be a torch\.optim\.Optimizer, but got str"),
        (lambda x: x, torch.optim.SGD(linear().parameters()), r"model must be a torch\.nn\.Module, but got function"),
    ],
    ids=["misses weights", "no optimizer", "no module"],
)
def test_parts_that_do_not_belong_together_are_refused_by_name(model: Any, optimizer: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        TorchAgent(model, optimizer, HyperparamSet({}))


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
