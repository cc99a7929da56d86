"""SAC on both frameworks."""

import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from tensor_optix import HyperparamSet, TorchSACAgent
from tensor_optix.adapters._numpy_ops import NUMPY_OPS
from tensor_optix.algorithms import _squashed_gaussian as squashed_gaussian
from tensor_optix.errors import (
    BadDataError,
    CheckpointMismatchError,
    HyperparamError,
    InvalidArgumentError,
    ModelShapeError,
    SpaceError,
)
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tests.algorithms.off_policy import (
    ACTIONS,
    FRAMEWORKS,
    OBSERVATIONS,
    as_targets,
    difference,
    equal_pair,
    outputs,
    sac,
    target_weights,
    torch_net,
    window,
)
from tests.fakes.built_in import torch_now_keras_in_the_soak
from tests.fakes.weights import weights_of

OBSERVED = np.random.default_rng(3).normal(size=(300, OBSERVATIONS)).astype(np.float32)
both = pytest.mark.parametrize("framework", FRAMEWORKS)


# --- acting ---


@both
def test_actions_are_float32_inside_the_unit_box_and_greedy_ones_are_tanh_of_the_mean(framework: str) -> None:
    agent = sac(framework)
    mean = outputs(agent, OBSERVED)[:, :ACTIONS]
    greedy = agent.act_batch(OBSERVED, deterministic=True)
    np.testing.assert_allclose(greedy, np.tanh(mean), atol=1e-6)
    for actions in (agent.act_batch(OBSERVED), greedy, agent.act(OBSERVED[0])[None]):
        assert actions.dtype == np.float32
        assert actions.shape[1] == ACTIONS
        assert (np.abs(actions) < 1.0).all()
    assert not np.array_equal(agent.act_batch(OBSERVED), agent.act_batch(OBSERVED))


def test_pink_noise_is_correlated_in_time_and_white_noise_is_not() -> None:
    for kind, low, high in (("white", -0.15, 0.15), ("pink", 0.35, 0.95)):
        agent = sac("torch", exploration_noise=kind)
        actions = np.array([np.arctanh(agent.act(OBSERVED[0])) for _ in range(600)])
        assert low < np.corrcoef(actions[:-4, 0], actions[4:, 0])[0, 1] < high


# --- learning ---


@torch_now_keras_in_the_soak
def test_nothing_is_learned_before_there_is_enough(framework: str) -> None:
    agent = sac(framework, learning_starts=50)
    found = agent.learn(window(40, discrete=False))
    assert found == {
        "actor_loss": 0.0,
        "critic_loss": 0.0,
        "alpha_loss": 0.0,
        "entropy": 0.0,
        "mean_q": 0.0,
        "n_updates": 0.0,
        "alpha": 1.0,
        "buffer_size": 40.0,
    }
    assert agent.learn(window(40, seed=1, discrete=False))["n_updates"] == 40


@both
def test_losses_and_targets_are_the_formulas(framework: str) -> None:
    agent = sac(framework, gamma=0.9, tau=0.1, log_alpha_init=-1.0)
    data = window(16, discrete=False, truncated=np.arange(16) % 3 == 0)
    rng = np.random.default_rng(0)
    noise, next_noise = rng.normal(size=(2, 16, ACTIONS)).astype(np.float32)
    pair = np.concatenate([data.observations, data.actions], 1)
    following, log_prob = squashed_gaussian.sample_with_log_prob(
        NUMPY_OPS, outputs(agent, data.next_observations), next_noise
    )
    next_pair = np.concatenate([data.next_observations, following], 1).astype(np.float32)
    q_next = np.minimum(*(outputs(agent, next_pair, number)[:, 0] for number in (1, 2)))
    y = data.rewards + 0.9 * ~data.terminated * (q_next - math.exp(-1.0) * log_prob)
    critic_loss = sum(np.square(outputs(agent, pair, number)[:, 0] - y).mean() for number in (1, 2))
    mean_q = np.minimum(*(outputs(agent, pair, number)[:, 0] for number in (1, 2))).mean()
    _, log_prob = squashed_gaussian.sample_with_log_prob(NUMPY_OPS, outputs(agent, data.observations), noise)
    before = target_weights(agent)

    names = ("observations", "actions", "rewards", "next_observations")
    batch = {name: np.asarray(getattr(data, name))[None] for name in names}
    batch |= {
        "terminated": data.terminated[None].astype(np.float32),
        "noise": noise[None],
        "next_noise": next_noise[None],
    }
    found = agent._updater.on_batches(batch, {"gamma": 0.9, "target_rate": 0.1})
    assert found["critic_loss"] == pytest.approx(float(critic_loss), rel=1e-4)
    assert found["mean_q"] == pytest.approx(float(mean_q), rel=1e-4)
    assert found["entropy"] == pytest.approx(-float(log_prob.mean()), rel=1e-4)
    alpha_loss = -math.exp(-1.0) * (float(log_prob.mean()) - ACTIONS)
    assert found["alpha_loss"] == pytest.approx(alpha_loss, rel=1e-4)
    after = target_weights(agent)
    online = as_targets(agent)
    for name, moved in after.items():
        np.testing.assert_allclose(moved, 0.1 * online[name] + 0.9 * before[name], atol=1e-6)


@both
def test_the_temperature_starts_where_it_is_told(framework: str) -> None:
    agent = sac(framework, log_alpha_init=-2.0)
    assert agent.learn(window(4, discrete=False))["alpha"] == pytest.approx(math.exp(-2.0))


@both
def test_one_learning_rate_is_in_force_in_all_three_optimizers(framework: str) -> None:
    agent = sac(framework)
    agent.set_hyperparams(HyperparamSet({**agent.get_hyperparams().params, "learning_rate": 1.25e-3}))
    for optimizer in agent._optimizers.values():
        rate = optimizer.param_groups[0]["lr"] if framework == "torch" else float(optimizer.learning_rate)
        assert rate == pytest.approx(1.25e-3)
    assert agent.get_hyperparams().params["learning_rate"] == 1.25e-3


def test_both_frameworks_make_the_same_steps(tmp_path: Path) -> None:
    first, second = equal_pair(sac, tmp_path, tau=0.05)
    for i in range(3):
        ours = first.learn(window(12, seed=i, discrete=False))
        theirs = second.learn(window(12, seed=i, discrete=False))
        for name, value in ours.items():
            assert value == pytest.approx(theirs[name], rel=1e-3, abs=1e-5), name
    assert difference(first, second) < 1e-5


class Reach(gym.Env):
    """Reward −(a − o)², so that the best action is what is seen."""

    observation_space = spaces.Box(-1.0, 1.0, (OBSERVATIONS,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)

    def observe(self) -> np.ndarray:
        self.seen = self.np_random.uniform(-0.8, 0.8, OBSERVATIONS).astype(np.float32)
        return self.seen

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.left = 20
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward, self.left = -float(np.square(action - self.seen[:ACTIONS]).sum()), self.left - 1
        return self.observe(), reward, False, self.left == 0, {}


@torch_now_keras_in_the_soak
def test_it_learns_to_reach(framework: str) -> None:
    agent = sac(framework, gamma=0.0, learning_rate=5e-3, batch_size=64, log_alpha_init=-3.0, replay_capacity=5000)
    windows = BatchPipeline(Reach(), agent, window_size=64, seed=0).episodes()
    for _ in range(16):
        agent.learn(next(windows))
    seen = np.random.default_rng(0).uniform(-0.8, 0.8, (100, OBSERVATIONS)).astype(np.float32)
    error = np.square(agent.act_batch(seen, deterministic=True) - seen[:, :ACTIONS]).mean()
    assert error < 0.05  # acting at random gives 0.5


# --- saving ---


@torch_now_keras_in_the_soak
def test_loaded_critics_are_the_targets_too(framework: str, tmp_path: Path) -> None:
    agent = sac(framework)
    agent.learn(window(32, discrete=False))
    agent.save_weights(str(tmp_path / "w"))
    agent.learn(window(32, seed=1, discrete=False))
    agent.load_weights(str(tmp_path / "w"))
    online = as_targets(agent)
    assert all(np.array_equal(online[name], w) for name, w in target_weights(agent).items())


@torch_now_keras_in_the_soak
@pytest.mark.parametrize("noise", [pytest.param("white", marks=pytest.mark.slow), "pink"])
def test_a_resumed_agent_goes_on_bit_for_bit(framework: str, noise: str, tmp_path: Path) -> None:
    first = sac(framework, exploration_noise=noise)
    first.act_batch(OBSERVED[:2])
    first.learn(window(32, discrete=False))
    first.save_training_state(str(tmp_path / "s"))
    second = sac(framework, seed=9, exploration_noise=noise)
    second.load_training_state(str(tmp_path / "s"))
    np.testing.assert_array_equal(first.act_batch(OBSERVED[:2]), second.act_batch(OBSERVED[:2]))
    for i in range(1, 3):
        data = window(8, seed=i, discrete=False)
        assert first.learn(data) == second.learn(data)


def test_a_state_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    white, pink = sac("torch"), sac("torch", seed=9, exploration_noise="pink")
    white.learn(window(32, discrete=False))
    white.save_training_state(str(tmp_path / "s"))
    before = weights_of(pink)
    with pytest.raises(CheckpointMismatchError):
        pink.load_training_state(str(tmp_path / "s"))
    after = weights_of(pink)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert pink.learn(window(4, discrete=False))["buffer_size"] == 4.0


def test_a_seed_restarts_the_noise_too() -> None:
    first, second = (sac("torch", exploration_noise="pink") for _ in range(2))
    first.act(OBSERVED[0])
    for agent in (first, second):
        agent.seed(5)
    np.testing.assert_array_equal(first.act_batch(OBSERVED[:3]), second.act_batch(OBSERVED[:3]))


# --- bad input ---


class TestBadInput:
    def test_hyper_parameters_and_arguments(self) -> None:
        with pytest.raises(HyperparamError, match="batch_size must be at most replay_capacity"):
            sac("torch", batch_size=64, replay_capacity=32)
        with pytest.raises(InvalidArgumentError, match=r"exploration_noise must be one of .*'brown'"):
            sac("torch", exploration_noise="brown")
        with pytest.raises(HyperparamError, match=r"'batch_sise'.*Did you mean 'batch_size'"):
            sac("torch", batch_sise=3)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"actions": np.zeros((32, 3), np.float32)}, r"actions must have shape \(32, 2\)"),
            ({"actions": np.full((32, 2), np.nan, np.float32)}, "actions of window 0 are not all finite"),
        ],
    )
    def test_windows_that_cannot_be_learned_from(self, changes: Any, message: str) -> None:
        with pytest.raises(BadDataError, match=message):
            sac("torch").learn(window(32, discrete=False, **changes))

    @both
    def test_spaces(self, framework: str) -> None:
        agent, box, actions = sac(framework), spaces.Box(-1, 1, (OBSERVATIONS,)), spaces.Box(-2, 2, (ACTIONS,))
        agent.check_spaces(box, actions)
        with pytest.raises(SpaceError, match="Use PPO or DQN for discrete actions"):
            agent.check_spaces(box, spaces.Discrete(2))
        agent.check_spaces(box, spaces.Box(-2, 2, (ACTIONS, 1)))
        with pytest.raises(SpaceError, match="serves a Box of 2 floats"):
            agent.check_spaces(box, spaces.Box(-1, 1, (3,)))
        for low, high in (
            (0.0, np.inf),
            (-np.inf, np.inf),
            (-3.4e38, 3.4e38),
            (np.array([-1, -np.inf], np.float32), np.ones(2, np.float32)),
        ):
            with pytest.raises(SpaceError, match=r"finite bounds.*TransformAction.*or use PPO"):
                agent.check_spaces(box, spaces.Box(low, high, None if np.ndim(low) else (ACTIONS,), np.float32))  # type: ignore[arg-type]
        with pytest.raises(SpaceError, match=r"1,000,000 wide.*TransformAction.*RescaleAction\(env, -1, 1\)"):
            agent.check_spaces(box, spaces.Box(-1e7, 1e7, (ACTIONS,)))
        with pytest.raises(SpaceError, match="observations must be vectors"):
            agent.check_spaces(spaces.Box(0, 255, (84, 84, 3), np.uint8), actions)
        with pytest.raises(ModelShapeError, match="actor cannot take"):
            agent.check_spaces(spaces.Box(-1, 1, (4,)), actions)

    def test_a_critic_of_observations_alone(self) -> None:
        nets = [torch_net(3, 4), torch_net(3, 1), torch_net(3, 1)]
        trained = (
            nets[0].parameters(),
            [*nets[1].parameters(), *nets[2].parameters()],
            [torch.nn.Parameter(torch.zeros(1))],
        )
        agent = TorchSACAgent(
            *nets, 2, *(torch.optim.Adam(p) for p in trained), HyperparamSet({"replay_capacity": 500})
        )
        with pytest.raises(ModelShapeError, match=r"critic1 cannot take \[observation ‖ action\] of 3 \+ 2 = 5"):
            agent.check_spaces(spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,)))
