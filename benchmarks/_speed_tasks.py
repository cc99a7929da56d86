"""What the speed suite compares: environments, settings and budgets, the same for this library and for the peer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ON_POLICY_ORDER = ("sb3_eval", "torch", "tf", "sb3")
OFF_POLICY_ORDER = ("sb3", "tf", "torch")
VAL_EPISODES = 5
LABELS = {
    "sb3": "Stable-Baselines3, no evaluation",
    "sb3_eval": "Stable-Baselines3, `EvalCallback`",
    "torch": "tensor-optix, PyTorch",
    "tf": "tensor-optix, TensorFlow (XLA)",
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """One comparison."""

    about: str
    """What it is, for the page of results."""
    env: str
    algorithm: str
    window: int
    """Steps per window, in all environments together."""
    n_envs: int = 1
    warm_up: int
    """Windows before the measured ones, in which learning starts and things are compiled."""
    windows: int
    """Windows measured."""
    order: tuple[str, ...]
    """Variants in turn; every other round goes backwards, so that a drift of the machine favours none."""
    evaluates: bool
    """Ours evaluates after every window, as `sb3_eval` does."""
    net_arch: tuple[int, ...] = (64, 64)
    shared: tuple[tuple[str, str, float], ...]
    """Hyper-parameters: this library's name, the peer's name, the value of both."""
    ours: Mapping[str, Any] = field(default_factory=dict)
    """What only this library has a name for."""
    peer: Mapping[str, Any] = field(default_factory=dict)
    """What only the peer has a name for."""

    @property
    def hyperparams(self) -> dict[str, Any]:
        """This library's settings."""
        return {name: value for name, _, value in self.shared} | dict(self.ours)

    @property
    def peer_settings(self) -> dict[str, Any]:
        """The peer's settings."""
        return {name: value for _, name, value in self.shared} | dict(self.peer)


_PPO = (
    ("learning_rate", "learning_rate", 3e-4),
    ("clip_ratio", "clip_range", 0.2),
    ("entropy_coef", "ent_coef", 0.01),
    ("vf_coef", "vf_coef", 0.5),
    ("gamma", "gamma", 0.99),
    ("gae_lambda", "gae_lambda", 0.95),
    ("n_epochs", "n_epochs", 10),
    ("minibatch_size", "batch_size", 64),
    ("max_grad_norm", "max_grad_norm", 0.5),
)

TASKS: Mapping[str, Task] = {
    "ppo": Task(
        about=f"PPO on CartPole-v1, one environment, 64-64 tanh, 2,048 steps per window, 10 epochs of minibatches of "
        f"64. Evaluation: {VAL_EPISODES} greedy episodes per window.",
        env="CartPole-v1",
        algorithm="ppo",
        window=2048,
        warm_up=2,
        windows=10,
        order=ON_POLICY_ORDER,
        evaluates=True,
        shared=_PPO,
        peer={"n_steps": 2048},
    ),
    "ppo8": Task(
        about="PPO on CartPole-v1, 8 environments in one process (ours: Gymnasium's vectorised CartPole, which "
        "`VectorBatchPipeline` takes by itself; the peer's: `DummyVecEnv`), 256 steps of each per window; the rest as "
        "with one environment.",
        env="CartPole-v1",
        algorithm="ppo",
        window=2048,
        n_envs=8,
        warm_up=2,
        windows=10,
        order=ON_POLICY_ORDER,
        evaluates=True,
        shared=_PPO,
        peer={"n_steps": 256},
    ),
    "dqn": Task(
        about="DQN on CartPole-v1 at the settings of RL Baselines3 Zoo: 256-256 relu, 128 updates of 64 transitions "
        "after every 256 steps, no double Q, Huber loss. Nobody evaluates.",
        env="CartPole-v1",
        algorithm="dqn",
        window=256,
        warm_up=8,
        windows=40,
        order=OFF_POLICY_ORDER,
        evaluates=False,
        net_arch=(256, 256),
        shared=(
            ("learning_rate", "learning_rate", 2.3e-3),
            ("batch_size", "batch_size", 64),
            ("replay_capacity", "buffer_size", 100_000),
            ("learning_starts", "learning_starts", 1000),
            ("gamma", "gamma", 0.99),
            ("epsilon_min", "exploration_final_eps", 0.04),
        ),
        # Both explore at the final rate when the measured windows begin.
        # The peer counts steps to the next copy of its target, and learns only every 256 of them.
        ours={
            "updates_per_step": 0.5,
            "target_update_freq": 128,
            "epsilon_decay": 0.5,
            "double_q": 0,
            "huber_delta": 1.0,
        },
        peer={
            "train_freq": 256,
            "gradient_steps": 128,
            "target_update_interval": 10,
            "exploration_fraction": 0.16,
        },
    ),
    "sac": Task(
        about="SAC on HalfCheetah-v5, 256-256 relu, one update of 256 transitions per step, timed after learning has "
        "started. Ours makes its updates every 64 steps, the peer after each. Nobody evaluates.",
        env="HalfCheetah-v5",
        algorithm="sac",
        window=64,
        warm_up=20,
        windows=32,
        order=OFF_POLICY_ORDER,
        evaluates=False,
        net_arch=(256, 256),
        shared=(
            ("learning_rate", "learning_rate", 3e-4),
            ("batch_size", "batch_size", 256),
            ("replay_capacity", "buffer_size", 1_000_000),
            ("learning_starts", "learning_starts", 1000),
            ("gamma", "gamma", 0.99),
            ("tau", "tau", 0.005),
        ),
        ours={"updates_per_step": 1},
        peer={"train_freq": 1, "gradient_steps": 1},
    ),
}
"""By the name that `--measure` takes."""


@dataclass
class Trace:
    """What one training leaves behind."""

    times: list[float] = field(default_factory=list)
    """Clock at the start and at the end of each window, seconds."""
    scores: list[float] = field(default_factory=list)
    """Mean return of each evaluation; on CartPole also its mean length, so what the evaluation had to do."""
