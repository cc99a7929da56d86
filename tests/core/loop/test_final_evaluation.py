from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.loop.final_evaluation import (
    LEADER_STEPS,
    LEADER_WINDOWS,
    ROUNDS,
    SHORT_WINDOWS,
    Contender,
    confirm_leaders,
    evaluate_leaders,
)
from tensor_optix.core.types import EpisodeData, EvalMetrics, PlayedWindow
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


def evidence_of(*scores: float) -> list[PlayedWindow]:
    return [PlayedWindow(seeds=(n,), returns=(score,), score=score) for n, score in enumerate(scores)]


def in_reserve(registry: CheckpointRegistry, agent: NumpyAgent, weight: float, *scores: float) -> Contender:
    agent.weight = weight
    metrics = EvalMetrics(scores[0])
    saved = registry.commit(registry.stage(agent), metrics, 0, agent.get_hyperparams(), in_reserve=True)
    return Contender(saved, scores)


def test_a_leader_that_nobody_could_beat_is_confirmed_alone(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {})
    for weight, score in ((1.0, 5.0), (2.0, 9.0)):
        agent.weight = weight
        registry.save(agent, EvalMetrics(score), evidence=evidence_of(*[score] * 20))
    judge = Judge(agent, {1.0: 5.0, 2.0: 8.0})
    leader = evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: False)
    assert leader is not None
    assert leader.eval_metrics.primary_score == 8.0
    assert leader.eval_metrics.metrics["selection_score"] == 9.0
    assert Counter(judge.played) == {2.0: LEADER_WINDOWS}


def test_a_lucky_leader_makes_way_for_the_one_that_holds(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 5.0, 2.0: 9.0, 3.0: 7.0})
    judge = Judge(agent, {1.0: 5.0, 2.0: 4.0, 3.0: 6.5})
    leader = evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: False)
    assert leader is not None
    assert (leader.eval_metrics.primary_score, leader) == (6.5, registry.best)
    assert registry.load_best(agent) == leader
    assert agent.weight == 3.0


def test_the_clearly_worse_drop_out_first_and_the_close_ones_play_most(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 5.0, 2.0: 9.0, 3.0: 9.1, 4.0: 8.0})
    judge = Noisy(agent, {1.0: 1.0, 2.0: 9.0, 3.0: 9.0, 4.0: 7.0}, luck=0.4)
    evaluate_leaders(agent, registry, judge, EpisodeReturnEvaluator(), lambda: False)
    played = Counter(judge.played)
    assert played[1.0] <= sum(ROUNDS[:2])
    assert played[4.0] <= sum(ROUNDS[:3])
    assert min(played[2.0], played[3.0]) >= sum(ROUNDS)


def test_who_is_clearly_worse_in_one_window_plays_no_other(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 9.0, 2.0: 9.1, 3.0: 9.2})
    judge = Fives(agent, {1.0: -200.0, 2.0: 8.0, 3.0: 9.0})
    evaluate_leaders(agent, registry, judge, EpisodeReturnEvaluator(), lambda: False)
    assert Counter(judge.played)[1.0] == ROUNDS[0]
    assert Counter(judge.played)[2.0] >= sum(ROUNDS[:2])


def test_a_score_that_was_chosen_for_is_not_reported(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 9.2, 2.0: 9.5})
    judge = Noisy(agent, {1.0: 9.0, 2.0: 9.0}, luck=0.4)  # the second one is lucky in the race, and not afterwards
    leader = evaluate_leaders(agent, registry, judge, EpisodeReturnEvaluator(), lambda: False)
    assert leader is not None
    assert min(window.seeds[0] for window in leader.evidence) > sum(ROUNDS)
    assert len(leader.evidence) == LEADER_WINDOWS
    assert leader.eval_metrics.metrics["final_episodes"] == LEADER_WINDOWS


def test_those_that_have_reached_the_ceiling_together_race_two_rounds(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 9.0, 2.0: 9.5, 3.0: 9.4})
    judge = Judge(agent, {1.0: 9.0, 2.0: 9.0, 3.0: 9.0})
    evaluate_leaders(agent, registry, judge, EpisodeReturnEvaluator(), lambda: False)
    assert len(judge.played) == 3 * sum(ROUNDS[:2]) + LEADER_WINDOWS


def test_what_is_in_reserve_may_win_and_ranks_only_then(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 5.0})
    winner = in_reserve(registry, agent, 2.0, 5.5, 5.0)
    loser = in_reserve(registry, agent, 3.0, 5.5, 6.0)
    judge = Judge(agent, {1.0: 5.0, 2.0: 8.0, 3.0: 5.0})
    leader = evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: False, [winner, loser])
    assert leader is not None
    assert (leader.snapshot_id, leader.eval_metrics.primary_score) == (winner.snapshot.snapshot_id, 8.0)
    ranking = [snapshot.snapshot_id for snapshot in registry.ranked_snapshots]
    assert ranking == [winner.snapshot.snapshot_id, "000000"]


def test_one_that_could_not_be_the_best_by_what_is_known_does_not_race(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {})
    agent.weight = 1.0
    registry.save(agent, EvalMetrics(9.0), evidence=evidence_of(*[9.0] * 20))
    far = in_reserve(registry, agent, 2.0, *[3.0] * 5)
    judge = Judge(agent, {1.0: 9.0, 2.0: 100.0})
    evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: False, [far])
    assert 2.0 not in judge.played


def test_the_winner_is_first_whatever_others_have_scored_by_luck(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 9.0}, max_snapshots=1)
    agent.weight = 2.0
    registry.save(agent, EvalMetrics(8.0))
    judge = Judge(agent, {1.0: 6.0, 2.0: 7.0})
    leader = evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: False)
    registry.prune()
    assert leader is not None
    assert registry.load_best(agent) == leader
    assert (agent.weight, leader.eval_metrics.primary_score) == (2.0, 7.0)


def test_a_damaged_leader_is_passed_over_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 5.0, 2.0: 9.0})
    best = registry.best
    assert best is not None
    (registry.path_of(best) / "weights" / "agent.npy").write_bytes(b"broken")
    leader = evaluate_leaders(agent, registry, Judge(agent, {1.0: 4.0}), ScoreEvaluator(), lambda: False)
    assert leader is not None
    assert leader.eval_metrics.primary_score == 4.0
    assert "is passed over" in caplog.text


@pytest.mark.parametrize("plays", [0, 3, 20])
def test_a_test_that_is_not_played_to_its_end_changes_nothing(tmp_path: Path, plays: int) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 5.0, 2.0: 9.0})
    reserved = in_reserve(registry, agent, 3.0, 9.0)
    judge = Judge(agent, {1.0: 5.0, 2.0: 4.0, 3.0: 4.0})
    leader = evaluate_leaders(agent, registry, judge, ScoreEvaluator(), lambda: len(judge.played) >= plays, [reserved])
    assert leader is not None
    assert (leader, leader.eval_metrics.primary_score) == (registry.best, 9.0)
    assert len(judge.played) == plays


class TestCutShort:
    def test_the_first_plays_a_few_windows_and_nobody_races(self, tmp_path: Path) -> None:
        registry, agent = registry_with(tmp_path, {1.0: 5.0, 2.0: 9.0})
        judge = Judge(agent, {1.0: 5.0, 2.0: 8.0})
        leader = confirm_leaders(agent, registry, judge, EpisodeReturnEvaluator(), lambda: False)
        assert leader is not None
        assert (leader.eval_metrics.primary_score, leader.eval_metrics.metrics["final_episodes"]) == (
            8.0,
            SHORT_WINDOWS,
        )
        assert Counter(judge.played) == {2.0: SHORT_WINDOWS}

    def test_one_that_shows_less_than_another_surely_is_makes_way(self, tmp_path: Path) -> None:
        registry, agent = registry_with(tmp_path, {2.0: 9.0})
        agent.weight = 1.0
        registry.save(agent, EvalMetrics(5.0), evidence=evidence_of(*[5.0] * 10))
        judge = Judge(agent, {1.0: 5.5, 2.0: 3.0})
        leader = confirm_leaders(agent, registry, judge, EpisodeReturnEvaluator(), lambda: False)
        assert leader == registry.best
        assert leader is not None
        assert leader.eval_metrics.primary_score == 5.5

    def test_without_time_for_the_whole_of_it_the_best_stays_unconfirmed(self, tmp_path: Path) -> None:
        registry, agent = registry_with(tmp_path, {2.0: 9.0})
        judge = Judge(agent, {2.0: 3.0})
        leader = confirm_leaders(agent, registry, judge, EpisodeReturnEvaluator(), lambda: len(judge.played) == 2)
        assert leader is not None
        assert leader.eval_metrics == EvalMetrics(9.0)
        assert confirm_leaders(agent, CheckpointRegistry(tmp_path / "none"), judge, ScoreEvaluator(), bool) is None


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
        # A little lucky in the race, unlucky then.
        luck = (0.05 if seeds[0] <= sum(ROUNDS) else -0.05) + self.luck * (seeds[0] % 3 - 1)
        luck *= self.agent.weight == 2.0
        return window_of(self.worth[self.agent.weight] + luck, length=self.length)


class Fives(Judge):
    """Whose windows have five episodes, about as good as the policy."""

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        self.played.append(self.agent.weight)
        windows = [window_of(self.worth[self.agent.weight] + luck) for luck in (-0.2, -0.1, 0.0, 0.1, 0.2)]
        return EpisodeData.concatenate(windows)


def test_a_round_that_would_take_too_many_steps_is_not_begun(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 9.2, 2.0: 9.5})
    judge = Noisy(agent, {1.0: 9.0, 2.0: 9.0}, luck=0.4, length=LEADER_STEPS // 2 // sum(ROUNDS[:2]))
    leader = evaluate_leaders(agent, registry, judge, EpisodeReturnEvaluator(), lambda: False)
    assert leader is not None
    assert len(judge.played) <= 2 * sum(ROUNDS[:2]) + LEADER_WINDOWS


def test_it_plays_as_many_windows_as_it_is_told_and_no_round_beyond_its_steps(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 9.0, 2.0: 9.5, 3.0: 9.4})
    judge = Noisy(agent, {1.0: 9.0, 2.0: 9.0, 3.0: 9.0}, luck=0.4)
    evaluate_leaders(agent, registry, judge, EpisodeReturnEvaluator(), lambda: False, windows=2, most_steps=12)
    assert len(judge.played) <= 3 * ROUNDS[0] + 2 * ROUNDS[1] + 3 * 2
    assert judge.played.count(1.0) == ROUNDS[0]  # those with the best prospects race on


def test_a_race_whose_first_round_is_too_dear_is_not_begun(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 9.0, 2.0: 9.5})
    judge = Judge(agent, {1.0: 9.0, 2.0: 9.5})
    few = {"windows": 2, "most_steps": 8.0}
    evaluate_leaders(agent, registry, judge, EpisodeReturnEvaluator(), lambda: False, (), window_steps=1.0, **few)  # type: ignore[arg-type]
    assert judge.played == [2.0, 2.0]


def told_by(tmp_path: Path, worth: dict[float, float]) -> list[dict[str, Any]]:
    registry, agent = registry_with(tmp_path, {1.0: 5.0, 2.0: 9.0, 3.0: 8.9})
    events: list[dict[str, Any]] = []

    def tell(kind: str, **facts: Any) -> None:
        events.append({"event": kind, **facts})

    evaluate_leaders(agent, registry, Judge(agent, worth), ScoreEvaluator(), lambda: False, tell=tell)
    return events


def test_races_and_confirmations_are_told_with_seeds_and_returns(tmp_path: Path) -> None:
    events = told_by(tmp_path, {1.0: 5.0, 2.0: 7.0, 3.0: 6.0})
    assert {event["event"] for event in events} == {"last_test"}
    races = [event for event in events if event["part"] == "race"]
    assert [event["round"] for event in races] == list(range(1, len(races) + 1))
    assert all(len(event["seeds"]) == windows for event, windows in zip(races, ROUNDS, strict=False))
    assert all(len(policy["returns"]) == len(event["seeds"]) for event in events for policy in event["policies"])
    (confirmation,) = [event for event in events if event["part"] == "confirmation"]
    assert len(confirmation["seeds"]) == LEADER_WINDOWS
    (best,) = [policy for policy in confirmation["policies"] if policy["outcome"] == "best"]
    assert (best["score"], best["returns"], best["selection_score"]) == (7.0, [7.0] * LEADER_WINDOWS, 9.0)


def test_whoever_drops_out_of_a_race_is_told(tmp_path: Path) -> None:
    rounds = told_by(tmp_path, {1.0: 5.0, 2.0: 70.0, 3.0: 6.0})[:2]
    policies = [policy for told in rounds for policy in told["policies"]]
    outcomes = {policy["snapshot"]: (policy["score"], policy["outcome"]) for policy in policies}
    assert (70.0, "stays") in outcomes.values()
    assert (6.0, "out") in outcomes.values()


def test_a_short_confirmation_is_told(tmp_path: Path) -> None:
    registry, agent = registry_with(tmp_path, {1.0: 5.0})
    events: list[dict[str, Any]] = []
    judge = Judge(agent, {1.0: 4.0})
    confirm_leaders(agent, registry, judge, ScoreEvaluator(), lambda: False, lambda kind, **facts: events.append(facts))
    (event,) = events
    assert (event["part"], len(event["seeds"])) == ("confirmation", SHORT_WINDOWS)
    assert [(policy["score"], policy["outcome"]) for policy in event["policies"]] == [(4.0, "best")]
