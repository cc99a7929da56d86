"""Evaluate and deploy a trained policy: `python -m examples.use_policy runs/CartPole-v1 CartPole-v1`.

The policy is loaded from the folder of the run, without the training's code. It plays fresh episodes, and its score
gets an interval; then it answers observations as a service would.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence

import gymnasium as gym
import numpy as np

from tensor_optix import Policy, load_policy


def evaluate(policy: Policy, env: gym.Env, episodes: int, seed: int = 1_000_000) -> np.ndarray:
    """Play fresh episodes greedily, and return their returns."""
    returns = np.zeros(episodes)
    for episode in range(episodes):
        observation, info = env.reset(seed=seed + episode)
        is_over = False
        while not is_over:
            action = policy.predict(observation, action_mask=info.get("action_mask"))
            observation, reward, terminated, truncated, info = env.step(action)
            returns[episode] += float(reward)
            is_over = terminated or truncated
    return returns


def interval(returns: np.ndarray, draws: int = 2_000, seed: int = 0) -> tuple[float, float]:
    """Return a 95 % interval of the mean, by the bootstrap."""
    means = np.random.default_rng(seed).choice(returns, (draws, len(returns))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def answers(policy: Policy, lines: Iterable[str]) -> Iterator[str]:
    """Answer observations, one JSON array a line, with actions as JSON; a line that is none gets an error."""
    for line in lines:
        try:
            action = policy.predict(np.asarray(json.loads(line), np.float32))
            yield json.dumps({"action": np.asarray(action).tolist()})
        except ValueError as error:  # of JSON, and of an observation that is not of the space
            yield json.dumps({"error": str(error)})


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate; with --serve, answer what comes on standard input besides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=os.fspath)
    parser.add_argument("env")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--serve", action="store_true", help="answer observations from standard input")
    args = parser.parse_args(argv)
    policy = load_policy(args.run_dir)
    returns = evaluate(policy, gym.make(args.env), args.episodes)
    low, high = interval(returns)
    print(f"{returns.mean():.1f}  [{low:.1f}, {high:.1f}] over {len(returns)} fresh episodes", file=sys.stderr)
    if args.serve:
        for answer in answers(policy, sys.stdin):
            print(answer, flush=True)


if __name__ == "__main__":
    main()
