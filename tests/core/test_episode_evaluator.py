import math
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.types import EpisodeData, EpisodeSummary, EvalMetrics
from tensor_optix.errors import InvalidArgumentError
from tests.helpers import window_of


def window(
    rewards: Any, ends: Any, *, completed: tuple[EpisodeSummary, ...] | None = None, window_id: int = 0
) -> EpisodeData:
    steps = len(rewards)
    return EpisodeData(
        observations=np.zeros((steps, 1)),
        actions=[0] * steps,
        rewards=rewards,
        terminated=ends,
        truncated=[False] * steps,
        episode_id=window_id,
        completed=completed,
    )


# --- the default score ---


@pytest.mark.parametrize("kind", [list, np.asarray])
def test_the_score_is_the_mean_return_of_the_completed_episodes(kind: Any) -> None:
    # Returns 1 + 2 = 3 and 4 + 8 = 12; the last step belongs to an episode that goes on.
    data = window(kind([1.0, 2.0, 4.0, 8.0, 100.0]), kind([0, 1, 0, 1, 0]), window_id=6)
    metrics = EpisodeReturnEvaluator().score(data, {})
    assert metrics.primary_score == 7.5
    assert metrics.std_err == pytest.approx(math.sqrt(2 * 4.5**2 / 1) / math.sqrt(2))
    assert metrics.has_evidence
    assert metrics.is_usable
    assert metrics.episode_id == 6
    assert metrics.metrics["episodes"] == 2
    assert metrics.metrics["episode_length"] == 2
    assert metrics.metrics["total_reward"] == 115.0
    assert metrics.metrics["mean_reward"] == 23.0
    assert metrics.metrics["reward_std"] == pytest.approx(np.std([1, 2, 4, 8, 100]))


def test_a_return_counts_the_part_collected_in_earlier_windows() -> None:
    data = window([1.0, 1.0], [0, 1], completed=(EpisodeSummary(200.0, 200),))
    metrics = EpisodeReturnEvaluator().score(data, {})
    assert metrics.primary_score == 200.0
    assert metrics.metrics["episode_length"] == 200.0


def test_one_episode_is_scored_but_its_error_is_not_known() -> None:
    metrics = EpisodeReturnEvaluator().score(window_of(5.0), {})
    assert metrics.primary_score == 5.0
    assert math.isnan(metrics.std_err)


def test_a_window_without_a_completed_episode_is_no_evidence() -> None:
    metrics = EpisodeReturnEvaluator().score(window([1.0, 1.0], [0, 0]), {"loss": 0.5})
    assert not metrics.has_evidence
    assert not metrics.is_usable
    assert math.isnan(metrics.primary_score)
    assert metrics.metrics["episodes"] == 0
    assert metrics.metrics["loss"] == 0.5
    assert metrics.metrics["mean_reward"] == 1.0


def test_a_window_without_steps_is_no_evidence() -> None:
    metrics = EpisodeReturnEvaluator().score(window([], []), {"loss": 0.5})
    assert not metrics.has_evidence
    assert math.isnan(metrics.primary_score)
    assert metrics.metrics["total_reward"] == metrics.metrics["episodes"] == 0.0


def test_policies_with_the_same_reward_per_step_are_told_apart_by_how_long_they_last() -> None:
    # CartPole: every step gives 1, whoever stands longer is better.
    falls_early = window(np.ones(20), [*([0] * 4), 1] * 4)
    falls_late = window(np.ones(20), [*([0] * 9), 1] * 2)
    evaluator = EpisodeReturnEvaluator()
    early, late = evaluator.score(falls_early, {}), evaluator.score(falls_late, {})
    assert early.metrics["mean_reward"] == late.metrics["mean_reward"]
    assert (early.primary_score, late.primary_score) == (5.0, 10.0)
    assert evaluator.compare(late, early)
    assert not evaluator.compare(early, late)


def test_numeric_diagnostics_are_carried_and_never_overwrite_what_was_measured() -> None:
    diagnostics = {"policy_loss": 0.25, "n_updates": 40, "note": "warm-up", "done": True, "mean_reward": 999.0}
    metrics = EpisodeReturnEvaluator().score(window_of(4.0), diagnostics).metrics
    assert (metrics["policy_loss"], metrics["n_updates"]) == (0.25, 40.0)
    assert "note" not in metrics
    assert "done" not in metrics
    assert metrics["mean_reward"] == 2.0
    assert diagnostics["mean_reward"] == 999.0


@pytest.mark.parametrize(
    "key", ["mean_reward", "total_reward", "reward_std", "episode_length", "episodes", "score_std_err"]
)
@pytest.mark.parametrize("score", [3.0, None])
def test_the_promised_metrics_are_always_there_as_floats(key: str, score: float | None) -> None:
    assert type(EpisodeReturnEvaluator().score(window_of(score), {}).metrics[key]) is float


# --- the blend ---

REWARDS = [1.0, 2.0, 3.0, 6.0]  # mean 3, variance (4 + 1 + 0 + 9)/4 = 3.5


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"reward_weight": 1.0}, 3.0),
        ({"reward_weight": 0.3}, 3.0),  # a single weight is normalised to 1
        ({"stability_weight": 2.0}, -math.sqrt(3.5)),
        ({"length_weight": 5.0}, 0.4),  # 4 of 10 steps
        ({"reward_weight": 1.0, "stability_weight": 1.0}, 0.5 * 3.0 - 0.5 * math.sqrt(3.5)),
        ({"reward_weight": 2.0, "stability_weight": 1.0, "length_weight": 1.0}, 1.5 - 0.25 * math.sqrt(3.5) + 0.1),
        ({"reward_weight": 1.0, "stability_weight": 0.0, "length_weight": 0.0}, 3.0),
    ],
)
@pytest.mark.parametrize("ends", [[0, 0, 0, 0], [0, 1, 0, 1]])
def test_any_weight_selects_the_normalised_blend_of_the_steps(
    weights: dict[str, float], expected: float, ends: list[int]
) -> None:
    metrics = EpisodeReturnEvaluator(**weights, max_episode_length=10).score(window(REWARDS, ends), {})
    assert metrics.primary_score == pytest.approx(expected)
    assert metrics.is_usable  # steps are evidence enough


def test_only_the_ratio_of_the_weights_matters() -> None:
    small = EpisodeReturnEvaluator(0.1, 0.2, 0.3, max_episode_length=7)
    large = EpisodeReturnEvaluator(10, 20, 30, max_episode_length=7)
    data = window(REWARDS, [0, 0, 0, 1])
    assert small.score(data, {}).primary_score == pytest.approx(large.score(data, {}).primary_score)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reward_weight": 0.0}, "At least one evaluator weight must be positive"),
        ({"reward_weight": 0.0, "stability_weight": 0.0, "length_weight": 0.0}, "must be positive.*reward_weight=0.0"),
        ({"reward_weight": -1.0}, "not negative.*reward_weight=-1.0"),
        ({"reward_weight": 1.0, "stability_weight": -0.5}, "not negative.*stability_weight=-0.5"),
        ({"reward_weight": math.nan}, "finite"),
        ({"reward_weight": math.inf}, "finite"),
        ({"length_weight": 1.0}, "length_weight needs max_episode_length"),
        ({"length_weight": 1.0, "max_episode_length": 0}, "max_episode_length must be at least 1, but got 0"),
    ],
)
def test_weights_that_make_no_score_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        EpisodeReturnEvaluator(**arguments)


# --- a user's own score ---


def test_a_score_function_replaces_the_score_and_sees_window_and_metrics() -> None:
    seen = []

    def cheapest(data: EpisodeData, metrics: dict[str, float]) -> float:
        seen.append(data)
        return metrics["mean_return"] - metrics["cost"]

    data = window_of(10.0)
    metrics = EpisodeReturnEvaluator(primary_score_fn=cheapest).score(data, {"cost": 4.0})
    assert metrics.primary_score == 6.0
    assert seen == [data]


def test_a_score_function_wins_over_the_weights() -> None:
    evaluator = EpisodeReturnEvaluator(reward_weight=1.0, primary_score_fn=lambda data, metrics: -7)
    metrics = evaluator.score(window(REWARDS, [0, 0, 0, 0]), {})
    assert metrics.primary_score == -7.0
    assert type(metrics.primary_score) is float


def test_the_error_of_a_users_own_score_is_not_known() -> None:
    data = window([1.0, 5.0], [1, 1])
    assert EpisodeReturnEvaluator().score(data, {}).std_err > 0.0
    assert math.isnan(EpisodeReturnEvaluator(primary_score_fn=lambda *_: 0.5).score(data, {}).std_err)


# --- with validation ---


def test_validation_decides_and_the_gap_is_training_minus_validation() -> None:
    evaluator = EpisodeReturnEvaluator()
    train = evaluator.score(window([10.0, 12.0], [1, 1], window_id=4), {"loss": 0.5})
    val = evaluator.score(window([2.0, 6.0], [1, 1], window_id=99), {})
    combined = evaluator.combine(train, val)
    assert combined.primary_score == 4.0
    assert combined.generalization_gap == 7.0
    assert combined.episode_id == 4  # the window of the run, not of the validation
    assert combined.std_err == pytest.approx(2.0)
    assert combined.metrics["train_score_std_err"] == pytest.approx(1.0)
    assert combined.metrics["train_score"] == 11.0
    assert combined.metrics["val_score"] == 4.0
    assert combined.metrics["mean_return"] == 11.0
    assert combined.metrics["val_mean_return"] == 4.0
    assert combined.metrics["loss"] == 0.5


def test_validation_is_evidence_where_training_has_none_and_the_other_way_round_it_is_not() -> None:
    evaluator = EpisodeReturnEvaluator()
    some, none = evaluator.score(window_of(5.0), {}), evaluator.score(window_of(None), {})
    assert evaluator.combine(none, some).is_usable
    assert math.isnan(evaluator.combine(none, some).generalization_gap)
    assert not evaluator.combine(some, none).is_usable


@pytest.mark.parametrize(
    ("candidate", "reference", "better"),
    [(2.0, 1.0, True), (1.0, 1.0, False), (-1.0, -2.0, True), (math.nan, 1.0, False), (1.0, math.nan, True)],
)
def test_compare_asks_whether_the_candidate_is_better(candidate: float, reference: float, better: bool) -> None:
    assert EpisodeReturnEvaluator().compare(EvalMetrics(candidate), EvalMetrics(reference)) is better


@pytest.mark.parametrize(
    "evaluator", [EpisodeReturnEvaluator(reward_weight=1.0), EpisodeReturnEvaluator(stability_weight=1.0)]
)
def test_a_window_without_steps_is_no_evidence_for_a_blend_either(evaluator: EpisodeReturnEvaluator) -> None:
    metrics = evaluator.score(EpisodeData(np.zeros((0, 1)), [], [], [], []), {})
    assert not metrics.has_evidence
    assert math.isnan(metrics.primary_score)


def test_successes_are_counted_where_the_environment_tells_them() -> None:
    told = (EpisodeSummary(1.0, 2, True), EpisodeSummary(1.0, 2, False), EpisodeSummary(1.0, 2))
    scored = EpisodeReturnEvaluator().score(window([1.0], [False], completed=told), {})
    assert scored.metrics["success_rate"] == 0.5
    silent = EpisodeReturnEvaluator().score(window([1.0], [False], completed=told[2:]), {})
    assert "success_rate" not in silent.metrics
