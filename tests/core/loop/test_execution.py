"""What the controller's hands do with a decision: through `LoopController`, on scores that are given."""

import dataclasses
import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.decisions.succession import Continue, Ended, LearnerSlot, LearnOn
from tensor_optix.core.faults import MOST_IN_A_ROW
from tensor_optix.core.loop.execution import WINDOWS_WITHOUT_EVIDENCE
from tensor_optix.core.loop.history import read_history
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.tuning import SuggestionError
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.training_report import StopReason
from tensor_optix.core.types import EvalMetrics, HyperparamSet, LoopState
from tensor_optix.errors import HyperparamError
from tests.fakes.loops import FixedOptimizer, LoopRig
from tests.helpers import NumpyAgent, ScoreEvaluator


class Unscored(ScoreEvaluator):
    """Gives no evidence, or a score that is no number."""

    def __init__(self, *, has_evidence: bool) -> None:
        self.has_evidence = has_evidence

    def score(self, episode_data: object, train_diagnostics: dict) -> EvalMetrics:
        return EvalMetrics(math.nan, has_evidence=self.has_evidence)


def test_scores_that_rise_are_kept_and_a_plateau_ends_the_run(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0])
    report = rig.run()
    assert [call[1] for call in rig.recorder.named("improvement")] == [1.0, 2.0, 3.0]
    assert (report.reason, report.evaluations) == (StopReason.CONVERGED.value, 7)
    assert rig.loop.state.position.state is LoopState.DORMANT


def test_a_policy_that_is_to_be_watched_is_not_stopped(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0, *[2.0] * 9], on_converged="watch")
    assert rig.run().reason == StopReason.EXHAUSTED.value
    assert rig.loop.state.is_on_watch
    assert rig.loop.state.watch.champion == rig.loop.state.best


@pytest.mark.parametrize(("has_evidence", "count"), [(True, 1), (False, WINDOWS_WITHOUT_EVIDENCE)])
def test_missing_scores_are_told_once_and_move_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, has_evidence: bool, count: int
) -> None:
    with caplog.at_level(logging.WARNING):
        few = LoopRig(tmp_path / "few", [0.0] * (count - 1), evaluator=Unscored(has_evidence=has_evidence))
        few.run()
        assert not caplog.records
        many = LoopRig(tmp_path / "many", [0.0] * (3 * count), evaluator=Unscored(has_evidence=has_evidence))
        many.run()
    assert len(caplog.records) == 1
    assert many.loop.state.position.no_improvement == 0
    assert not many.optimizer.seen


class NotFiniteIn(ScoreEvaluator):
    """Gives no number in one of its methods."""

    def __init__(self, method: str) -> None:
        self._method = method

    def score(self, episode_data: Any, train_diagnostics: Any) -> EvalMetrics:
        return self._spoiled("score", super().score(episode_data, train_diagnostics))

    def score_validation(self, episode_data: Any, train_diagnostics: Any = None) -> EvalMetrics:
        return self._spoiled("score_validation", super().score(episode_data, {}))

    def combine(self, train_metrics: EvalMetrics, val_metrics: EvalMetrics) -> EvalMetrics:
        return self._spoiled("combine", super().combine(train_metrics, val_metrics))

    def _spoiled(self, method: str, metrics: EvalMetrics) -> EvalMetrics:
        return dataclasses.replace(metrics, primary_score=math.nan) if method == self._method else metrics


@pytest.mark.parametrize(
    ("method", "val_scores", "told"),
    [
        ("score", None, "NotFiniteIn.score gave nan"),
        ("score_validation", [1.0] * 3, "NotFiniteIn.score of held-out episodes gave nan"),
        ("combine", [1.0] * 3, "NotFiniteIn.combine gave nan"),
    ],
)
def test_the_report_says_whose_scores_were_not_finite(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, method: str, val_scores: list[float] | None, told: str
) -> None:
    report = LoopRig(tmp_path, [0.0] * 3, evaluator=NotFiniteIn(method), val_scores=val_scores).run()
    assert report.not_finite == told
    assert told.replace(" gave", " gave the score") in caplog.text
    assert "no episode was completed" not in str(report)


def test_a_run_without_evidence_blames_no_score(tmp_path: Path) -> None:
    assert LoopRig(tmp_path, [0.0] * 2, evaluator=Unscored(has_evidence=False)).run().not_finite == ""
    assert LoopRig(tmp_path / "scored", [1.0, math.nan]).run().not_finite == ""


def test_a_wrong_suggestion_is_tolerated_until_it_comes_in_a_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        LoopRig(tmp_path / "few", range(MOST_IN_A_ROW - 1), optimizer=FixedOptimizer([math.nan] * MOST_IN_A_ROW)).run()
    assert len(caplog.records) == MOST_IN_A_ROW - 1
    with pytest.raises(SuggestionError, match="learning_rate"):
        LoopRig(tmp_path / "many", range(MOST_IN_A_ROW), optimizer=FixedOptimizer([math.nan] * MOST_IN_A_ROW)).run()


class Heir(LoopCallback):
    """Lets another agent learn on, once."""

    is_spent = False

    def __init__(self) -> None:
        self.asked: list[Ended] = []
        self.concluded: list[StopReason] = []

    def join(self, slot: LearnerSlot) -> None:
        self.slot = slot

    def join_run(self, parts: object, space: object, seed: object) -> None: ...

    def next(self, ended: Ended) -> LearnOn | Continue:
        self.asked.append(ended)
        return LearnOn(NumpyAgent()) if len(self.asked) == 1 else Continue()

    def conclude(self, reason: StopReason) -> None:
        self.concluded.append(reason)

    def report(self) -> dict:
        return {}


def test_a_successor_is_asked_and_its_agent_starts_with_fresh_patience(tmp_path: Path) -> None:
    heir = Heir()
    rig = LoopRig(tmp_path, [1.0, *[2.0] * 30], callbacks=[heir], optimizer=FixedOptimizer([0.1] * 40))
    report = rig.run()
    assert (report.reason, heir.concluded) == ("converged", [StopReason.CONVERGED])
    first, second = heir.asked
    assert first.is_dormant
    assert not first.watches
    assert second.window_id - first.window_id == 4
    suggestions = [call for call in rig.optimizer.seen if call[0] == "suggest"]
    assert len(suggestions) == report.evaluations - 2  # neither learner is tuned by the score that has ended it
    assert heir.slot.agent is rig.agent  # the user's own holds the best in the end


def test_an_error_of_a_successor_ends_the_run_with_everything_saved(tmp_path: Path) -> None:
    class Lost(Heir):
        def next(self, ended: Ended) -> LearnOn | Continue:
            raise LookupError("no heir")

    rig = LoopRig(tmp_path, [1.0, *[2.0] * 9], callbacks=[Lost()])
    with pytest.raises(LookupError, match="no heir"):
        rig.run()
    assert rig.agent.weight is not None
    assert rig.loop.report().reason == "error"
    assert rig.loop.report().best_score == 2.0


def test_each_decision_is_a_line_of_the_history(tmp_path: Path) -> None:
    LoopRig(tmp_path, [1.0, 2.0, math.inf]).run()
    first, second, third = read_history(tmp_path / "history.jsonl")
    assert (first.verdict, second.verdict, third.verdict) == ("improved", "improved", "no_evidence")
    assert second.best_score == 2.0


def test_the_state_of_a_run_is_restored_whole(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0, 2.0, 2.0, 2.0], optimizer=FixedOptimizer([0.5, 0.4, 0.3]))
    rig.run()
    state = rig.loop.state
    again = RunState.from_dict(json.loads(json.dumps(state.to_dict())), list(read_history(tmp_path / "history.jsonl")))
    assert again.to_dict() == state.to_dict()
    assert [metrics.primary_score for metrics in again.recent] == [1.0, 2.0, 2.0, 2.0]


def test_margin_must_be_beaten(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [-10.0, -9.5, -8.9], improvement_margin=1.0)
    assert rig.run().best_score == -8.9
    assert [score for _, score in rig.recorder.named("improvement")] == [-10.0, -8.9]


def test_degradation_is_told_and_rolled_back_if_asked(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0, 10.0, 5.0], rollback_on_degradation=True)
    rig.run()
    assert rig.recorder.named("degradation") == [("degradation", 2)]
    assert rig.agent.loaded[0] == "snapshot_000001"


def test_degradation_without_rollback_leaves_the_weights(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0, 10.0, 5.0], restore_best=False)
    rig.run()
    assert rig.agent.loaded == []
    assert rig.agent.weight == pytest.approx(0.3)


def test_a_dip_while_probing_is_no_degradation(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [10.0, 1.0], optimizer=FixedOptimizer(probing=True))
    rig.run()
    assert rig.recorder.named("degradation") == []


def test_suggestions_reach_the_agent_and_the_callbacks(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0, 2.0, 3.0], optimizer=FixedOptimizer([0.5, 0.25]))
    rig.run()
    assert rig.recorder.named("hyperparams") == [
        ("hyperparams", {"learning_rate": 0.1}, {"learning_rate": 0.5}),
        ("hyperparams", {"learning_rate": 0.5}, {"learning_rate": 0.25}),
    ]
    assert [record.hyperparams.params["learning_rate"] for record in rig.history()] == [0.1, 0.5, 0.25]


def test_the_optimizer_hears_of_improvements_and_plateaus_first(tmp_path: Path) -> None:
    optimizer = FixedOptimizer()
    LoopRig(tmp_path, [1.0, 1.0, 1.0], optimizer=optimizer).run()
    assert [name for name, _ in optimizer.seen] == ["improvement", "suggest", "suggest", "plateau", "suggest"]


@pytest.mark.parametrize("value", [math.nan, math.inf, "fast", None, True])
def test_a_suggestion_that_is_no_finite_number_never_reaches_the_agent(tmp_path: Path, value: object) -> None:
    rig = LoopRig(tmp_path, [1.0, 2.0], optimizer=FixedOptimizer([value] * 2))
    assert rig.run().health == {"suggestion": 2}  # refused, and nothing is tuned
    assert rig.agent.params == {"learning_rate": 0.1}
    with pytest.raises(HyperparamError, match="not a finite number"):
        LoopRig(tmp_path / "again", [1.0, 2.0, 3.0], optimizer=FixedOptimizer([value] * 3)).run()


def test_an_unknown_suggestion_is_refused_with_the_near_name(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0] * 3, optimizer=FixedOptimizer([0.1] * 3, key="learning_rat"))
    with pytest.raises(HyperparamError, match="Did you mean 'learning_rate'"):
        rig.run()


class ProbingOptimizer(FixedOptimizer):
    """Puts a value on trial at every second evaluation, and settles it at the next."""

    def suggest(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
        self.probing = not self.probing
        return HyperparamSet({**hyperparams.params, "learning_rate": 0.9 if self.probing else 0.1})


@pytest.mark.parametrize("dormant", [4, 5])
def test_a_trial_is_settled_when_the_loop_becomes_dormant_so_that_it_can_wake(tmp_path: Path, dormant: int) -> None:
    rig = LoopRig(
        tmp_path, [10.0] * 30 + [0.0] * 8, optimizer=ProbingOptimizer(), dormant=dormant, on_converged="watch"
    )
    rig.run()
    assert rig.recorder.named("degradation")
    watched = [record for record in rig.history() if record.state == "watchdog"]
    assert all(record.hyperparams.params["learning_rate"] == 0.1 for record in watched[1:])


def test_a_suggestion_of_some_values_leaves_the_others(tmp_path: Path) -> None:
    class Partial(FixedOptimizer):
        def suggest(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
            return HyperparamSet({"learning_rate": 0.7})

    agent = NumpyAgent()
    agent.params["other"] = 3
    LoopRig(tmp_path, [1.0], agent=agent, optimizer=Partial()).run()
    assert agent.params == {"learning_rate": 0.7, "other": 3}


def test_a_resumed_run_drops_what_it_was_cut_off_before_dropping(tmp_path: Path) -> None:
    rig = LoopRig(tmp_path, [1.0, 2.0, 3.0])
    rig.run()
    state, registry = rig.loop.state, rig.registry
    values = NumpyAgent().get_hyperparams()
    left, later = (
        registry.commit(registry.stage(NumpyAgent()), EvalMetrics(0.5), window, values, in_reserve=True)
        for window in (1, 99)
    )
    rig.loop._execution.go_on_from(state)
    assert registry.reserve == {left.snapshot_id}
    registry.keep_in_reserve(())
    assert not registry.path_of(left).exists()
    assert registry.path_of(later).exists()  # saved after the state: the run comes to it again
