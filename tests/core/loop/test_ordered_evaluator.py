"""The user's `compare` is the one definition of better; `score_validation` scores what is held out."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.base_evaluator import ScoresActions
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop.ordered_evaluator import OrderedEvaluator, name_of, ordered
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer
from tests.fakes.evolution import EvolutionRig, SeededWorth
from tests.fakes.loops import ByWeight, FixedOptimizer, LoopRig
from tests.fakes.scripts import DECIDED, SCRIPTS
from tests.fakes.watching import MeanReward, WatchRig
from tests.helpers import NumpyAgent, ScoreEvaluator, window_of


class Loss(ScoreEvaluator):
    """The negative of the usual score, of which the lower is the better."""

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        found = super().score(episode_data, train_diagnostics)
        return EvalMetrics(-found.primary_score, found.metrics, found.episode_id, found.has_evidence)

    def compare(self, candidate: EvalMetrics, reference: EvalMetrics) -> bool:
        return candidate.primary_score < reference.primary_score


class NearTen(ScoreEvaluator):
    """The better, the nearer to 10."""

    def compare(self, candidate: EvalMetrics, reference: EvalMetrics) -> bool:
        return abs(candidate.primary_score - 10.0) < abs(reference.primary_score - 10.0)


class Held(ByWeight):
    """Episodes whose return is ten times the weight, and a little more or less by their seed."""

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        return window_of(10.0 * self.agent.weight + 0.01 * (seeds[0] % 7))  # type: ignore[union-attr]


@pytest.mark.parametrize("script", SCRIPTS)
def test_losses_are_decided_on_as_their_negatives_are(tmp_path: Path, script: str) -> None:
    decided = []
    for evaluator in (ScoreEvaluator(), Loss()):
        rig = LoopRig(
            tmp_path / type(evaluator).__name__,
            SCRIPTS[script],
            evaluator=evaluator,
            optimizer=BackoffOptimizer({"learning_rate": (0.01, 1.0)}, seed=0),  # type: ignore[arg-type]
            plateau=5,
            dormant=20,
            max_interval=4,
            rollback_on_degradation=True,
        )
        report = rig.run()
        records = [{name: record.to_dict()[name] for name in DECIDED} for record in rig.history()]
        tried = [(step.name, step.requested, step.decision) for r in rig.history() for step in r.tuning]
        ranks = [snapshot.window_id for snapshot in CheckpointRegistry(rig.folder).ranked_snapshots]
        decided.append((records, tried, report.best_window, ranks, rig.agent.weight, abs(report.best_score)))
    assert decided[0] == decided[1]


@pytest.mark.parametrize("final", [False, True])
def test_losses_on_held_out_episodes_are_tested_as_their_negatives_are(tmp_path: Path, final: bool) -> None:
    found = []
    for evaluator in (ScoreEvaluator(), Loss()):
        agent = NumpyAgent()
        rates = FixedOptimizer([0.1, 0.1, -0.3, 0.4, -0.1, 0.1, -0.1, 0.1, -0.1])
        folder = tmp_path / type(evaluator).__name__
        rig = LoopRig(
            folder,
            [0.0] * 10,
            agent=agent,
            evaluator=evaluator,
            optimizer=rates,
            val_pipeline=Held(agent),
            dormant=8,
            final_evaluation=final,
        )
        report = rig.run()
        best = CheckpointRegistry(folder).best
        assert best is not None
        known = [(record.verdict, record.is_best, record.window_id) for record in rig.history()]
        found.append(
            (known, best.window_id, agent.weight, report.ahead_of_start, report.reason, abs(report.best_score))
        )
    assert found[0] == found[1]


def test_losses_evolve_as_their_negatives_do(tmp_path: Path) -> None:
    found = []
    for evaluator in (ScoreEvaluator(), Loss()):
        folder = tmp_path / type(evaluator).__name__
        rig = EvolutionRig(folder, [5.0, 8.0, 3.0], max_spawns=2, validation=SeededWorth, evaluator=evaluator)
        report = rig.loop.run()
        lineage = [(one["outcome"], abs(one["score"]), one["windows"]) for one in rig.pm.training_report()["lineage"]]
        weights = [agent.weight for agent in (rig.first, *rig.made)]
        found.append((lineage, weights, report.reason, abs(report.best_score), rig.pm.agents.index(rig.first)))
    assert found[0] == found[1]


class MeanLoss(MeanReward):
    """The negative of the mean reward, of which the lower is the better."""

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        return EvalMetrics(-super().score(episode_data, train_diagnostics).primary_score, {}, episode_data.episode_id)

    def compare(self, candidate: EvalMetrics, reference: EvalMetrics) -> bool:
        return candidate.primary_score < reference.primary_score


def test_losses_are_watched_as_their_negatives_are(tmp_path: Path) -> None:
    usual, losses = (WatchRig(tmp_path / kind.__name__, evaluator=kind) for kind in (MeanReward, MeanLoss))
    assert losses.events() == usual.events() != []
    assert losses.report.watch == usual.report.watch
    assert losses.agent.weight == usual.agent.weight
    assert losses.report.best_score == pytest.approx(-usual.report.best_score)


def test_a_target_crowns_what_is_nearest_and_a_new_best_is_the_rise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scores = [50.0, 30.0, 20.0, 11.0, 14.0, 9.5, 12.0, 30.0, 12.0, 12.0, 12.0, 12.0]
    rig = LoopRig(tmp_path, scores, evaluator=NearTen(), dormant=4)
    report = rig.run()
    assert (report.best_score, report.best_window) == (9.5, 5)
    assert [r.window_id for r in rig.history() if r.is_best] == [0, 1, 2, 3, 5]
    assert [r.verdict for r in rig.history()] == [*["improved"] * 4, "flat", "improved", *["flat"] * 4]
    assert report.windows == 10
    assert report.reason == "converged"
    best = CheckpointRegistry(tmp_path).best
    assert best is not None
    assert best.window_id == 5
    assert "NearTen.compare does not go by the score alone" in caplog.text


def test_an_order_of_its_own_holds_in_the_tests_on_held_out_episodes(tmp_path: Path) -> None:
    agent = NumpyAgent()
    rates = FixedOptimizer([0.4, 0.4, 0.4, 0.4, -0.4, 0.3, 0.3])
    rig = LoopRig(
        tmp_path,
        [0.0] * 9,
        agent=agent,
        evaluator=NearTen(),
        optimizer=rates,
        val_pipeline=Held(agent),
        dormant=5,
        final_evaluation=True,
    )
    report = rig.run()
    tried = [abs(record.eval_metrics.primary_score - 10.0) for record in rig.history()]
    assert max(tried) > 3.0
    assert abs(report.best_score - 10.0) == pytest.approx(min(tried), abs=0.5), "seeds differ by less"
    assert 10.0 * agent.weight == pytest.approx(report.best_score, abs=0.5)
    assert report.ahead_of_start


class WithFloor(ScoreEvaluator):
    """A higher score counts only where it is a whole point higher."""

    def compare(self, candidate: EvalMetrics, reference: EvalMetrics) -> bool:
        return candidate.primary_score >= reference.primary_score + 1.0


def test_a_margin_in_the_rule_is_kept(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0, 1.5, 1.9, 2.0, 2.9, 3.0], evaluator=WithFloor(), dormant=6)
    rig.run()
    assert [record.window_id for record in rig.history() if record.is_best] == [0, 3, 5]


@pytest.mark.parametrize("scores", [[3.0, 1.0, 2.0, 0.5], [3.0, 4.0, 1.0, 5.0]])
def test_a_rule_may_ask_the_usual_one(tmp_path: Path, scores: list[float]) -> None:
    class Lower(ScoreEvaluator):
        def compare(self, candidate: EvalMetrics, reference: EvalMetrics) -> bool:
            return super().compare(reference, candidate)

    class NotBelowTwo(ScoreEvaluator):
        def compare(self, candidate: EvalMetrics, reference: EvalMetrics) -> bool:
            return abs(candidate.primary_score) >= 2.0 and super().compare(candidate, reference)

    lowest = LoopRig(tmp_path / "lowest", scores, evaluator=Lower())
    assert lowest.run().best_score == min(scores)
    limited = LoopRig(tmp_path / "limited", scores, evaluator=NotBelowTwo())
    assert limited.run().best_score == max(scores)


def test_a_rule_may_be_set_on_the_object(tmp_path: Path) -> None:
    evaluator = ScoreEvaluator()
    evaluator.compare = lambda candidate, reference: candidate.primary_score < reference.primary_score  # type: ignore[method-assign]
    assert LoopRig(tmp_path, [3.0, 1.0, 2.0], evaluator=evaluator).run().best_score == 1.0


def test_a_rule_that_fails_is_a_fault_of_the_evaluator(tmp_path: Path) -> None:
    class Broken(ScoreEvaluator):
        def compare(self, candidate: EvalMetrics, reference: EvalMetrics) -> bool:
            raise KeyError("sharpe")

    rig = LoopRig(tmp_path, [1.0, 2.0, 3.0, 4.0, 5.0], evaluator=Broken())
    with pytest.raises(KeyError, match="sharpe"):
        rig.run()


class HeldOut(ScoreEvaluator):
    def score_validation(self, episode_data: EpisodeData) -> EvalMetrics:  # type: ignore[override]
        return EvalMetrics(100.0 + super().score(episode_data, {}).primary_score)


class HeldOutWithDiagnostics(ScoreEvaluator):
    def score_validation(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:  # type: ignore[override]
        assert train_diagnostics == {}
        return EvalMetrics(100.0 + super().score(episode_data, {}).primary_score)


@pytest.mark.parametrize("evaluator", [HeldOut(), HeldOutWithDiagnostics()])
def test_what_is_held_out_is_scored_by_score_validation(tmp_path: Path, evaluator: ScoreEvaluator) -> None:
    rig = LoopRig(tmp_path, [1.0, 2.0], evaluator=evaluator, val_scores=[5.0, 6.0])
    report = rig.run()
    assert (report.best_score, report.train_score) == (106.0, 2.0)
    assert report.generalization_gap == 2.0 - 106.0


def test_an_evaluator_without_either_is_asked_directly() -> None:
    plain = ScoreEvaluator()
    assert ordered(plain) is plain
    wrapped = ordered(Loss())
    assert ordered(wrapped) is wrapped
    assert name_of(wrapped) == "Loss"
    assert name_of(plain) == "ScoreEvaluator"


def test_what_else_an_evaluator_can_is_still_told() -> None:
    class Shadow(Loss):
        def score_actions(self, episode_data: EpisodeData, actions: Any) -> EvalMetrics:
            return self.score(episode_data, {})

        def state_dict(self) -> dict[str, int]:
            return {"seen": 3}

        def load_state_dict(self, state: Any) -> None:
            self.seen = state["seen"]

    evaluator = ordered(Shadow())
    assert isinstance(evaluator, ScoresActions)
    assert not isinstance(OrderedEvaluator(Loss()), ScoresActions)
    assert evaluator.score_actions(window_of(2.0), None).utility == 2.0
    assert evaluator.state_dict() == {"seen": 3}  # type: ignore[attr-defined]
