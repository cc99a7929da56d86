"""Values that a search over whole runs chooses from, for hyper-parameters that are not tuned within one run.

The others have a range in the table of their algorithm (`Hyperparam.tune`), which a search takes, too. The values are
those of the search spaces of RL Baselines3 Zoo, thinned.
"""

from collections.abc import Mapping

_GAMMA = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
_PPO: Mapping[str, tuple[float, ...]] = {
    "gamma": _GAMMA,
    "gae_lambda": (0.8, 0.9, 0.95, 0.98, 1.0),
    "n_epochs": (4, 10, 20),
    "minibatch_size": (32, 64, 128, 256),
    "max_grad_norm": (0.5, 1.0, 5.0),
}
SEARCHED: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "ppo": _PPO,
    "recurrent_ppo": {**_PPO, "minibatch_size": (128, 256, 512)},
    "dqn": {
        "gamma": _GAMMA,
        "epsilon_min": (0.01, 0.05, 0.1),
        "epsilon_decay": (0.9, 0.95, 0.98, 0.995),
        "target_update_freq": (30, 100, 300, 1000),
        "batch_size": (32, 64, 128, 256),
        "updates_per_step": (0.125, 0.25, 0.5, 1.0),
    },
    "sac": {
        "gamma": _GAMMA,
        "tau": (0.005, 0.01, 0.02, 0.05),
        "batch_size": (64, 128, 256, 512),
        "updates_per_step": (0.25, 0.5, 1.0),
    },
}
"""By algorithm and name."""
