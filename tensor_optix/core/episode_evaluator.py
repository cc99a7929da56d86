"""The default score: the mean return of the episodes that ended in the window."""

import math
from collections.abc import Callable

import numpy as np

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.decisions.trend import standard_error
from tensor_optix.core.types import Diagnostics, EpisodeData, EvalMetrics
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.plain import numeric_items


class EpisodeReturnEvaluator(BaseEvaluator):
    """Scores a window by the mean return of the episodes completed in it, or by an explicit per-step blend.

    Without weights: `score = mean(Gᵢ)` over the completed episodes, `score_std_err = std(Gᵢ)/√n` (NaN for one episode).
    A mean *reward* would be 1.0 for every policy on CartPole, and the loop blind. No completed episode is no evidence:
    `has_evidence` is False and the score NaN.

    With any weight given: `score = w_r·mean(r) − w_s·std(r) + w_l·T/max_episode_length`, the weights normalised to 1.

    Args:
        reward_weight: w_r, weight of the mean reward per step.
        stability_weight: w_s, weight of the rewards' standard deviation, subtracted.
        length_weight: w_l, weight of the window's length as a share of `max_episode_length`.
        primary_score_fn: `(episode_data, metrics) -> float` that replaces both scores.
        max_episode_length: T_max of the length term, in steps; needed where `length_weight` is positive.

    Raises:
        InvalidArgumentError: a negative weight, all weights zero, or a length weight without `max_episode_length`.
    """

    def __init__(
        self,
        reward_weight: float | None = None,
        stability_weight: float | None = None,
        length_weight: float | None = None,
        primary_score_fn: Callable[[EpisodeData, dict[str, float]], float] | None = None,
        max_episode_length: int | None = None,
    ) -> None:
        self._weights = _normalised_weights(reward_weight, stability_weight, length_weight)
        if self._weights is not None and self._weights[2] > 0 and max_episode_length is None:
            raise InvalidArgumentError("length_weight needs max_episode_length, the length that counts as 1.")
        if max_episode_length is not None and max_episode_length < 1:
            raise InvalidArgumentError(f"max_episode_length must be at least 1, but got {max_episode_length!r}.")
        self._primary_score_fn = primary_score_fn
        self._max_episode_length = max_episode_length

    @property
    def scores_returns(self) -> bool:
        """Whether the score is the mean return, with which `reward_threshold` compares."""
        return self._weights is None and self._primary_score_fn is None

    def score(self, episode_data: EpisodeData, train_diagnostics: Diagnostics) -> EvalMetrics:
        """Score one window; `metrics` holds the statistics below and every numeric diagnostic."""
        rewards = np.asarray(episode_data.rewards, np.float64)
        episodes = episode_data.completed_episodes()
        returns = np.array([episode.total_return for episode in episodes])
        lengths = [episode.length for episode in episodes]
        metrics = dict(numeric_items(train_diagnostics))
        metrics |= {
            "mean_reward": float(rewards.mean()) if rewards.size else math.nan,
            "total_reward": float(rewards.sum()),
            "reward_std": float(rewards.std()) if rewards.size else math.nan,
            "episode_length": float(np.mean(lengths)) if lengths else math.nan,
            "episodes": float(len(episodes)),
            "mean_return": float(returns.mean()) if returns.size else math.nan,
            "score_std_err": standard_error(returns),
        }
        successes = [episode.success for episode in episodes if episode.success is not None]
        if successes:
            metrics["success_rate"] = float(np.mean(successes))
        has_evidence = True
        if self._primary_score_fn is not None:
            score = float(self._primary_score_fn(episode_data, metrics))
            metrics["score_std_err"] = math.nan
        elif self._weights is not None:
            score, has_evidence = self._blend(rewards), rewards.size > 0
            metrics["score_std_err"] = standard_error(rewards) * self._weights[0]
        else:
            score, has_evidence = metrics["mean_return"], bool(episodes)
        return EvalMetrics(score, metrics, episode_data.episode_id, has_evidence)

    def _blend(self, rewards: np.ndarray) -> float:
        if not rewards.size:
            return math.nan
        reward_weight, stability_weight, length_weight = self._weights or (0.0, 0.0, 0.0)
        share = rewards.size / self._max_episode_length if self._max_episode_length else 0.0
        return float(reward_weight * rewards.mean() - stability_weight * rewards.std() + length_weight * share)


def _normalised_weights(*weights: float | None) -> tuple[float, float, float] | None:
    if all(weight is None for weight in weights):
        return None
    reward, stability, length = (0.0 if weight is None else float(weight) for weight in weights)
    received = f"reward_weight={reward!r}, stability_weight={stability!r}, length_weight={length!r}"
    total = reward + stability + length
    if not math.isfinite(total) or min(reward, stability, length) < 0:
        raise InvalidArgumentError(f"Evaluator weights must be finite and not negative, but got {received}.")
    if total == 0:
        raise InvalidArgumentError(f"At least one evaluator weight must be positive, but got {received}.")
    return reward / total, stability / total, length / total
