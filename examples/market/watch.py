"""Lets the loop watch over a trader while the market changes its ways: `python -m examples.market.watch`.

The market is trending, and the trader learns to follow it, until it is trained. Then nothing is learned, and the loop
watches; until the market is ranging for ever, and who follows the last change loses. The watch wakes, goes back to the
best policy, and learns again; what is learned is shadow-scored against the champion on the same ticks, and promoted.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from examples.market.feed import MarketFeed
from examples.market.prices import Market
from examples.market.scoring import SharpeEvaluator
from examples.market.server import PriceServer
from examples.market.trade import make_trader
from tensor_optix import BaseAgent, EpisodeData, EvalMetrics, LivePipeline, LoopCallback, RLOptimizer, TrainingReport


class Remembering(SharpeEvaluator):
    """Keeps every score: of who acted, and of the challenger that only said what it would have done."""

    def __init__(self) -> None:
        self.acted: dict[int, float] = {}
        self.shadow: dict[int, float] = {}

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        """Score a window, and remember."""
        metrics = super().score(episode_data, train_diagnostics)
        self.acted[episode_data.episode_id] = metrics.primary_score
        return metrics

    def score_actions(self, episode_data: EpisodeData, actions: Any) -> EvalMetrics:
        """Score what others would have done, and remember."""
        metrics = super().score_actions(episode_data, actions)
        scores = self.acted if actions is episode_data.actions else self.shadow
        scores[episode_data.episode_id] = metrics.primary_score
        return metrics


class Diary(LoopCallback):
    """Writes down when the loop slept and woke, and what came of trials."""

    def __init__(self) -> None:
        self.asleep: list[int] = []
        self.awake: list[int] = []

    def on_dormant(self, window_id: int) -> None:
        """The policy is trained."""
        self.asleep.append(window_id)

    def on_degradation(self, window_id: int, eval_metrics: EvalMetrics) -> None:
        """The policy is not as good as it was."""
        if len(self.awake) < len(self.asleep):  # no step back while learning
            self.awake.append(window_id)


class Watched(NamedTuple):
    """What came of a run, by window."""

    report: TrainingReport
    acted: dict[int, float]
    """Scores of who acted."""
    shadow: dict[int, float]
    """Scores of challengers on trial."""
    asleep: list[int]
    awake: list[int]


def watch(
    *,
    windows: int = 240,
    window_size: int = 512,
    change_at: int = 80,
    drop: float = 0.0005,
    seed: int = 0,
    checkpoint_dir: str | Path = "runs/watch",
    agent: BaseAgent | None = None,
) -> Watched:
    """Serve a market that changes once, learn to trade on it, watch, and learn again.

    Args:
        windows: of the run.
        window_size: ticks in a window.
        change_at: the window with which the market changes.
        drop: chance per tick that the connection breaks off.
        seed: of the market, the agent and the run.
        checkpoint_dir: of the run.
        agent: who trades; None = a `TradingPPO`.
    """
    agent = make_trader(seed) if agent is None else agent
    evaluator, diary = Remembering(), Diary()
    with PriceServer(Market(seed, change_at=change_at * window_size), drop=drop, seed=seed) as server:
        pipeline = LivePipeline(
            MarketFeed(server.url), agent, LivePipeline.every_n_steps(window_size), backoff=(0.01, 5.0)
        )
        report = RLOptimizer(
            agent,
            pipeline,
            evaluator=evaluator,
            checkpoint_dir=checkpoint_dir,
            max_episodes=windows,
            plateau_threshold=4,
            dormant_threshold=8,
            callbacks=[diary],
            seed=seed,
        ).run()
    return Watched(report, evaluator.acted, evaluator.shadow, diary.asleep, diary.awake)


def main(argv: Sequence[str] | None = None) -> None:
    """Watch, and tell what happened."""
    parser = argparse.ArgumentParser(prog="python -m examples.market.watch", description="Trades, watches, wakes.")
    parser.add_argument("--windows", type=int, default=240)
    parser.add_argument("--window-size", type=int, default=512, help="ticks in a window")
    parser.add_argument("--change-at", type=int, default=80, help="window with which the market changes its ways")
    parser.add_argument("--drop", type=float, default=0.0005, help="chance per tick that the connection breaks off")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint-dir", default="runs/watch")
    args = parser.parse_args(argv)
    found = watch(**vars(args))
    print(found.report)
    asleep = [(window, "trained; the best policy acts") for window in found.asleep]
    for window, what in sorted([*asleep, *((window, "awake: it learns again") for window in found.awake)]):
        print(f"window {window:4}: {what}")
    print(f"The market changed with window {args.change_at}.")


if __name__ == "__main__":
    main()
