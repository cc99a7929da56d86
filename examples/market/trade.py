"""Learns to trade on a live feed: `python -m examples.market.trade` starts the market, too."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from examples.market.feed import OBSERVATION_SPACE, POSITIONS, MarketFeed
from examples.market.prices import Market
from examples.market.scoring import Policy, SharpeEvaluator, by_the_law, earned, sharpe
from examples.market.server import PriceServer
from tensor_optix import EpisodeData, HyperparamSet, LivePipeline, RLOptimizer, TFPPOAgent, TrainingReport

HELD_OUT = range(1000, 1008)
"""Seeds of markets on which nobody learns."""


class TradingPPO(TFPPOAgent):
    """Adds action distribution logging to standard PPO."""

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        """Update the policy, and say how likely each position is under it."""
        diag = super().learn(episode_data)  # full PPO update
        obs = tf.cast(episode_data.observations[:256], tf.float32)
        probs = tf.nn.softmax(self._actor(obs, training=False))
        probs_mean = tf.reduce_mean(probs, axis=0).numpy()
        diag["p_flat"] = float(probs_mean[0])
        diag["p_long"] = float(probs_mean[1])
        diag["p_short"] = float(probs_mean[2])
        return diag


class Outcome(NamedTuple):
    """What came of a run."""

    agent: TradingPPO
    report: TrainingReport
    sharpes: dict[str, float]
    """On the held-out markets, by policy."""
    feed: dict[str, int]
    """What became of the ticks: see `LivePipeline`."""
    drops: int
    """So often the server broke off."""


def make_trader(seed: int) -> TradingPPO:
    """Return an agent that knows nothing yet."""
    tf.keras.utils.set_random_seed(seed)

    def network(outputs: int) -> Any:
        return tf.keras.Sequential([
            tf.keras.layers.Input(shape=OBSERVATION_SPACE.shape),
            tf.keras.layers.Dense(64, activation="tanh"),
            tf.keras.layers.Dense(64, activation="tanh"),
            tf.keras.layers.Dense(outputs),
        ])  # fmt: skip

    return TradingPPO(
        actor=network(len(POSITIONS)),
        critic=network(1),
        optimizer=tf.keras.optimizers.Adam(1e-3),
        hyperparams=HyperparamSet(
            params={
                "learning_rate": 1e-3,
                "gamma": 0.5,  # a position can be left at any tick, and what the market does is soon forgotten
                "entropy_coef": 0.003,
            },
            episode_id=0,
        ),
        seed=seed,
    )


def greedy(agent: TradingPPO) -> Policy:
    """Return the policy that takes the likeliest action."""
    return lambda observations: agent.act_batch(observations, deterministic=True)


def held_out_sharpe(policy: Policy, ticks: int) -> float:
    """Return the Sharpe ratio per step over all held-out markets."""
    return sharpe(earned(policy, [Market(seed) for seed in HELD_OUT], ticks))


def trade(
    *,
    windows: int = 60,
    window_size: int = 2048,
    seconds: float | None = None,
    rate: float | None = None,
    drop: float = 0.0005,
    seed: int = 0,
    checkpoint_dir: str | Path = "runs/market",
    resume: bool = False,
    held_out_ticks: int = 3000,
) -> Outcome:
    """Serve a market, learn to trade on it, and see what that is worth on others.

    Args:
        windows: to learn from; an interrupted run counts.
        window_size: ticks in a window.
        seconds: length of a window, instead of `window_size`.
        rate: ticks per second; None = as fast as they are traded on.
        drop: chance per tick that the connection breaks off.
        seed: of the market, the agent and the run.
        checkpoint_dir: of the run.
        resume: go on with the run that is there.
        held_out_ticks: of each of the held-out markets.
    """
    agent = make_trader(seed)
    boundary = LivePipeline.every_n_steps(window_size) if seconds is None else LivePipeline.every_n_seconds(seconds)
    rng = np.random.default_rng(seed)
    sharpes = {
        "random": held_out_sharpe(lambda seen: rng.integers(len(POSITIONS), size=len(seen)), held_out_ticks),
        "always flat": held_out_sharpe(lambda seen: np.zeros(len(seen), int), held_out_ticks),
        "before": held_out_sharpe(greedy(agent), held_out_ticks),
    }
    with PriceServer(Market(seed), rate=rate, drop=drop, seed=seed) as server:
        pipeline = LivePipeline(
            data_source=MarketFeed(server.url),
            agent=agent,
            episode_boundary_fn=boundary,
            backoff=(0.01, 5.0),
        )
        report = RLOptimizer(
            agent=agent,
            pipeline=pipeline,
            evaluator=SharpeEvaluator(),
            checkpoint_dir=checkpoint_dir,
            max_episodes=windows,
            resume=resume,
            seed=seed,
        ).run()
    sharpes["after"] = held_out_sharpe(greedy(agent), held_out_ticks)
    sharpes["by the law"] = held_out_sharpe(by_the_law, held_out_ticks)
    return Outcome(agent, report, sharpes, pipeline.stream_state()["counts"], server.drops)


def main(argv: Sequence[str] | None = None) -> None:
    """Trade, and print the report."""
    parser = argparse.ArgumentParser(prog="python -m examples.market.trade", description=__doc__)
    parser.add_argument("--windows", type=int, default=60)
    parser.add_argument("--window-size", type=int, default=2048, help="ticks in a window")
    parser.add_argument("--seconds", type=float, help="length of a window in time, instead of --window-size")
    parser.add_argument("--rate", type=float, help="ticks per second; as fast as they are traded on where not given")
    parser.add_argument("--drop", type=float, default=0.0005, help="chance per tick that the connection breaks off")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint-dir", default="runs/market")
    parser.add_argument("--resume", action="store_true", help="go on with the run that is there")
    parser.add_argument("--held-out-ticks", type=int, default=3000, help="of each market that the policy is tried on")
    outcome = trade(**vars(parser.parse_args(argv)))
    print(outcome.report)
    print(f"\nThe server broke off {outcome.drops} times. What became of the ticks:")
    print("  " + ", ".join(f"{count} {name}" for name, count in outcome.feed.items()))
    print(f"\nSharpe ratio per step on {len(HELD_OUT)} markets that were not learned from:")
    for name, value in outcome.sharpes.items():
        print(f"  {name:<12} {value:7.3f}")


if __name__ == "__main__":
    main()
