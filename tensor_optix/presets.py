"""Hyper-parameters that are known to learn, per environment and algorithm.

Starting points from public benchmark tables (RL Baselines3 Zoo, CleanRL), for one environment and without schedules:
the loop has no step budget to decay over, and tunes while it trains.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Where to start."""

    hyperparams: Mapping[str, float] = field(default_factory=dict)
    """Overrides of the algorithm's table."""
    window_size: int = 2048
    """Steps per window."""


_DEFAULTS = {"ppo": Preset()}

_PRESETS: dict[tuple[str, str], Preset] = {
    ("CartPole-v1", "ppo"): Preset(hyperparams={"entropy_coef": 0.0}),
    ("Acrobot-v1", "ppo"): Preset(hyperparams={"entropy_coef": 0.01, "gae_lambda": 0.94}),
    ("Pendulum-v1", "ppo"): Preset(
        hyperparams={"learning_rate": 1e-3, "gamma": 0.9, "entropy_coef": 0.0}, window_size=2048
    ),
}


def preset_for(env_id: str, algorithm: str) -> Preset:
    """Return the preset of an environment, or the algorithm's default."""
    return _PRESETS.get((env_id, algorithm), _DEFAULTS[algorithm])
