"""One contestant of the race: `python -m benchmarks._race_runs SETTINGS`, JSON in, JSON out in the last line.

What only one contestant needs is imported by it, as the time of imports counts.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._clocks import seconds_of_all

EPISODES = 20
"""Greedy ones of a look, fresh ones each time."""
_EPISODE_SEED = 90_000_001
_SECONDS, _SHARE = 1.0, 0.1
"""From one look to the next: so many, or this share of the time so far."""
_CALLS = 64
"""Steps of the peer between two looks at the clock."""

Scores = Callable[[int], float]
"""Returns the mean return of the present policy on episodes from a seed."""


class Race:
    """Looks at the score in between, while the clocks stand still, until the goal is reached or the time is over.

    Args:
        goal: the score to reach.
        cap: processor seconds.
        begun: when the process was started, by the monotonic clock.
    """

    def __init__(self, goal: float, cap: float, begun: float) -> None:
        self._goal, self._cap = goal, cap
        self._cpu_paused, self._wall_paused, self._next = 0.0, begun, 0.0
        self.looks: list[tuple[float, float, float]] = []
        """Processor seconds, seconds and score of each."""

    @property
    def is_over(self) -> bool:
        """Whether the newest look has ended it."""
        return bool(self.looks) and (self.looks[-1][2] >= self._goal or self.looks[-1][0] >= self._cap)

    def look(self, scores: Scores, *, is_last: bool = False) -> bool:
        """Look at the score where it is time for it, or by all means, and return whether the race is over."""
        cpu, wall = seconds_of_all(), time.monotonic()
        spent = cpu - self._cpu_paused
        if is_last or spent >= min(self._next, self._cap):
            score = scores(_EPISODE_SEED + 1000 * len(self.looks))
            self.looks.append((spent, wall - self._wall_paused, score))
            self._next = spent + max(_SECONDS, _SHARE * spent)
            self._cpu_paused += seconds_of_all() - cpu
            self._wall_paused += time.monotonic() - wall
        return self.is_over

    def told(self, steps: int) -> str:
        """Return the result as JSON."""
        cpu, wall, score = self.looks[-1]
        found = {"reached": score >= self._goal, "cpu_seconds": cpu, "seconds": wall, "score": score, "steps": steps}
        ended = "goal" if found["reached"] else "cap" if cpu >= self._cap else "by itself"
        looks = [[round(one, 2) for one in look] for look in self.looks]
        return json.dumps({**found, "ended": ended, "looks": looks})


def run_ours(race: Race, env: str, seed: int, algorithm: str | None, framework: str | None, folder: Path) -> None:
    """Run `tensor-optix train`, with no flag but the seed and, where one is asked for, `--algo` or `--framework`."""
    from unittest import mock

    from tensor_optix.cli import main
    from tensor_optix.core.loop_callback import LoopCallback
    from tensor_optix.optimizer import RLOptimizer
    from tensor_optix.runs import RunDescription

    made: list[RLOptimizer] = []
    original = RunDescription.optimizer

    def scores(episode_seed: int) -> float:
        from benchmarks._runs import true_mean

        return true_mean(env, made[0]._controller.agent, EPISODES, episode_seed)

    class Watcher(LoopCallback):
        def on_episode_end(self, window_id: int, eval_metrics: object) -> None:
            if race.look(scores):
                print(race.told(made[0].status.env_steps), flush=True)
                os._exit(0)  # what the command does to end its run is no part of the race

    def watched(self: RunDescription, *args: Any, **kwargs: Any) -> RLOptimizer:
        made.append(original(self, *args, **{**kwargs, "callbacks": [Watcher()]}))
        return made[0]

    flags = [*(["--algo", algorithm] if algorithm else []), *(["--framework", framework] if framework else [])]
    with mock.patch.object(RunDescription, "optimizer", watched):
        main(["train", env, "--seed", str(seed), *flags, "--run-dir", str(folder / "run"), "--no-progress"])
    race.look(scores, is_last=True)  # it holds the best policy of its run now
    print(race.told(made[0].status.env_steps))


def run_peer(race: Race, env: str, seed: int) -> None:
    """Train Stable-Baselines3 with the Zoo's settings, for as many steps as those say."""
    sys.modules["tensorflow"] = None  # type: ignore[assignment] - it has no use for it, and would wait for its import
    import stable_baselines3  # pyright: ignore[reportMissingImports] - it comes with the extra "bench"
    import torch
    from stable_baselines3.common.callbacks import BaseCallback  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.env_util import make_vec_env  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.evaluation import evaluate_policy  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.vec_env import VecNormalize  # pyright: ignore[reportMissingImports]

    from benchmarks._race_tasks import TASKS

    torch.set_num_threads(1)
    zoo = next(task.zoo for task in TASKS if task.env == env)
    settings = {name: _scheduled(value) for name, value in zoo.settings.items()}
    envs: Any = make_vec_env(env, zoo.n_envs, seed=seed)
    if zoo.normalizes:
        envs = VecNormalize(envs, gamma=settings["gamma"])
    kind = getattr(stable_baselines3, zoo.algorithm.upper())
    model = kind("MlpPolicy", envs, seed=seed, device="cpu", **settings)

    def scores(episode_seed: int) -> float:
        played: Any = make_vec_env(env, EPISODES, seed=episode_seed)
        if zoo.normalizes:
            played = VecNormalize(played, training=False, norm_reward=False)
            played.obs_rms = envs.obs_rms
        mean, _ = evaluate_policy(model, played, EPISODES, deterministic=True)
        played.close()
        return float(mean)

    class Watcher(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls % _CALLS != 0 or not race.look(scores)

    model.learn(int(zoo.steps), callback=Watcher())
    if not race.is_over:
        race.look(scores, is_last=True)
    print(race.told(model.num_timesteps))


def _scheduled(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    start = float(value.removeprefix("lin_"))
    return lambda remaining: remaining * start


def _main() -> None:
    given: dict[str, Any] = json.loads(sys.argv[1])
    race = Race(given["goal"], given["cap"], given["begun"])
    if given["is_ours"]:
        run_ours(race, given["env"], given["seed"], given["algorithm"], given["framework"], Path(given["folder"]))
    else:
        run_peer(race, given["env"], given["seed"])


if __name__ == "__main__":
    _main()
