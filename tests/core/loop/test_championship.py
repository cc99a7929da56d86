"""Which policy is champion and in which era: who is crowned, kept from being pruned, and told of to the detector."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.decisions.drift import PageHinkley
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tests.fakes.agents import Follower
from tests.fakes.watching import EVALUATORS, MeanReward, WatchRig


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_a_challenger_that_learned_nothing_of_use_is_demoted_and_the_champion_acts_again(
    tmp_path: Path, evaluator: type[BaseEvaluator]
) -> None:
    # What is learned after the change is the champion's level a little off: the best of noise, and no better.
    agent = Follower(teach=lambda window, level: level if window < 60 else 0.9)
    rig = WatchRig(tmp_path, agent=agent, evaluator=evaluator)
    settled = [(window, event) for window, event in rig.events() if not event.startswith("drift")]
    assert all(event.startswith("demoted: ") for _, event in settled)
    assert rig.report.watch.get("promotions", 0) == 0
    champion = rig.world.acted[rig.hooks.dormant[0] + 1]
    for window, _ in settled:
        assert rig.world.acted[window + 1] == champion
    assert rig.agent.weight == champion


def test_scores_of_a_world_that_is_gone_bar_nobody(tmp_path: Path) -> None:
    # The new world is worse for everybody: nothing in it comes near what the champion once scored.
    class Harder(MeanReward):
        def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
            found = super().score(episode_data, train_diagnostics)
            return EvalMetrics(found.primary_score - 5.0 * (episode_data.episode_id >= 60), {}, found.episode_id)

    rig = WatchRig(tmp_path, evaluator=Harder, max_snapshots=20)
    assert rig.report.watch["promotions"] == 1
    assert rig.agent.weight == pytest.approx(4.0, abs=0.3)
    assert -5.5 < rig.report.best_score < -4.9
    ranked = rig.optimizer.registry.ranked_snapshots
    assert [snapshot.era for snapshot in ranked] == sorted((s.era for s in ranked), reverse=True)
    assert max(s.eval_metrics.primary_score for s in ranked) > -0.5  # the old scores are still told


def test_a_run_that_ends_before_the_trial_restores_the_champion(tmp_path: Path) -> None:
    full = WatchRig(tmp_path / "full")
    drift, settled = (window for window, _ in full.events())
    champion = full.world.acted[drift]
    for n, stop_after in enumerate((drift + 4, settled - 1)):
        rig = WatchRig(tmp_path / str(n), stop_after=stop_after)
        assert rig.report.watch.get("promotions", 0) == 0
        assert rig.agent.weight == champion


def test_the_champion_is_not_pruned_while_others_become_better(tmp_path: Path) -> None:
    rig = WatchRig(tmp_path, {0: 1.0, 60: 40.0}, max_snapshots=1)
    assert rig.report.watch["promotions"] == 1


class Informed(PageHinkley):
    """Remembers what it was told."""

    def __init__(self, at: int = 0) -> None:
        super().__init__()
        self.expected: list[list[float]] = []
        self.at, self.told = at, 0

    def expect(self, scores: Sequence[float]) -> None:
        super().expect(scores)
        self.expected.append(list(scores))

    def update(self, score: float) -> bool:
        self.told += 1
        return super().update(score) or self.told == self.at


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_a_detector_is_told_what_windows_like_those_to_come_have_scored(
    tmp_path: Path, evaluator: type[BaseEvaluator]
) -> None:
    detector = Informed()
    rig = WatchRig(tmp_path, evaluator=evaluator, drift_detector=detector)
    dormant = rig.hooks.dormant[0]
    before = [record.eval_metrics.primary_score for record in rig.history if record.window_id <= dormant]
    # The windows without a rise, and of those before them which are no lower, up to three times as many.
    assert detector.expected[0] == [score for score in before[-18:] if score >= min(before[-6:])]
    assert len(detector.expected[0]) > 6
    # In the trial the champion is watched, of whom nothing is known in the new world; then the one promoted, whose own
    # windows are known where it has acted.
    assert rig.report.watch["promotions"] == 1
    assert [len(scores) for scores in detector.expected[1:]] == ([8] if evaluator is MeanReward else [])


def test_one_that_was_woken_and_is_still_the_best_is_expected_nothing_of(tmp_path: Path) -> None:
    detector = Informed(at=20)
    agent = Follower(teach=lambda window, level: level if window < 35 else 30.0)
    rig = WatchRig(tmp_path, {0: 1.0}, windows=80, agent=agent, drift_detector=detector)
    assert rig.events()[0][1] == "drift"
    assert len(rig.hooks.dormant) > 1
    assert "trials" not in rig.report.watch
    assert len(detector.expected) == 1
