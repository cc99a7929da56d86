"""What trading is worth: the Sharpe ratio of a window, and of a policy on markets that it has never seen."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from examples.market.feed import COST, POSITIONS, Account
from examples.market.prices import Market
from tensor_optix import BaseEvaluator, EpisodeData, EvalMetrics

Policy = Callable[[np.ndarray], Any]
"""Observations (B, 6) → one action each."""

MIN_SIGNAL = 0.15
"""Below it, `by_the_law` stays flat: what is to be gained is less than the cost."""


class SharpeEvaluator(BaseEvaluator):
    """Scores a window by the mean of what each step has earned, in units of its spread.

    The market does not notice who trades on it: so it can also tell what other actions would have earned.
    """

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        """Return the Sharpe ratio per step, not annualised."""
        return self._of(np.array(episode_data.rewards), episode_data.episode_id)

    def score_actions(self, episode_data: EpisodeData, actions: Any) -> EvalMetrics:
        """Return what it would have been with other actions, fees included, on the changes that came."""
        changes = np.array([info["change"] for info in episode_data.infos])
        positions = np.take(POSITIONS, np.asarray(actions))
        fees = COST * np.abs(np.diff(positions, prepend=episode_data.observations[0, -1]))
        return self._of(positions * changes - fees, episode_data.episode_id)

    def _of(self, rewards: np.ndarray, episode_id: int) -> EvalMetrics:
        metrics = {"sharpe": sharpe(rewards), "mean_reward": float(rewards.mean())}
        return EvalMetrics(primary_score=metrics["sharpe"], metrics=metrics, episode_id=episode_id)


def by_the_law(observations: np.ndarray) -> np.ndarray:
    """Return the actions of one who knows how prices are made, and estimates the regime: φ₁·cₜ + φ₂·cₜ₋₁."""
    expected = observations[:, 2] * observations[:, 0] + observations[:, 3] * observations[:, 1]
    return np.where(np.abs(expected) < MIN_SIGNAL, 0, np.where(expected > 0, 1, 2))


def earned(policy: Policy, markets: Sequence[Market], ticks: int) -> np.ndarray:
    """Let a policy trade, and return what each step has earned: (ticks - 1, markets), in per mille.

    Args:
        policy: chooses the actions of all markets at once.
        markets: which.
        ticks: of each.
    """
    accounts = [Account() for _ in markets]
    rewards = []
    for now in itertools.islice(zip(*(market.items() for market in markets), strict=True), ticks):
        rewards.append([account.earn(tick.change) for account, tick in zip(accounts, now, strict=True)])
        seen = np.stack([account.observation(tick.features) for account, tick in zip(accounts, now, strict=True)])
        for account, action in zip(accounts, policy(seen), strict=True):
            account.take(int(action))
    return np.array(rewards[1:])


def sharpe(rewards: np.ndarray) -> float:
    """Return the mean of what was earned, in units of its spread; 0 for one who never trades."""
    return float(rewards.mean() / (rewards.std() + 1e-8))
