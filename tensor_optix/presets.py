"""Hyper-parameters that are known to learn, per environment and algorithm.

Starting points from public benchmark tables (RL Baselines3 Zoo, CleanRL), without schedules: a run need not have a
length to decay over, and is tuned while it trains. `python -m benchmarks learning` trains each of them but those for
Atari games, which take days on a processor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import gymnasium as gym

from tensor_optix.pipeline.environment.atari import is_atari
from tensor_optix.pipeline.environment.pool_tasks import known_as


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Where to start."""

    hyperparams: Mapping[str, float] = field(default_factory=dict)
    """Overrides of the algorithm's table."""
    net_arch: tuple[int, ...] = (64, 64)
    """Hidden layers; images have those of the Nature DQN."""
    exploration_noise: str = "white"
    """SAC only."""
    n_envs: int = 8
    """Environments that are worth stepping together, where that is faster."""
    window_size: int = 2048
    """Steps per window, over all environments."""
    base_interval: int = 1
    """Windows between evaluations while learning."""
    normalize_observations: bool = False
    normalize_rewards: bool = False


_DEFAULTS = {
    "ppo": Preset(),
    # As in each of the Zoo's settings of RecurrentPPO. A cell of small inputs remembers little: masked CartPole, whose
    # angles are tenths of a radian, took 87,000 steps with it and was not there after 207,000 without.
    "recurrent_ppo": Preset(normalize_observations=True, normalize_rewards=True),
    # A window is how long the policy acts unchanged: short ones learn from fresh experience, and several of them make
    # up what is worth an evaluation.
    "dqn": Preset(
        hyperparams={"learning_rate": 6.3e-4, "double_q": 1, "huber_delta": 1.0, "epsilon_decay": 0.98},
        net_arch=(256, 256),
        n_envs=1,
        window_size=256,
        base_interval=8,
    ),
    "sac": Preset(net_arch=(256, 256), n_envs=1, window_size=64, base_interval=32),
}

_ATARI = {
    "ppo": Preset(
        hyperparams={"learning_rate": 2.5e-4, "clip_ratio": 0.1, "n_epochs": 4, "minibatch_size": 256},
        window_size=1024,
        base_interval=16,
    ),
    "dqn": Preset(
        hyperparams={
            "learning_rate": 1e-4,
            "batch_size": 32,
            "target_update_freq": 1000,
            "learning_starts": 10_000,
            "epsilon_decay": 0.995,
            "epsilon_min": 0.01,
            "double_q": 1,
            "huber_delta": 1.0,
        },
        n_envs=1,
        window_size=256,
        base_interval=64,
    ),
}

# Positions, angles and forces of unlike scales, without bounds that would tell them.
_MUJOCO = {"ppo": Preset(hyperparams={"entropy_coef": 0.0}, normalize_observations=True, normalize_rewards=True)}

_LUNAR_LANDER = Preset(
    hyperparams={"gamma": 0.999, "gae_lambda": 0.98, "entropy_coef": 0.01, "n_epochs": 4},
    n_envs=16,
    window_size=16_384,
)

_PRESETS: dict[tuple[str, str], Preset] = {
    ("CartPole-v1", "ppo"): Preset(hyperparams={"entropy_coef": 0.0}),
    ("Acrobot-v1", "ppo"): Preset(hyperparams={"entropy_coef": 0.01, "gae_lambda": 0.94}),
    ("Pendulum-v1", "ppo"): Preset(hyperparams={"learning_rate": 1e-3, "gamma": 0.9, "entropy_coef": 0.0}),
    ("MountainCar-v0", "ppo"): Preset(
        hyperparams={"gae_lambda": 0.98, "entropy_coef": 0.0, "n_epochs": 4, "gamma": 0.99},
        n_envs=16,
        normalize_observations=True,
        normalize_rewards=True,
    ),
    ("LunarLander-v3", "ppo"): _LUNAR_LANDER,
    ("LunarLanderContinuous-v3", "ppo"): _LUNAR_LANDER,
    ("BipedalWalker-v3", "ppo"): Preset(
        hyperparams={"gamma": 0.999, "entropy_coef": 0.0, "clip_ratio": 0.18},
        n_envs=16,
        window_size=16_384,
        normalize_observations=True,
        normalize_rewards=True,
    ),
    ("Reacher-v5", "ppo"): replace(_MUJOCO["ppo"], hyperparams={"entropy_coef": 0.0, "gamma": 0.9}),
    # Episodes of 1,000 steps, of which a window of one environment holds two whole ones: eight would share it.
    ("Swimmer-v5", "ppo"): replace(_MUJOCO["ppo"], hyperparams={"gamma": 0.9999}, n_envs=1),
    ("CartPole-v1", "dqn"): Preset(
        hyperparams={
            "learning_rate": 2.3e-3,
            "target_update_freq": 128,
            "updates_per_step": 0.5,
            "epsilon_decay": 0.9,
            "epsilon_min": 0.04,
            "double_q": 1,
            "huber_delta": 1.0,
        },
        net_arch=(256, 256),
        n_envs=1,
        window_size=256,
        base_interval=8,
    ),
    ("MountainCar-v0", "dqn"): Preset(
        hyperparams={
            "learning_rate": 4e-3,
            "batch_size": 128,
            "replay_capacity": 10_000,
            "gamma": 0.98,
            "target_update_freq": 300,
            "updates_per_step": 0.5,
            "epsilon_decay": 0.99,
            "epsilon_min": 0.07,
            "double_q": 1,
            "huber_delta": 1.0,
        },
        net_arch=(256, 256),
        n_envs=1,
        window_size=128,
        base_interval=64,
    ),
    ("Pendulum-v1", "sac"): Preset(
        hyperparams={"learning_rate": 1e-3, "learning_starts": 256},
        net_arch=(64, 64),
        n_envs=1,
        window_size=64,
        base_interval=16,
    ),
    ("MountainCarContinuous-v0", "sac"): Preset(
        hyperparams={
            "batch_size": 512,
            "replay_capacity": 50_000,
            "gamma": 0.9999,
            "tau": 0.01,
            "log_alpha_init": -2.3,
        },
        net_arch=(64, 64),
        exploration_noise="pink",
        n_envs=1,
        window_size=64,
        base_interval=32,
    ),
    ("HalfCheetah-v5", "sac"): Preset(net_arch=(256, 256), n_envs=1, window_size=64, base_interval=64),
}


def preset_for(env_id: str, algorithm: str) -> Preset:
    """Return the preset of an environment or of its kind, or the algorithm's default."""
    env_id = known_as(env_id)
    known = (_PRESETS.get((env_id, algorithm)), _kind(env_id).get(algorithm), _DEFAULTS[algorithm])
    return next(preset for preset in known if preset is not None)


def has_preset(env_id: str, algorithm: str) -> bool:
    """Return True if hyper-parameters are known for an environment or its kind."""
    env_id = known_as(env_id)
    return (env_id, algorithm) in _PRESETS or algorithm in _kind(env_id)


def _kind(env_id: str) -> Mapping[str, Preset]:
    """Return the presets of an environment's kind, by algorithm."""
    if is_atari(env_id):
        return _ATARI
    spec = gym.registry.get(env_id)
    is_mujoco = spec is not None and str(spec.entry_point).startswith("gymnasium.envs.mujoco.")
    return _MUJOCO if is_mujoco else {}
