import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.loop.final_evaluation import LEADER_STEPS, LEADER_WINDOWS, evaluate_leaders
from tensor_optix.core.types import EpisodeData, EvalMetrics, PolicySnapshot
from tests.helpers import NumpyAgent, ScoreEvaluator, window_of


class Judge:
    """Plays windows whose return is the true worth of the weights that the agent holds."""

    def __init__(self, agent: NumpyAgent, worth: dict[float, float]) -> None:
        self.agent, self.worth = agent, worth
        self.played: list[float] = []

    def fresh_seeds(self) -> list[int]:
        return [0]

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        self.played.append(self.agent.weight)
        return window_of(self.worth[self.agent.weight])


def registry_with(folder: Path, scores: dict[float, float], **kwargs: int) -> tuple[CheckpointRegistry, NumpyAgent]:
    registry, agent = CheckpointRegistry(folder, **kwargs), NumpyAgent()
    for weight, score in scores.items():
        agent.weight = weight
        registry.save(agent, EvalMetrics(score))
    return registry, agent


def challenger_in(registry: CheckpointRegistry, agent: NumpyAgent, weight: float, claim: float) -> PolicySnapshot:
    agent.weight = weight
    saved = registry.save(agent, EvalMetrics(claim, has_evidence=False))
    return dataclasses.replace(saved, eval_metrics=EvalMetrics(claim, {"score_std_err": 1.0}))


def leaders_of(judge: Judge) -> list[float]:
    return judge.played[::LEADER_WINDOWS]


def test_a_leader_that_holds_is_tested_alone(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 5.0, 2.0: 9.0})
    judge = Judge(agent, {1.0: 5.0, 2.0: 8.0})
    leader = evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: False)
    assert leader is not None
    assert leader.eval_metrics.primary_score == 8.0
    assert leader.eval_metrics.metrics["selection_score"] == 9.0
    assert leaders_of(judge) == [2.0]


def test_a_lucky_leader_makes_way_for_the_one_that_holds(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 5.0, 2.0: 9.0, 3.0: 7.0})
    judge = Judge(agent, {1.0: 5.0, 2.0: 4.0, 3.0: 6.5})
    leader = evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: False)
    assert leader is not None
    assert leader.eval_metrics.primary_score == 6.5
    assert leaders_of(judge) == [2.0, 3.0]


def test_one_that_is_behind_by_no_more_than_its_noise_is_tested_too(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 8.0})
    for weight, score, error in ((2.0, 5.0, 2.0), (3.0, 5.0, 1.0)):
        agent.weight = weight
        registry.save(agent, EvalMetrics(score, {"score_std_err": error}))
    judge = Judge(agent, {1.0: 8.0, 2.0: 8.5, 3.0: 100.0})
    leader = evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: False)
    assert leader is not None
    assert leader.eval_metrics.primary_score == 8.5
    assert leaders_of(judge) == [1.0, 2.0]


def test_a_leader_tested_before_may_lead_again_and_is_still_there(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {2.0: 500.0, 3.0: 480.0}, max_snapshots=1)
    judge = Judge(agent, {2.0: 470.0, 3.0: 300.0})
    leader = evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: False)
    assert leader is not None
    assert leader.eval_metrics.primary_score == 470.0
    registry.prune()
    assert registry.load_best(agent).snapshot_id == leader.snapshot_id
    assert agent.weight == 2.0


def test_a_damaged_leader_is_passed_over_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 5.0, 2.0: 9.0})
    best = registry.best
    assert best is not None
    (registry.path_of(best) / "weights" / "agent.npy").write_bytes(b"broken")
    leader = evaluate_leaders(agent, registry, Judge(agent, {1.0: 4.0}), ScoreEvaluator(), lambda: False)
    assert leader is not None
    assert leader.eval_metrics.primary_score == 4.0
    assert "is passed over" in caplog.text


def test_it_stops_when_it_is_asked_to(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 5.0, 2.0: 9.0})
    judge = Judge(agent, {1.0: 5.0, 2.0: 4.0})
    leader = evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: len(judge.played) == 3)
    assert leader is not None
    assert leader.eval_metrics.primary_score == 9.0
    assert len(judge.played) == 3


@pytest.mark.parametrize("plays", [0, 3])
def test_a_challenger_that_was_not_tested_to_its_end_does_not_rank(tmp_path: Path, plays: int) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 5.0})
    challenger = challenger_in(registry, agent, 2.0, claim=9.0)
    judge = Judge(agent, {1.0: 5.0, 2.0: 9.0})
    leader = evaluate_leaders(
        agent, registry, judge, ScoreEvaluator(), lambda: len(judge.played) == plays, challenger=challenger
    )
    assert leader == registry.best
    assert leader is not None
    assert leader.eval_metrics.primary_score == 5.0
    assert judge.played == [2.0] * plays


def test_a_challenger_ranks_by_its_test_and_not_by_its_claim(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 5.0})
    judge = Judge(agent, {1.0: 4.0, 2.0: 6.0})
    challenger = challenger_in(registry, agent, 2.0, claim=9.0)
    leader = evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: False, challenger=challenger)
    assert leader is not None
    assert (leader.snapshot_id, leader.eval_metrics.primary_score) == (challenger.snapshot_id, 6.0)
    assert leader.eval_metrics.metrics["selection_score"] == 9.0
    assert registry.best == leader
    assert leaders_of(judge) == [2.0]


def test_a_challenger_behind_by_its_noise_is_tested_and_one_beyond_is_not(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 5.0})
    judge = Judge(agent, {1.0: 5.0, 2.0: 5.5, 3.0: 100.0})
    near, far = challenger_in(registry, agent, 2.0, claim=3.5), challenger_in(registry, agent, 3.0, claim=2.5)
    assert evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: False, far) == registry.best
    assert leaders_of(judge) == [1.0]
    leader = evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: False, near)
    assert leader is not None
    assert leader.eval_metrics.primary_score == 5.5
    assert far.snapshot_id not in {snapshot.snapshot_id for snapshot in registry.ranked_snapshots}


def test_a_damaged_challenger_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 5.0})
    challenger = challenger_in(registry, agent, 2.0, claim=9.0)
    (registry.path_of(challenger) / "weights" / "agent.npy").write_bytes(b"broken")
    judge = Judge(agent, {1.0: 4.0})
    leader = evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: False, challenger=challenger)
    assert leader is not None
    assert leader.eval_metrics.primary_score == 4.0
    assert "is passed over" in caplog.text


def test_nothing_to_test_is_no_error(tmp_path: Path) -> None:
    agent = NumpyAgent()
    assert (
        evaluate_leaders(agent, CheckpointRegistry(tmp_path), Judge(agent, {}), ScoreEvaluator(), lambda: False) is None
    )


class Noisy(Judge):
    """Whose windows are the worth of the policy, and luck that depends on policy and seed."""

    def __init__(self, agent: NumpyAgent, worth: dict[float, float], luck: float, length: int = 1) -> None:
        super().__init__(agent, worth)
        self.luck, self.length, self.seed = luck, length, 0

    def fresh_seeds(self) -> list[int]:
        self.seed += 1
        return [self.seed]

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        self.played.append(self.agent.weight)
        # A little lucky on the first twenty windows, unlucky then: the longer they are played, the clearer it is.
        luck = (0.05 if seeds[0] <= LEADER_WINDOWS else -0.25) + self.luck * (seeds[0] % 3 - 1)
        luck *= self.agent.weight == 2.0
        return window_of(self.worth[self.agent.weight] + luck, length=self.length)


def test_leaders_that_cannot_be_told_apart_play_off(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 9.2, 2.0: 9.5})
    judge = Noisy(agent, {1.0: 9.0, 2.0: 9.0}, luck=0.4)
    leader = evaluate_leaders(agent, registry, judge, EpisodeReturnEvaluator(), lambda: False)
    assert leader is not None
    best = registry.load_best(agent)
    assert (agent.weight, best) == (1.0, leader)
    assert leader.eval_metrics.primary_score == pytest.approx(9.0)
    assert len(leader.evidence) > LEADER_WINDOWS
    assert leader.eval_metrics.metrics["final_episodes"] == len(leader.evidence)


def test_equals_and_those_that_are_clearly_behind_do_not_play_off(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 9.0, 2.0: 9.5, 3.0: 9.4})
    judge = Judge(agent, {1.0: 8.0, 2.0: 9.0, 3.0: 9.0})
    evaluate_leaders(agent, registry, judge, EpisodeReturnEvaluator(), lambda: False)
    assert len(judge.played) <= 3 * LEADER_WINDOWS


def test_a_play_off_that_would_take_too_long_is_not_begun(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 9.2, 2.0: 9.5})
    judge = Noisy(agent, {1.0: 9.0, 2.0: 9.0}, luck=0.4, length=LEADER_STEPS // LEADER_WINDOWS // 2 + 1)
    leader = evaluate_leaders(agent, registry, judge, EpisodeReturnEvaluator(), lambda: False)
    assert leader is not None
    assert len(judge.played) <= 2 * LEADER_WINDOWS
    assert len(leader.evidence) == LEADER_WINDOWS


def test_it_plays_as_many_windows_as_it_is_told_and_nothing_beyond_its_steps(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 5.0, 2.0: 9.0, 3.0: 7.0})
    judge = Judge(agent, {1.0: 5.0, 2.0: 4.0, 3.0: 6.5})
    steps = judge.play([0]).length
    judge.played.clear()
    evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: False, windows=2, most_steps=4 * steps)
    assert judge.played == [2.0, 2.0, 3.0, 3.0]
