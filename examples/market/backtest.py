"""Learns to trade on recorded prices, which are cut by time: `python -m examples.market.backtest`.

Training learns from the oldest ticks, validation chooses the policy on later ones, and the test on the newest says what
it is worth. With `--folds`, each fold learns from the past of its own test: a walk forward.
"""

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from examples.market.feed import ACTION_SPACE, OBSERVATION_SPACE, Account
from examples.market.prices import Market, Tick
from examples.market.scoring import SharpeEvaluator
from examples.market.trade import make_trader
from tensor_optix import RLOptimizer, TimeSplit, TrainingReport, split_by_time, walk_forward

EMBARGO = 200
"""Ticks between two slices: the slowest average that a trader sees has forgotten by then what was before."""


class RecordedMarket(gym.Env):
    """One pass over recorded ticks, from the first to the last.

    Args:
        ticks: in the order of time.
    """

    observation_space, action_space = OBSERVATION_SPACE, ACTION_SPACE

    def __init__(self, ticks: Sequence[Tick]) -> None:
        self._ticks, self._now, self._account = ticks, 0, Account()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Stand before the first tick, with no position."""
        super().reset(seed=seed)
        self._now, self._account = 0, Account()
        return self._account.observation(self._ticks[0].features), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take a position until the next tick."""
        self._account.take(int(action))
        self._now += 1
        tick = self._ticks[self._now]
        earned, is_over = self._account.earn(tick.change), self._now + 1 == len(self._ticks)
        return self._account.observation(tick.features), earned, False, is_over, {"change": tick.change}


def recorded(seed: int, ticks: int) -> list[Tick]:
    """Return the first ticks of a market."""
    return list(itertools.islice(Market(seed).items(), ticks))


def backtest(
    split: TimeSplit, *, windows: int = 40, window_size: int = 2048, seed: int = 0, checkpoint_dir: str | Path
) -> TrainingReport:
    """Learn from a split of ticks, and return the report, with what the test has shown.

    Args:
        split: of recorded ticks.
        windows: to learn from.
        window_size: ticks in a window.
        seed: of the agent and the run.
        checkpoint_dir: of the run.
    """
    pipelines = split.pipelines(RecordedMarket, window_size=window_size)
    return RLOptimizer(
        agent=make_trader(seed),
        pipeline=pipelines.train,
        val_pipeline=pipelines.validation,
        test_pipeline=pipelines.test,
        evaluator=SharpeEvaluator(),
        checkpoint_dir=checkpoint_dir,
        max_windows=windows,
        validation_share=None,  # a step over recorded ticks costs little
        seed=seed,
    ).run()


def main(argv: Sequence[str] | None = None) -> None:
    """Cut a recorded market by time, learn, and print what each test has shown."""
    parser = argparse.ArgumentParser(prog="python -m examples.market.backtest", description=__doc__)
    parser.add_argument("--ticks", type=int, default=20_000, help="of the recorded market")
    parser.add_argument("--folds", type=int, default=1, help="tests that follow each other; 1 is one split")
    parser.add_argument("--windows", type=int, default=40, help="to learn from, in each fold")
    parser.add_argument("--window-size", type=int, default=2048, help="ticks in a window")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint-dir", default="runs/backtest")
    args = parser.parse_args(argv)
    ticks = recorded(args.seed, args.ticks)
    splits = (
        [split_by_time(ticks, embargo=EMBARGO)] if args.folds == 1 else walk_forward(ticks, args.folds, embargo=EMBARGO)
    )
    for number, split in enumerate(splits):
        folder = Path(args.checkpoint_dir) / f"fold_{number}"
        report = backtest(
            split, windows=args.windows, window_size=args.window_size, seed=args.seed, checkpoint_dir=folder
        )
        print(report)
        print(f"Ticks: {split}\n")


if __name__ == "__main__":
    main()
