"""What is known of a policy after some windows, of one environment or of several."""

from dataclasses import replace

import pytest

from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.faults import EPISODE_LIMIT
from tensor_optix.core.loop import tested
from tests.helpers import ScoreEvaluator, window_of

RETURNS = EpisodeReturnEvaluator()


def shown(*scores: float | None, n_envs: int = 1) -> tested.Tested:
    found = tested.Tested((), ())
    for n, score in enumerate(scores):
        found += tested.Tested.of(replace(window_of(score), n_envs=n_envs), [n], RETURNS)
    return found


def test_windows_add_up() -> None:
    found = shown(1.0, 4.0)
    assert (found.steps, found.episodes) == (4, 2)
    assert [(record.seeds, record.returns, record.score) for record in found.evidence] == [
        ((0,), (1.0,), 1.0),
        ((1,), (4.0,), 4.0),
    ]
    assert found.score(RETURNS).primary_score == 2.5


def test_a_window_in_which_no_episode_ended_counts_as_one() -> None:
    assert shown(1.0, None).episodes == 2


def test_where_episodes_were_cut_is_known() -> None:
    (record,) = tested.Tested.of(replace(window_of(1.0), metadata={EPISODE_LIMIT: 200}), [0], RETURNS).evidence
    assert record.episode_limit == 200


def test_windows_of_several_environments_score_the_mean_of_theirs() -> None:
    found = shown(1.0, 2.0, 6.0, n_envs=2).score(ScoreEvaluator())
    assert found.primary_score == pytest.approx(3.0)
    assert found.std_err == pytest.approx(1.5275, abs=1e-4)
    assert found.metrics["episodes"] == 3
