"""The environments of the race, and the settings of RL Baselines3 Zoo that its own training has there.

Of the Zoo's algorithms the one with the best published return; where two come to the same, the one that gets there in
less time. For the pendulums and Reacher of MuJoCo it has settings of PPO, and no published returns.

Source: https://github.com/DLR-RM/rl-baselines3-zoo, `hyperparams/`, as of April 2026.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks._field_tasks import FIELD


@dataclass(frozen=True, kw_only=True)
class Zoo:
    """Settings of Stable-Baselines3; a learning rate or clip range as `lin_NUMBER` falls to 0 over the steps."""

    algorithm: str = "ppo"
    steps: float = 1e6
    n_envs: int = 1
    normalizes: bool = False
    """Observations and rewards."""
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Task:
    """An environment."""

    env: str
    off_policy: str
    """Of ours, beside PPO."""
    zoo: Zoo

    @property
    def published(self) -> float:
        """The score that the goal is made from."""
        return next(task.goal for task in FIELD if task.env == self.env)


_DQN = {"policy_kwargs": {"net_arch": [256, 256]}}
_LUNAR_LANDER = Zoo(
    n_envs=16,
    settings={"n_steps": 1024, "batch_size": 64, "gae_lambda": 0.98, "gamma": 0.999, "n_epochs": 4, "ent_coef": 0.01},
)

TASKS = (
    Task(
        env="CartPole-v1",
        off_policy="dqn",
        zoo=Zoo(
            steps=1e5,
            n_envs=8,
            settings={
                "n_steps": 32,
                "batch_size": 256,
                "gae_lambda": 0.8,
                "gamma": 0.98,
                "n_epochs": 20,
                "ent_coef": 0.0,
                "learning_rate": "lin_0.001",
                "clip_range": "lin_0.2",
            },
        ),
    ),
    Task(
        env="Acrobot-v1",
        off_policy="dqn",
        zoo=Zoo(
            n_envs=16,
            normalizes=True,
            settings={"n_steps": 256, "gae_lambda": 0.94, "gamma": 0.99, "n_epochs": 4, "ent_coef": 0.0},
        ),
    ),
    Task(
        env="MountainCar-v0",
        off_policy="dqn",
        zoo=Zoo(
            algorithm="dqn",
            steps=1.2e5,
            settings={
                **_DQN,
                "learning_rate": 4e-3,
                "batch_size": 128,
                "buffer_size": 10_000,
                "learning_starts": 1000,
                "gamma": 0.98,
                "target_update_interval": 600,
                "train_freq": 16,
                "gradient_steps": 8,
                "exploration_fraction": 0.2,
                "exploration_final_eps": 0.07,
            },
        ),
    ),
    Task(
        env="Pendulum-v1",
        off_policy="sac",
        zoo=Zoo(algorithm="sac", steps=2e4, settings={"learning_rate": 1e-3}),
    ),
    Task(
        env="MountainCarContinuous-v0",
        off_policy="sac",
        zoo=Zoo(
            algorithm="sac",
            steps=5e4,
            settings={
                "learning_rate": 3e-4,
                "buffer_size": 50_000,
                "batch_size": 512,
                "ent_coef": 0.1,
                "train_freq": 32,
                "gradient_steps": 32,
                "gamma": 0.9999,
                "tau": 0.01,
                "learning_starts": 0,
                "use_sde": True,
                "policy_kwargs": {"log_std_init": -3.67, "net_arch": [64, 64]},
            },
        ),
    ),
    Task(env="LunarLander-v3", off_policy="dqn", zoo=_LUNAR_LANDER),
    Task(env="LunarLanderContinuous-v3", off_policy="sac", zoo=_LUNAR_LANDER),
    Task(
        env="InvertedPendulum-v5",
        off_policy="sac",
        zoo=Zoo(
            normalizes=True,
            settings={
                "batch_size": 64,
                "n_steps": 32,
                "gamma": 0.999,
                "learning_rate": 2.22425e-4,
                "ent_coef": 1.37976e-7,
                "clip_range": 0.4,
                "n_epochs": 5,
                "gae_lambda": 0.9,
                "max_grad_norm": 0.3,
                "vf_coef": 0.19816,
            },
        ),
    ),
    Task(
        env="InvertedDoublePendulum-v5",
        off_policy="sac",
        zoo=Zoo(
            normalizes=True,
            settings={
                "batch_size": 512,
                "n_steps": 128,
                "gamma": 0.98,
                "learning_rate": 1.55454e-4,
                "ent_coef": 1.05057e-6,
                "clip_range": 0.4,
                "n_epochs": 10,
                "gae_lambda": 0.8,
                "max_grad_norm": 0.5,
                "vf_coef": 0.695929,
            },
        ),
    ),
    Task(
        env="Reacher-v5",
        off_policy="sac",
        zoo=Zoo(
            normalizes=True,
            settings={
                "batch_size": 32,
                "n_steps": 512,
                "gamma": 0.9,
                "learning_rate": 1.04019e-4,
                "ent_coef": 7.52585e-8,
                "clip_range": 0.3,
                "n_epochs": 5,
                "gae_lambda": 1.0,
                "max_grad_norm": 0.9,
                "vf_coef": 0.950368,
            },
        ),
    ),
)
"""Shortest first."""
