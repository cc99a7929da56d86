"""Forecasts a live feed without any RL: `python -m examples.market.forecast` starts the market, too."""

import argparse
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from examples.market.prices import REGIMES, Market
from examples.market.server import PriceServer
from tensor_optix import (
    BaseAgent,
    BaseEvaluator,
    EpisodeData,
    EvalMetrics,
    HyperparamSet,
    LivePipeline,
    LoopCallback,
    RLOptimizer,
    TrainingReport,
    WebSocketSource,
)

NEVER = 10**9
"""Evaluations without improvement: more than there will be."""


class OnlineForecaster(BaseAgent):
    """Forecasts the next change of the price by a linear regression that goes on with every window.

    ĉₜ₊₁ = σ̂·wᵀxₜ with xₜ = (z₀, z₁, p₁·z₀, p₂·z₁), from what is seen of the market (see `FEATURES`); w is the least
    squares fit to all c/σ̂ that have passed, in which each tick weighs less than the next by the factor λ:
    k = P·x/(λ + xᵀPx), w ← w + k·(c/σ̂ - wᵀx), P ← (P - k·xᵀP)/λ.
    Source: Adaptive Filter Theory, recursive least squares (Haykin, 2002).

    Args:
        forgetting: λ.
    """

    def __init__(self, forgetting: float = 0.9995) -> None:
        self._params: dict[str, Any] = {"forgetting": forgetting}
        self.weights = np.zeros(4)
        self._spread = np.eye(4) * 100.0

    def act(self, observation: Any) -> float:
        """Return the change that is expected until the next tick, in per mille."""
        inputs, volatility = _seen(observation)
        return float(volatility * (self.weights @ inputs))

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        """Correct the regression by what has come."""
        forgetting, squared = self._params["forgetting"], 0.0
        for observation, change in zip(episode_data.observations, changes_in(episode_data), strict=True):
            x, volatility = _seen(observation)
            reach = self._spread @ x
            gain = reach / (forgetting + x @ reach)
            error = change / volatility - self.weights @ x
            self.weights = self.weights + gain * error
            self._spread = (self._spread - np.outer(gain, reach)) / forgetting
            squared += error**2
        return {"loss": float(squared / episode_data.length)}

    def get_hyperparams(self) -> HyperparamSet:
        """Return the one there is."""
        return HyperparamSet(dict(self._params))

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        """Put it in force."""
        self._params = dict(hp.params)

    def save_weights(self, path: str) -> None:
        """Write the regression."""
        np.savez(f"{path}.npz", weights=self.weights, spread=self._spread)

    def load_weights(self, path: str) -> None:
        """Read the regression."""
        with np.load(f"{path}.npz") as saved:
            self.weights, self._spread = saved["weights"], saved["spread"]


class SkillEvaluator(BaseEvaluator):
    """Scores the forecasts of a window against the last value: 1 - Σ(c - ĉ)²/Σc².

    Who forecasts that the price stays where it is has a skill of 0; who knows the future has 1.
    """

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        """Return the skill; every forecast was made before the model learned from the window."""
        changes = changes_in(episode_data)
        squared = float(np.mean((changes - np.asarray(episode_data.actions)) ** 2))
        squared_last = float(np.mean(changes**2))
        return EvalMetrics(
            primary_score=1 - squared / squared_last,
            metrics={"mse": squared, "mse_last": squared_last},
            episode_id=episode_data.episode_id,
        )


def changes_in(window: EpisodeData) -> np.ndarray:
    """Return what really came after each observation of a window."""
    return np.array([info["change"] for info in window.infos])


def _seen(observation: Any) -> tuple[np.ndarray, float]:
    now, before, product1, product2, log_volatility = np.asarray(observation, float)
    return np.array([now, before, product1 * now, product2 * before]), math.exp(log_volatility)


class Skills(LoopCallback):
    """Remembers the squared errors of every window."""

    def __init__(self) -> None:
        self.mse: list[float] = []
        self.mse_last: list[float] = []

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        """Take down what the evaluator found."""
        if eval_metrics is not None:
            self.mse.append(eval_metrics.metrics["mse"])
            self.mse_last.append(eval_metrics.metrics["mse_last"])

    def skill(self, first: int = 0) -> float:
        """Return the skill over all windows from number `first` on."""
        return 1 - sum(self.mse[first:]) / sum(self.mse_last[first:])


class Outcome(NamedTuple):
    """What came of a run."""

    agent: OnlineForecaster
    report: TrainingReport
    skills: Skills
    best_possible: float
    """Skill of one who is told the regime, and knows its law."""
    feed: dict[str, int]
    """What became of the ticks: see `LivePipeline`."""
    drops: int
    """So often the server broke off."""


def skill_of_the_law(market: Market, ticks: int) -> float:
    """Return the skill of one who knows how the next change comes about, but not its noise."""
    laws = {regime.name: regime for regime in REGIMES}
    squared = squared_last = last = before = 0.0
    for tick in itertools.islice(market.items(), ticks):
        law = laws[tick.regime]
        squared += (tick.change - law.phi1 * last - law.phi2 * before) ** 2
        squared_last += tick.change**2
        last, before = tick.change, last
    return 1 - squared / squared_last


def forecast(
    *,
    windows: int = 100,
    window_size: int = 200,
    rate: float | None = None,
    drop: float = 0.0005,
    seed: int = 0,
    change_at: int | None = None,
    checkpoint_dir: str | Path = "runs/forecast",
) -> Outcome:
    """Serve a market, and forecast it.

    Args:
        windows: to forecast and learn from.
        window_size: ticks in a window: so often the model learns.
        rate: ticks per second; None = as fast as they are forecast.
        drop: chance per tick that the connection breaks off.
        seed: of the market and the run.
        change_at: the regime changes once, at this tick.
        checkpoint_dir: of the run.
    """
    agent, market, skills = OnlineForecaster(), Market(seed, change_at=change_at), Skills()
    with PriceServer(market, rate=rate, drop=drop, seed=seed) as server:
        pipeline = LivePipeline(
            data_source=WebSocketSource(server.url, is_replayable=True, sends_actions=False),
            agent=agent,
            episode_boundary_fn=LivePipeline.every_n_steps(window_size),
            backoff=(0.01, 5.0),
        )
        report = RLOptimizer(
            agent=agent,
            pipeline=pipeline,
            evaluator=SkillEvaluator(),
            checkpoint_dir=checkpoint_dir,
            max_episodes=windows,
            max_interval_episodes=1,  # every window is scored
            dormant_threshold=NEVER,  # who forecasts a market that changes is never done
            restore_best=False,  # the last weights are those that have learned most
            callbacks=[skills],
            seed=seed,
        ).run()
    best_possible = skill_of_the_law(market, windows * window_size + 1)
    return Outcome(agent, report, skills, best_possible, pipeline.stream_state()["counts"], server.drops)


def main(argv: Sequence[str] | None = None) -> None:
    """Forecast, and print the report."""
    parser = argparse.ArgumentParser(prog="python -m examples.market.forecast", description=__doc__)
    parser.add_argument("--windows", type=int, default=100)
    parser.add_argument("--window-size", type=int, default=200, help="ticks in a window: so often the model learns")
    parser.add_argument("--rate", type=float, help="ticks per second; as fast as they are forecast where not given")
    parser.add_argument("--drop", type=float, default=0.0005, help="chance per tick that the connection breaks off")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--change-at", type=int, help="the regime changes once, at this tick")
    parser.add_argument("--checkpoint-dir", default="runs/forecast")
    outcome = forecast(**vars(parser.parse_args(argv)))
    print(outcome.report)
    print(f"\nThe server broke off {outcome.drops} times. What became of the ticks:")
    print("  " + ", ".join(f"{count} {name}" for name, count in outcome.feed.items()))
    print("\nSkill against the last value, 1 - MSE/MSE_last:")
    print(f"  all windows       {outcome.skills.skill():6.3f}")
    print(f"  after the first   {outcome.skills.skill(first=1):6.3f}")
    print(f"  told the regime   {outcome.best_possible:6.3f}")


if __name__ == "__main__":
    main()
