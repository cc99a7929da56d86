import json
import logging
import math
from pathlib import Path

import pytest

from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.trend import Verdict
from tensor_optix.core.faults import MOST_IN_A_ROW
from tensor_optix.core.loop.callbacks import CallbackList
from tensor_optix.core.loop.decider import WINDOWS_WITHOUT_EVIDENCE, Decisions
from tensor_optix.core.loop.history import History, read_history
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.loop.scoring import Evaluation, Scorer
from tensor_optix.core.loop.tuning import SuggestionError
from tensor_optix.core.training_report import StopReason
from tensor_optix.core.types import EvalMetrics, LoopState
from tests.fakes.loops import FixedOptimizer, Recorder
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline


class Desk:
    """Decisions on evaluations that nobody had to play for."""

    def __init__(self, folder: Path, optimizer: FixedOptimizer | None = None, on_converged: str = "stop") -> None:
        self.agent, self.optimizer = NumpyAgent(), optimizer or FixedOptimizer()
        registry = CheckpointRegistry(folder)
        registry.open()
        self.parts = LoopParts(
            agent=self.agent,
            pipeline=ScriptedPipeline([1.0], self.agent),
            val_pipeline=None,
            evaluator=ScoreEvaluator(),
            optimizer=self.optimizer,
            registry=registry,
            history=History(folder / "history.jsonl"),
        )
        scheduler = BackoffScheduler(plateau_threshold=2, dormant_threshold=4, base_interval=1, max_interval=8)
        self.config = LoopConfig(scheduler=scheduler, on_converged=on_converged)
        self.progress, self.recorder = RunProgress(lambda: 0.0), Recorder()
        self.decisions = self.made()

    def __enter__(self) -> "Desk":
        return self

    def __exit__(self, *_: object) -> None:
        self.parts.history.close()
        self.parts.registry.close()

    def made(self) -> Decisions:
        callbacks = CallbackList([self.recorder], self.progress.clock, self.progress.health)
        scorer = Scorer(self.parts.evaluator, None, self.config, self.progress)
        return Decisions(self.parts, self.config, self.progress, callbacks, scorer)

    def decide(self, *scores: float, has_evidence: bool = True) -> None:
        for score in scores:
            self.progress.window_id += 1
            is_best = self.progress.best_score is None or score > self.progress.best_score
            metrics = EvalMetrics(score, {}, self.progress.window_id, has_evidence=has_evidence)
            lived_with = self.agent.get_hyperparams().copy()
            self.decisions.decide(self.parts, Evaluation(metrics, is_best, (), lived_with, None))


def test_scores_that_rise_are_kept_and_a_plateau_ends_the_run(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        desk.decide(1.0, 2.0, 3.0)
        assert [call[1] for call in desk.recorder.named("improvement")] == [1.0, 2.0, 3.0]
        assert desk.progress.reason is None
        desk.decide(3.0, 3.0, 3.0, 3.0)
        assert desk.decisions.position.state is LoopState.DORMANT
        assert desk.progress.reason is StopReason.CONVERGED
        assert desk.progress.evaluations == 7


def test_who_is_to_be_watched_is_not_stopped(tmp_path: Path) -> None:
    with Desk(tmp_path, on_converged="watch") as desk:
        desk.decide(1.0, 2.0, 2.0, 2.0, 2.0, 2.0)
        assert desk.decisions.is_on_watch
        assert desk.progress.reason is None
        assert desk.progress.next_evaluation == desk.progress.window_id + 8


def test_a_new_learner_has_a_patience_of_its_own_and_is_not_tuned_by_an_older_score(tmp_path: Path) -> None:
    with Desk(tmp_path, FixedOptimizer([0.5, 0.4, 0.3, 0.2, 0.1])) as desk:
        desk.decide(1.0, 2.0, 2.0, 2.0)
        asked = len(desk.optimizer.seen)
        desk.decisions.on_new_learner(desk.parts)
        assert desk.decisions.position.no_improvement == 0
        desk.progress.window_id -= 1  # the decision in progress is still about the one before
        desk.decide(2.0)
        assert len(desk.optimizer.seen) == asked
        desk.decide(2.0)
        assert len(desk.optimizer.seen) > asked


@pytest.mark.parametrize(("has_evidence", "count"), [(True, 1), (False, WINDOWS_WITHOUT_EVIDENCE)])
def test_missing_scores_are_told_once_and_move_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, has_evidence: bool, count: int
) -> None:
    with Desk(tmp_path) as desk:
        before = desk.decisions.position
        with caplog.at_level(logging.WARNING):
            desk.decide(*[math.nan] * (count - 1), has_evidence=has_evidence)
            assert not caplog.records
            desk.decide(*[math.nan] * (2 * count), has_evidence=has_evidence)
        assert len(caplog.records) == 1
        assert desk.decisions.position == before
        assert not desk.optimizer.seen


def test_a_wrong_suggestion_is_borne_with_until_it_comes_in_a_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Desk(tmp_path, FixedOptimizer([math.nan] * MOST_IN_A_ROW)) as desk:
        with caplog.at_level(logging.WARNING):
            desk.decide(*range(1, MOST_IN_A_ROW))
        assert len(caplog.records) == MOST_IN_A_ROW - 1
        with pytest.raises(SuggestionError, match="learning_rate"):
            desk.decide(MOST_IN_A_ROW)


def test_each_decision_is_a_line_of_the_history(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        desk.decide(1.0, 2.0)
        metrics, lived_with = EvalMetrics(math.nan, has_evidence=False), desk.agent.get_hyperparams()
        desk.decisions.record(lived_with, metrics, Verdict.NO_EVIDENCE, probed_param=None, fault="strike: a test")
        first, second, third = read_history(tmp_path / "history.jsonl")
        assert (first.verdict, second.verdict, third.verdict) == ("improved", "improved", "no_evidence")
        assert second.best_score == 2.0
        assert third.fault == "strike: a test"


def test_decisions_go_on_from_their_state(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        desk.decide(1.0, 2.0, 2.0, 2.0)
        state = json.loads(json.dumps(desk.decisions.state_dict()))
        restored = desk.made()
        restored.load_state_dict(state, desk.parts)
        assert restored.position == desk.decisions.position
        assert restored.state_dict() == desk.decisions.state_dict()
        desk.decisions = restored
        desk.decide(2.0, 2.0)
        assert desk.progress.reason is StopReason.CONVERGED
