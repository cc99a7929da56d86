"""Other libraries at the settings of a task: Stable-Baselines3, SBX and rlox."""

import os
from importlib import import_module
from typing import Any

from benchmarks._speed_tasks import VAL_EPISODES, Task, Trace, Variant

_POLICIES = {"ppo": {}, "dqn": {"net_arch": [256, 256]}, "sac": {"net_arch": [256, 256]}}
"""What is not the peer's default: for PPO 64-64 tanh, separate and orthogonal, and Adam with ε = 1e-5 are."""
_RLOX_NAMES = {"clip_range": "clip_eps"}


def run_sb3(task: Task, windows: int, seed: int, variant: Variant) -> Trace:
    """Train for a number of windows, and tell when each of them ended; SBX has the same interface."""
    import gymnasium as gym
    import torch
    from stable_baselines3.common.callbacks import (  # pyright: ignore[reportMissingImports] - it comes with "bench"
        BaseCallback,
        EvalCallback,
    )
    from stable_baselines3.common.monitor import Monitor  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(task.threads)
    library = import_module("sbx" if variant.by == "sbx" else "stable_baselines3")
    trace, evaluates = Trace(), variant.evaluates == "every window"

    class Clock(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if self.num_timesteps % task.window == 0:
                trace.note()
                if evaluates and self.num_timesteps:
                    trace.scores.append(float(evaluation.last_mean_reward))

        def _on_training_end(self) -> None:
            self._on_rollout_start()

    env = _env(task)
    evaluation: Any = EvalCallback(
        Monitor(gym.make(task.env)),
        n_eval_episodes=VAL_EPISODES,
        eval_freq=task.window // task.n_envs,
        deterministic=True,
        verbose=0,
    )
    model = getattr(library, task.algorithm.upper())(
        "MlpPolicy" if task.net_arch else "CnnPolicy",
        env,
        policy_kwargs=_POLICIES[task.algorithm],
        seed=seed,
        device="cpu",
        **task.peer_settings,
    )
    model.learn(windows * task.window, callback=[evaluation, Clock()] if evaluates else [Clock()])
    return trace


def _env(task: Task) -> Any:
    import gymnasium as gym
    from stable_baselines3.common.env_util import (  # pyright: ignore[reportMissingImports]
        make_atari_env,
        make_vec_env,
    )
    from stable_baselines3.common.vec_env import VecFrameStack  # pyright: ignore[reportMissingImports]

    if task.env.startswith("ALE/"):
        gym.register_envs(import_module("ale_py"))
        games = make_atari_env(task.env, task.n_envs, env_kwargs={"frameskip": 1})  # its wrapper skips
        return VecFrameStack(games, n_stack=4)
    return gym.make(task.env) if task.n_envs == 1 else make_vec_env(task.env, task.n_envs)


def run_sbx(task: Task, windows: int, seed: int, variant: Variant) -> Trace:
    """Train with the JAX version of Stable-Baselines3; see `run_sb3`."""
    import sys

    os.environ["NPROC"] = str(task.threads)  # of XLA's pool, which is read once
    if task.threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    # What it takes its distributions from would load TensorFlow, and then miss a package of that.
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    return run_sb3(task, windows, seed, variant)


def run_rlox(task: Task, windows: int, seed: int, variant: Variant) -> Trace:
    """Train with rlox, whose policies and critics have the peer's sizes by default."""
    import rlox.algorithms.ppo  # pyright: ignore[reportMissingImports] - no dependency of ours
    import rlox.algorithms.sac  # pyright: ignore[reportMissingImports]
    import torch
    from rlox import Callback  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(task.threads)
    torch.manual_seed(seed)
    trace, is_ppo = Trace(), task.algorithm == "ppo"
    calls = 1 if is_ppo else task.window  # of `on_step` for each window

    class Clock(Callback):
        """Its window ends with the call in the last step of it, before the update that belongs to that."""

        steps = 0

        def on_training_start(self, **kwargs: Any) -> None:
            trace.note()

        def on_step(self, **kwargs: Any) -> bool:
            self.steps += 1
            if self.steps % calls == 0:
                trace.note()
            return True

    settings = {_RLOX_NAMES.get(name, name): value for name, value in task.peer_settings.items()}
    own = {"n_envs": task.n_envs, "anneal_lr": False} if is_ppo else {}
    kind = rlox.algorithms.ppo.PPO if is_ppo else rlox.algorithms.sac.SAC
    kind(task.env, seed=seed, callbacks=[Clock()], **settings, **own).train(windows * task.window)
    return trace
