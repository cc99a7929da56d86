"""What collecting costs: the environment alone, this library, and Stable-Baselines3, in processor time for each step.

Environments that do nothing show what it adds in every kind of space, as what they cost cannot vary.

`python -m benchmarks.collecting --measure ENV` measures one environment in this process and prints JSON.

Nothing learns. An untrained policy of two layers of 64 acts, so that episodes are short and resets count. All collect
in turn within one process, and each keeps its cheapest turn, as others on the machine only ever add to the time.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks._idle_worlds import IDLE, register
from benchmarks._results import Row, Spread, table
from benchmarks._suite import Measurement, Options, run_python

TITLE = "Collecting"
ENVS = (
    "CartPole-v1",
    "Acrobot-v1",
    "Pendulum-v1",
    "LunarLander-v3",
    "HalfCheetah-v5",
    "FrozenLake-v1",
    "Taxi-v4",
    "Blackjack-v1",
)
N_ENVS = 8
STEPS = 2048
"""Of all environments together, in each turn."""
TURNS = 12
LABELS = {
    "environment": "the environment",
    "together": f"ours, {N_ENVS} in one process",
    "single": "ours, one",
    "sb3": f"Stable-Baselines3, {N_ENVS} in one process",
}

_ADDED = f"Added, {N_ENVS}", "Added, one"


def plan(options: Options) -> Iterator[Measurement]:
    """Return each environment in every round."""
    for env in [env for env in (*ENVS, *IDLE) if not options.only or env in options.only]:
        for round_ in range(options.rounds):
            yield Measurement(f"{env}/round{round_}", partial(_measure_apart, env, round_))


def _measure_apart(env: str, round_: int) -> dict[str, Any]:
    found = json.loads(run_python("-m", "benchmarks.collecting", "--measure", env, "--seed", str(round_)))
    return {"env": env, "round": round_, "microseconds": found}


def measure(env: str, seed: int) -> dict[str, float | None]:
    """Return processor microseconds for each step, by variant; None where it cannot collect there."""
    register()
    made = {"environment": _environment, "together": _together, "single": _single, "sb3": _peer}
    turns = {name: make(env, seed) for name, make in made.items()}
    best: dict[str, float | None] = dict.fromkeys(turns)
    for turn in range(TURNS + 1):
        for name, collect in turns.items():
            if collect is None:
                continue
            begun = time.process_time()
            collect()
            cost = (time.process_time() - begun) / STEPS * 1e6
            known = best[name]
            if turn:  # what is made once is made in the first
                best[name] = cost if known is None else min(cost, known)
    return best


def _environment(env: str, seed: int) -> Callable[[], object]:
    """Return what steps an environment with actions by chance."""
    import gymnasium as gym

    made = gym.make(env)
    made.reset(seed=seed)
    made.action_space.seed(seed)
    actions = [made.action_space.sample() for _ in range(STEPS)]

    def collect() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = made.step(action)
            if terminated or truncated:
                made.reset()

    return collect


def _together(env: str, seed: int) -> Callable[[], object]:
    from gymnasium import make

    from tensor_optix import VectorBatchPipeline, make_agent

    agent = make_agent(env, "ppo", "torch", seed=seed)
    envs = [partial(make, env)] * N_ENVS
    windows = VectorBatchPipeline(envs, agent, window_size=STEPS // N_ENVS, seed=seed).episodes()
    return lambda: next(windows)


def _single(env: str, seed: int) -> Callable[[], object]:
    from tensor_optix import BatchPipeline, make_agent

    agent = make_agent(env, "ppo", "torch", seed=seed)
    windows = BatchPipeline(env, agent, window_size=STEPS, seed=seed).episodes()
    return lambda: next(windows)


def _peer(env: str, seed: int) -> Callable[[], object] | None:
    """Return what collects a rollout of the peer; None where it is not installed, or does not take the space."""
    try:
        from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports] - it comes with the extra "bench"
        from stable_baselines3.common.env_util import make_vec_env  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    import torch
    from gymnasium import spaces

    torch.set_num_threads(1)
    if env in IDLE:  # those with a space that the peer takes would tell nothing more than the others
        return None
    made = make_vec_env(env, N_ENVS, seed=seed)
    if isinstance(made.observation_space, spaces.Tuple):
        return None
    model = PPO("MlpPolicy", made, n_steps=STEPS // N_ENVS, seed=seed, device="cpu")
    _, callback = model._setup_learn(STEPS)
    return partial(model.collect_rollouts, model.env, callback, model.rollout_buffer, STEPS // N_ENVS)


def render(rows: Sequence[Row]) -> list[str]:
    """Return the costs by environment, what this library adds to the environment, and how the peer compares."""
    lines: list[list[str]] = []
    idle: list[list[str]] = []
    for env in dict.fromkeys(row["env"] for row in rows):
        found: list[Mapping[str, float | None]] = [row["microseconds"] for row in rows if row["env"] == env]
        added = _added(found, "together"), _added(found, "single")
        if env in IDLE:
            idle.append([*map(str, IDLE[env]), _spread(found, "environment"), *added])
        else:
            lines.append([env, *(_spread(found, name) for name in LABELS), *added, _ratio(found)])
    return [
        "Processor microseconds for each step, one thread, nothing learns: environments made by functions, an "
        "untrained policy of 64-64, and `collect_rollouts` of the peer's PPO. Ours seeds each episode anew. Medians of "
        "rounds in processes of their own, with [min, max].",
        "",
        *table(("Environment", *LABELS.values(), *_ADDED, f"Peer / ours, {N_ENVS}"), lines),
        "Environments that do nothing, by their spaces: what is added is free of what they cost themselves, and of "
        "what they take longer where other code runs between their steps. Goals: 12 and 25.",
        "",
        *table(("Observations", "Actions", LABELS["environment"], *_ADDED), idle),
    ]


def _spread(found: Sequence[Mapping[str, float | None]], name: str) -> str:
    costs = [cost for row in found if (cost := row[name]) is not None]
    return Spread.of(costs).text(1) if costs else "-"


def _added(found: Sequence[Mapping[str, float | None]], name: str) -> str:
    return Spread.of((row[name] or 0.0) - (row["environment"] or 0.0) for row in found).text(1)


def _ratio(found: Sequence[Mapping[str, float | None]]) -> str:
    ratios = [peer / ours for row in found if (peer := row["sb3"]) and (ours := row["together"])]
    return Spread.of(ratios).text(2) if ratios else "-"


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collecting", description="Measure one environment.")
    parser.add_argument("--measure", required=True, metavar="ENV")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of environments, which say what they would rather be
    print(json.dumps(measure(args.measure, args.seed)))


if __name__ == "__main__":
    _main()
