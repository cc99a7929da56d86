"""Stable-Baselines3 at the settings of a task."""

import time
from typing import Any

from benchmarks._speed_tasks import VAL_EPISODES, Task, Trace

_POLICIES = {"ppo": {}, "dqn": {"net_arch": [256, 256]}, "sac": {"net_arch": [256, 256]}}
"""What is not the peer's default: for PPO 64-64 tanh, separate and orthogonal, and Adam with ε = 1e-5 are."""


def run_peer(task: Task, windows: int, seed: int, *, evaluates: bool) -> Trace:
    """Train for a number of windows, and tell when each of them ended."""
    import gymnasium as gym
    import stable_baselines3  # pyright: ignore[reportMissingImports] - it comes with the extra "bench"
    import torch
    from stable_baselines3.common.callbacks import (  # pyright: ignore[reportMissingImports]
        BaseCallback,
        EvalCallback,
    )
    from stable_baselines3.common.env_util import make_vec_env  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.monitor import Monitor  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    trace = Trace()

    class Clock(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if self.num_timesteps % task.window == 0:
                trace.times.append(time.perf_counter())
                if evaluates and self.num_timesteps:
                    trace.scores.append(float(evaluation.last_mean_reward))

        def _on_training_end(self) -> None:
            self._on_rollout_start()

    evaluation: Any = EvalCallback(
        Monitor(gym.make(task.env)),
        n_eval_episodes=VAL_EPISODES,
        eval_freq=task.window // task.n_envs,
        deterministic=True,
        verbose=0,
    )
    env = gym.make(task.env) if task.n_envs == 1 else make_vec_env(task.env, task.n_envs)
    model = getattr(stable_baselines3, task.algorithm.upper())(
        "MlpPolicy", env, policy_kwargs=_POLICIES[task.algorithm], seed=seed, device="cpu", **task.peer_settings
    )
    model.learn(windows * task.window, callback=[evaluation, Clock()] if evaluates else [Clock()])
    return trace
