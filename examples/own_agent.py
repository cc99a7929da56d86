"""An agent of your own, without any framework: `python -m examples.own_agent`.

The cross-entropy method: draw linear policies around a mean, play an episode with each, move the mean to the best.
Source: The Cross-Entropy Method for Combinatorial and Continuous Optimization (Rubinstein, 1999).
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensor_optix import BaseAgent, BatchPipeline, EpisodeData, HyperparamSet, RLOptimizer, TrainingReport
from tensor_optix.testing import check_agent


class CrossEntropy(BaseAgent):
    """A linear policy w with a = [wᵀs > 0], drawn anew for each window.

    Args:
        size: numbers in an observation.
        seed: of what is drawn.
    """

    def __init__(self, size: int = 4, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.mean, self.spread = np.zeros(size), np.ones(size)
        self.params: dict[str, Any] = {"population": 12, "share": 0.25, "extra": 0.05}
        self.tried: list[tuple[float, np.ndarray]] = []
        self.weights = self._drawn()

    def act(self, observation: Any, deterministic: bool = False) -> int:
        """Return the action of the policy on trial, or of the mean."""
        weights = self.mean if deterministic else self.weights
        return int(weights @ np.asarray(observation) > 0)

    def learn(self, episode_data: EpisodeData) -> dict[str, float]:
        """Note how the policy on trial did; after a whole population move the mean."""
        returns = [episode.total_return for episode in episode_data.completed_episodes()]
        if returns:
            self.tried.append((float(np.mean(returns)), self.weights))
        if len(self.tried) >= self.params["population"]:
            best = sorted(self.tried, key=lambda pair: -pair[0])[: max(int(len(self.tried) * self.params["share"]), 2)]
            elite = np.stack([weights for _, weights in best])
            self.mean, self.spread = elite.mean(0), elite.std(0) + self.params["extra"]
            self.tried = []
        self.weights = self._drawn()
        return {"spread": float(self.spread.mean())}

    def get_hyperparams(self) -> HyperparamSet:
        """Return what may be tuned."""
        return HyperparamSet(dict(self.params))

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        """Take values over."""
        self.params = dict(hp.params)

    def save_weights(self, path: str) -> None:
        """Save the mean and the spread."""
        np.savez(f"{path}.npz", mean=self.mean, spread=self.spread)

    def load_weights(self, path: str) -> None:
        """Load the mean and the spread."""
        with np.load(f"{path}.npz") as saved:
            self.mean, self.spread = saved["mean"], saved["spread"]

    def _drawn(self) -> np.ndarray:
        return self.mean + self.spread * self.rng.normal(size=len(self.mean))


def train(seed: int = 0, windows: int | None = None) -> TrainingReport:
    """Train on CartPole-v1."""
    pipeline = BatchPipeline("CartPole-v1", window_size=500)
    return RLOptimizer(
        CrossEntropy(seed=seed), pipeline, checkpoint_dir="runs/cross_entropy", seed=seed, max_windows=windows
    ).run()


def main(argv: Sequence[str] | None = None) -> None:
    """Check the contract, train, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int)
    args = parser.parse_args(argv)
    check_agent(CrossEntropy(), "CartPole-v1")  # what is broken, it says
    print(train(windows=args.windows))


if __name__ == "__main__":
    main()
