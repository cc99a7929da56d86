"""What the controller's hands do with a decision: through `LoopController`, on scores that are given."""

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.succession import Continue, Ended, LearnerSlot, LearnOn
from tensor_optix.core.faults import MOST_IN_A_ROW
from tensor_optix.core.loop.execution import WINDOWS_WITHOUT_EVIDENCE
from tensor_optix.core.loop.history import History, read_history
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.tuning import SuggestionError
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.loop_controller import LoopController
from tensor_optix.core.training_report import StopReason, TrainingReport
from tensor_optix.core.types import EvalMetrics, LoopState
from tests.fakes.loops import FixedOptimizer, Recorder
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline


class Unscored(ScoreEvaluator):
    """Gives no evidence, or a score that is no number."""

    def __init__(self, *, has_evidence: bool) -> None:
        self.has_evidence = has_evidence

    def score(self, episode_data: object, train_diagnostics: dict) -> EvalMetrics:
        return EvalMetrics(math.nan, has_evidence=self.has_evidence)


class Rig:
    """A loop over windows of given scores."""

    def __init__(
        self,
        folder: Path,
        scores: Sequence[float],
        *,
        optimizer: FixedOptimizer | None = None,
        evaluator: ScoreEvaluator | None = None,
        on_converged: str = "stop",
        callbacks: Sequence[LoopCallback] = (),
    ) -> None:
        self.agent, self.optimizer, self.recorder = NumpyAgent(), optimizer or FixedOptimizer(), Recorder()
        self.folder, registry = folder, CheckpointRegistry(folder)
        registry.open()
        parts = LoopParts(
            agent=self.agent,
            pipeline=ScriptedPipeline(list(scores), self.agent),
            val_pipeline=None,
            evaluator=evaluator or ScoreEvaluator(),
            optimizer=self.optimizer,
            registry=registry,
            history=History(folder / "history.jsonl"),
        )
        scheduler = BackoffScheduler(plateau_threshold=2, dormant_threshold=4, base_interval=1, max_interval=1)
        config = LoopConfig(scheduler=scheduler, on_converged=on_converged)  # type: ignore[arg-type]
        self.loop = LoopController(parts, config, [self.recorder, *callbacks])

    def run(self) -> TrainingReport:
        return self.loop.run()


def test_scores_that_rise_are_kept_and_a_plateau_ends_the_run(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0])
    report = rig.run()
    assert [call[1] for call in rig.recorder.named("improvement")] == [1.0, 2.0, 3.0]
    assert (report.reason, report.evaluations) == (StopReason.CONVERGED.value, 7)
    assert rig.loop.state.position.state is LoopState.DORMANT


def test_a_policy_that_is_to_be_watched_is_not_stopped(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0, *[2.0] * 9], on_converged="watch")
    assert rig.run().reason == StopReason.EXHAUSTED.value
    assert rig.loop.state.is_on_watch
    assert rig.loop.state.watch.champion == rig.loop.state.best


@pytest.mark.parametrize(("has_evidence", "count"), [(True, 1), (False, WINDOWS_WITHOUT_EVIDENCE)])
def test_missing_scores_are_told_once_and_move_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, has_evidence: bool, count: int
) -> None:
    with caplog.at_level(logging.WARNING):
        few = Rig(tmp_path / "few", [0.0] * (count - 1), evaluator=Unscored(has_evidence=has_evidence))
        few.run()
        assert not caplog.records
        many = Rig(tmp_path / "many", [0.0] * (3 * count), evaluator=Unscored(has_evidence=has_evidence))
        many.run()
    assert len(caplog.records) == 1
    assert many.loop.state.position.no_improvement == 0
    assert not many.optimizer.seen


def test_a_wrong_suggestion_is_tolerated_until_it_comes_in_a_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Rig(tmp_path / "few", range(MOST_IN_A_ROW - 1), optimizer=FixedOptimizer([math.nan] * MOST_IN_A_ROW)).run()
    assert len(caplog.records) == MOST_IN_A_ROW - 1
    with pytest.raises(SuggestionError, match="learning_rate"):
        Rig(tmp_path / "many", range(MOST_IN_A_ROW), optimizer=FixedOptimizer([math.nan] * MOST_IN_A_ROW)).run()


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


def test_a_successor_is_asked_and_its_agent_has_a_patience_of_its_own(tmp_path: Path) -> None:
    heir = Heir()
    rig = Rig(tmp_path, [1.0, *[2.0] * 30], callbacks=[heir], optimizer=FixedOptimizer([0.1] * 40))
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

    rig = Rig(tmp_path, [1.0, *[2.0] * 9], callbacks=[Lost()])
    with pytest.raises(LookupError, match="no heir"):
        rig.run()
    assert rig.agent.weight is not None
    assert rig.loop.report().reason == "error"
    assert rig.loop.report().best_score == 2.0


def test_each_decision_is_a_line_of_the_history(tmp_path: Path) -> None:
    Rig(tmp_path, [1.0, 2.0, math.inf]).run()
    first, second, third = read_history(tmp_path / "history.jsonl")
    assert (first.verdict, second.verdict, third.verdict) == ("improved", "improved", "no_evidence")
    assert second.best_score == 2.0


def test_the_state_of_a_run_is_restored_whole(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [1.0, 2.0, 2.0, 2.0], optimizer=FixedOptimizer([0.5, 0.4, 0.3]))
    rig.run()
    state = rig.loop.state
    again = RunState.from_dict(json.loads(json.dumps(state.to_dict())), read_history(tmp_path / "history.jsonl"))
    assert again.to_dict() == state.to_dict()
    assert [metrics.primary_score for metrics in again.recent] == [1.0, 2.0, 2.0, 2.0]
