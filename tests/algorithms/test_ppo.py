"""What the one recipe promises in both frameworks alike: several choices, action masks, observations of any size."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from tensor_optix import BatchPipeline, EpisodeData, HyperparamSet, TFPPOAgent, TorchPPOAgent
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.adapters.saving.weights import shared_names
from tensor_optix.adapters.tensorflow.backend import TFBackend
from tensor_optix.algorithms import _forward
from tensor_optix.algorithms._distributions import MultiCategorical
from tensor_optix.algorithms._ppo import PPOAgent
from tensor_optix.core.base_agent import ActsMasked
from tensor_optix.errors import BadDataError, InvalidArgumentError, SpaceError
from tests.fakes.built_in import both_frameworks
from tests.fakes.pictures import CHOICE, NUMBERS, agent_of_pictures, window_of_pictures
from tests.fakes.weights import assert_equal_weights, weights_of

torch.set_num_threads(1)


def torch_agent(n_in: int, n_out: int, distribution: Any, compile: bool, **params: Any) -> TorchPPOAgent:
    torch.manual_seed(0)
    actor, critic = (nn.Sequential(nn.Linear(n_in, 16), nn.Tanh(), nn.Linear(16, n)) for n in (n_out, 1))
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-4)
    return TorchPPOAgent(
        actor, critic, optimizer, HyperparamSet(params), distribution=distribution, seed=0, compile=compile
    )


def tf_agent(n_in: int, n_out: int, distribution: Any, compile: bool, **params: Any) -> TFPPOAgent:
    keras.utils.set_random_seed(0)
    actor, critic = (
        keras.Sequential([keras.layers.Input((n_in,)), keras.layers.Dense(16, "tanh"), keras.layers.Dense(n)])
        for n in (n_out, 1)
    )
    optimizer = keras.optimizers.Adam(3e-4)
    return TFPPOAgent(
        actor, critic, optimizer, HyperparamSet(params), distribution=distribution, seed=0, compile=compile
    )


@pytest.fixture(params=["torch", "tf"])
def build(request: pytest.FixtureRequest) -> Any:
    return builder(request.param)


@pytest.fixture(params=["torch", pytest.param("tf", marks=pytest.mark.slow)])
def build_now(request: pytest.FixtureRequest) -> Any:
    """As `build`, for what takes Keras long and is of the recipe."""
    return builder(request.param)


def builder(framework: str) -> Any:
    make = torch_agent if framework == "torch" else tf_agent

    def built(
        n_in: int, n_out: int, distribution: Any = "categorical", compile: bool = False, **params: Any
    ) -> PPOAgent:
        return make(n_in, n_out, distribution, compile, **params)

    return built


def log_probs(agent: PPOAgent, observations: np.ndarray) -> np.ndarray:
    probs = agent.action_probs(observations)
    assert probs is not None
    return np.log(probs)


def bandit_window(
    agent: PPOAgent, reward: Any, length: int = 64, seed: int = 0, masks: np.ndarray | None = None
) -> EpisodeData:
    """Episodes of one step each, on random observations (T, 3)."""
    observations = np.random.default_rng(seed).normal(size=(length, 3)).astype(np.float32)
    actions = agent.act_batch(observations) if masks is None else agent.act_masked(observations, masks)
    return EpisodeData(
        observations=observations,
        actions=actions,
        rewards=np.asarray(reward(actions), np.float32),
        terminated=np.ones(length, bool),
        truncated=np.zeros(length, bool),
        next_observations=observations,
        action_masks=masks,
    )


def random_masks(length: int, nvec: Sequence[int], seed: int) -> np.ndarray:
    """Masks (T, Σ nvec) that leave each choice something."""
    rng = np.random.default_rng(seed)
    parts = [rng.random((length, n)) < 0.5 for n in nvec]
    for n, part in zip(nvec, parts, strict=True):
        part[np.arange(length), rng.integers(0, n, length)] = True
    return np.concatenate(parts, axis=1)


# --- several choices ---


class TwoIdentities(gym.Env):
    """Pays a half for each of two symbols that the action names."""

    observation_space = spaces.Box(0.0, 1.0, (5,), np.float32)
    action_space: spaces.Space = spaces.MultiDiscrete([2, 3])
    sizes = (2, 3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._steps = 0
        return self._observe(), {}

    def _observe(self) -> np.ndarray:
        self._symbols = self.np_random.integers(0, self.sizes)
        return seen(self._symbols, self.sizes)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        assert self.action_space.contains(action)
        reward = float((action == self._symbols).mean())
        self._steps += 1
        return self._observe(), reward, False, self._steps == 20, {}


class TwoBits(TwoIdentities):
    """The same, of bits."""

    observation_space = spaces.Box(0.0, 1.0, (4,), np.float32)
    action_space = spaces.MultiBinary(2)
    sizes = (2, 2)


def seen(symbols: Any, sizes: Sequence[int]) -> np.ndarray:
    return np.concatenate([np.eye(n, dtype=np.float32)[s] for s, n in zip(symbols, sizes, strict=True)])


@pytest.mark.parametrize("env", [TwoIdentities(), TwoBits()], ids=["MultiDiscrete", "MultiBinary"])
def test_it_learns_several_choices_at_once(build_now: Any, env: TwoIdentities) -> None:
    size = sum(env.sizes)
    agent = build_now(size, size, MultiCategorical(env.sizes), learning_rate=1e-2, gamma=0.5)
    agent.check_spaces(env.observation_space, env.action_space)
    windows = BatchPipeline(env, agent, window_size=256, seed=0).episodes()
    for _ in range(12):
        agent.learn(next(windows))
    symbols = np.array(list(np.ndindex(*env.sizes)))
    observations = np.stack([seen(row, env.sizes) for row in symbols])
    np.testing.assert_array_equal(agent.act_batch(observations, deterministic=True), symbols)
    assert agent.act(observations[0]).shape == (2,)


def test_actions_of_the_wrong_choice_are_refused(build: Any) -> None:
    agent = build(3, 5, MultiCategorical([2, 3]))
    data = bandit_window(agent, lambda actions: actions[:, 0])
    data.actions[7] = [2, 0]
    with pytest.raises(BadDataError, match=r"integers in \[0, \[2 3\]\)"):
        agent.learn(data)


def test_another_space_is_refused_with_the_argument_that_serves_it(build: Any) -> None:
    agent = build(3, 5, "categorical")
    space = spaces.Box(-1.0, 1.0, (3,), np.float32)
    with pytest.raises(SpaceError, match=r"A 'categorical' policy.*Pass distribution=MultiCategorical\(\[2, 3\]\)\."):
        agent.check_spaces(space, spaces.MultiDiscrete([2, 3]))
    with pytest.raises(SpaceError, match=r"A MultiCategorical\(\[2, 3\]\) policy.*distribution='categorical'\."):
        build(3, 5, MultiCategorical([2, 3])).check_spaces(space, spaces.Discrete(5))
    with pytest.raises(InvalidArgumentError, match="distribution must be one of"):
        build(3, 5, 5)


# --- masks ---


def test_a_mask_decides_what_is_drawn_and_what_is_greedy(build: Any) -> None:
    agent = build(3, 4)
    assert isinstance(agent, ActsMasked)
    observations = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    masks = random_masks(300, [4], seed=1)
    drawn = agent.act_masked(observations, masks)
    assert masks[np.arange(300), drawn].all()
    greedy = agent.act_masked(observations, masks.astype(np.int8), deterministic=True)
    np.testing.assert_array_equal(greedy, np.where(masks, agent.action_probs(observations), -np.inf).argmax(1))
    agent.seed(3)
    unmasked = agent.act_batch(observations)
    agent.seed(3)
    np.testing.assert_array_equal(agent.act_masked(observations, np.ones((300, 4), bool)), unmasked)


def test_it_learns_the_best_of_what_is_allowed(build_now: Any) -> None:
    """Action i pays i: under any mask the best is the last that is allowed."""
    agent = build_now(3, 4, learning_rate=3e-2, gamma=0.0, entropy_coef=0.1)
    for i in range(15):
        agent.learn(bandit_window(agent, lambda actions: actions, 256, seed=i, masks=random_masks(256, [4], i)))
    masks = np.array([[bits >> i & 1 for i in range(4)] for bits in range(1, 16)], bool)
    greedy = agent.act_masked(np.zeros((15, 3), np.float32), masks, deterministic=True)
    np.testing.assert_array_equal(greedy, [bits.bit_length() - 1 for bits in range(1, 16)])


@pytest.mark.parametrize("nvec", [(4,), (2, 3)], ids=["one choice", "several"])
def test_the_first_ratio_is_one_and_the_entropy_that_of_what_is_allowed(build_now: Any, nvec: tuple[int, ...]) -> None:
    distribution = "categorical" if len(nvec) == 1 else MultiCategorical(nvec)
    agent = build_now(3, sum(nvec), distribution, n_epochs=1, minibatch_size=64, learning_rate=1e-6)
    masks = np.zeros((64, sum(nvec)), bool)
    masks[:, [0, -1]] = True
    masks[:32, 1] = True
    data = bandit_window(agent, lambda actions: actions.reshape(64, -1)[:, 0], masks=masks)
    logits = np.where(masks, agent._policy(data.observations), -np.inf)
    diagnostics = agent.learn(data)
    assert abs(diagnostics["approx_kl"]) < 1e-6
    assert diagnostics["clip_fraction"] == 0.0
    entropy = 0.0
    for part in np.split(logits, np.cumsum(nvec)[:-1], axis=1):
        p = np.exp(part) / np.exp(part).sum(1, keepdims=True)
        entropy -= (p * np.log(np.where(p > 0, p, 1.0))).sum(1).mean()
    assert diagnostics["entropy"] == pytest.approx(entropy, rel=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["plain", "compiled"])
def test_windows_with_and_without_masks_follow_each_other(
    build: Any, compile: bool, caplog: pytest.LogCaptureFixture
) -> None:
    agent = build(3, 4, compile=compile, n_epochs=1, minibatch_size=16)
    for i in range(4):
        masks = None if i % 2 else random_masks(64, [4], i)
        diagnostics = agent.learn(bandit_window(agent, lambda actions: actions, seed=i, masks=masks))
        assert all(np.isfinite(value) for value in diagnostics.values())
    assert not [record for record in caplog.records if record.name.startswith("tensor_optix")]


def test_a_mask_that_allows_all_teaches_what_no_mask_teaches(build_now: Any) -> None:
    plain, allowed = build_now(3, 4), build_now(3, 4)
    data = bandit_window(plain, lambda actions: actions)
    plain.learn(data)
    allowed.learn(bandit_window(allowed, lambda actions: actions, masks=np.ones((64, 4), bool)))
    observations = np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(log_probs(allowed, observations), log_probs(plain, observations), atol=1e-5)
    assert not np.allclose(log_probs(plain, observations), log_probs(build_now(3, 4), observations), atol=1e-3)


def test_masks_that_cannot_be_are_refused_and_the_weights_are_as_they_were(build: Any) -> None:
    agent = build(3, 4)
    observations = np.eye(3, dtype=np.float32)
    before = weights_of(agent)
    masks = np.ones((64, 4), bool)
    data = bandit_window(agent, lambda actions: actions, masks=masks)
    masks[5, data.actions[5]] = False
    with pytest.raises(BadDataError, match=r"action \d of row 5 of window 0 is forbidden by its mask"):
        agent.learn(data)
    masks[9] = False
    for refused in (lambda: agent.learn(data), lambda: agent.act_masked(data.observations, masks)):
        with pytest.raises(BadDataError, match="Row 9 of the action masks allows no action"):
            refused()
    with pytest.raises(BadDataError, match=r"shape \(3, 4\), but have \(2, 4\)"):
        agent.act_masked(observations, masks[:2])
    assert_equal_weights(weights_of(agent), before)


def test_a_gaussian_policy_refuses_masks(build: Any) -> None:
    agent = build(3, 4, "gaussian")
    observations = np.eye(3, dtype=np.float32)
    with pytest.raises(SpaceError, match="gaussian"):
        agent.act_masked(observations, np.ones((3, 4), bool))
    data = bandit_window(agent, lambda actions: actions[:, 0])
    with pytest.raises(SpaceError, match="gaussian"):
        agent.learn(EpisodeData(**{**vars(data), "action_masks": np.ones((64, 4), bool)}))


# --- chunks ---


class Passes:
    """A predictor that notes how many rows each pass had."""

    def __init__(self, predict: Any) -> None:
        self.predict = predict
        self.rows: list[int] = []

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        self.rows.append(len(observations))
        return self.predict(observations)


def test_big_observations_are_evaluated_in_chunks_of_64_mib() -> None:
    predict = Passes(lambda observations: observations[:, 0, 0, :1].astype(np.float32))
    frames = np.zeros((1500, 84, 84, 4), np.uint8)
    frames[:, 0, 0, 0] = np.arange(1500) % 251
    output = _forward.in_chunks(predict, frames)
    np.testing.assert_array_equal(output[:, 0], np.arange(1500) % 251)
    assert predict.rows == [594, 594, 312]
    assert 594 * 84 * 84 * 4 * 4 <= 64 << 20 < 595 * 84 * 84 * 4 * 4


def test_small_observations_are_evaluated_in_one_pass(build_now: Any) -> None:
    agent = build_now(3, 4)
    data = bandit_window(agent, lambda actions: actions)
    agent._value, agent._policy = Passes(agent._value), Passes(agent._policy)
    agent.learn(data)
    assert (agent._value.rows, agent._policy.rows) == ([64, 64], [1, 64])


def test_chunks_teach_the_same(build_now: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, chunked = build_now(3, 4), build_now(3, 4)
    data = bandit_window(whole, lambda actions: actions)
    whole.learn(data)
    monkeypatch.setattr(_forward, "CHUNK_BYTES", 7 * 3 * 4)
    chunked.learn(data)
    observations = np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(log_probs(chunked, observations), log_probs(whole, observations), atol=1e-6)


# --- one trunk ---


@both_frameworks
def test_one_pass_over_the_trunk_gives_the_windows_probabilities_and_values(framework: str) -> None:
    agent = agent_of_pictures(framework)
    data = window_of_pictures(agent)
    agent._both, agent._value, agent._policy = map(Passes, (agent._both, agent._value, agent._policy))
    agent.learn(data)
    assert (agent._both.rows, agent._value.rows, agent._policy.rows) == ([64], [2], [1])
    recorded = {"log_probs": np.full(64, -1.0, np.float32), "values": np.zeros(64, np.float32)}
    agent.learn(EpisodeData(**{**vars(data), **recorded}))
    assert agent._both.rows == [64]


def test_each_minibatch_runs_the_trunk_once() -> None:
    agent = agent_of_pictures("torch")
    data, rows = window_of_pictures(agent), []
    agent._actor[1].register_forward_hook(lambda layer, inputs, output: rows.append(len(output)))
    agent.learn(data)
    assert rows == [1, 64, 2, *[16] * 8]


@both_frameworks
@pytest.mark.parametrize("action_space", [CHOICE, NUMBERS], ids=["choice", "numbers"])
def test_a_trunk_that_runs_once_learns_what_it_learns_run_twice(
    framework: str, action_space: spaces.Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = agent_of_pictures(framework, action_space)
    monkeypatch.setattr(TorchBackend, "joint_model", lambda *_: None)
    monkeypatch.setattr(TFBackend, "joint_model", lambda *_: None)
    apart = agent_of_pictures(framework, action_space)
    assert_equal_weights(weights_of(together), weights_of(apart))
    data = window_of_pictures(together)
    ours, theirs = together.learn(data), apart.learn(data)
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)
    for name, array in weights_of(apart).items():
        np.testing.assert_allclose(weights_of(together)[name], array, atol=2e-5, err_msg=name)


@both_frameworks
def test_an_agent_of_one_trunk_goes_on_from_what_it_saved_and_keeps_the_trunk(framework: str, tmp_path: Path) -> None:
    trained, other = (agent_of_pictures(framework, seed=seed) for seed in (0, 1))
    data = window_of_pictures(trained)
    trained.learn(data)
    trained.save_training_state(str(tmp_path / "state"))
    trained.save_weights(str(tmp_path / "weights"))
    other.load_weights(str(tmp_path / "weights"))
    assert_equal_weights(weights_of(other), weights_of(trained))
    other.load_training_state(str(tmp_path / "state"))
    state = trained.snapshot()
    for agent in (trained, other):
        agent.learn(data)
    assert_equal_weights(weights_of(other), weights_of(trained))
    trained.restore(state)
    trained.perturb_weights(0.1, np.random.default_rng(0))
    assert len(shared_names(weights_of(trained))) == 8


def test_a_copy_has_a_trunk_of_its_own_for_both() -> None:
    agent = agent_of_pictures("torch")
    before, data = weights_of(agent), window_of_pictures(agent)
    clone = copy.deepcopy(agent)
    clone.learn(data)
    assert_equal_weights(weights_of(agent), before)
    assert shared_names(weights_of(clone)) == shared_names(before)
    agent.learn(data)
    assert_equal_weights(weights_of(agent), weights_of(clone))


def test_dense_stacks_on_one_trunk_are_trained_in_numpy() -> None:
    trunk = nn.Sequential(nn.Linear(3, 8), nn.Tanh())
    actor, critic = nn.Sequential(trunk, nn.Linear(8, 2)), nn.Sequential(trunk, nn.Linear(8, 1))
    optimizer = torch.optim.Adam(dict.fromkeys([*actor.parameters(), *critic.parameters()]))
    assert TorchPPOAgent(actor, critic, optimizer, HyperparamSet({}))._both is None
