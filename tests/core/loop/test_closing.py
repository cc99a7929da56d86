"""What is done when a run ends, and in which order."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.escape_records import EscapeRecord
from tensor_optix.core.loop.closing import closing_steps
from tensor_optix.core.loop.history import History
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop.run import new_run
from tensor_optix.core.loop.validation import Validation
from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.types import EvalMetrics
from tests.fakes.loops import FixedOptimizer
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline

COMPARE = "compare the best with the untrained policy"
CLOSE = ["close the history", "close the pipeline", "close the validation pipeline"]


class Hands:
    """What the steps ask the controller's hands for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.compared = False

    def save_unscored(self) -> None:
        self.asked.append("save_unscored")

    def settle_at_last(self, *, keeps_own: bool) -> None:
        self.asked.append(keeps_own)

    def compare(self) -> None:
        self.compared = True

    def confirm(self) -> None:
        self.asked.append("confirm")


class Rig:
    def __init__(self, folder: Path, *, best: float | None = None, window_id: int = 3, **config: Any) -> None:
        self.agent, self.registry = NumpyAgent(), CheckpointRegistry(folder)
        self.pipeline, self.held_out = ScriptedPipeline([], self.agent), ScriptedPipeline([])
        self.agent.weight = best or 0.0
        saved = None if best is None else self.registry.save(self.agent, EvalMetrics(best))
        self.agent.weight = -1.0
        self.hands = Hands()
        parts = LoopParts(
            agent=self.agent,
            pipeline=self.pipeline,
            val_pipeline=self.held_out,
            evaluator=ScoreEvaluator(),
            optimizer=FixedOptimizer(),
            registry=self.registry,
            history=History(folder / "history.jsonl"),
        )
        self.run = new_run(parts, LoopConfig(**config), [], lambda: 0.0)
        self.run.change(window_id=window_id, best=saved)
        self.progress, self.slot = self.run.progress, self.run.slot

    def take(self) -> list[str]:
        validation, names = Validation(self.held_out, ScoreEvaluator()), []
        escaping = SimpleNamespace(close=lambda: self.hands.asked.append("end the escapes"))
        arguments: Any = (self.run, self.hands, self.hands, escaping, validation)
        for name, step in closing_steps(*arguments):
            names.append(name)
            step()
        self.registry.close()
        return names


def test_everything_is_closed_last(tmp_path: Path) -> None:
    rig = Rig(tmp_path, best=2.0)
    assert rig.take()[-3:] == CLOSE
    assert rig.pipeline.closed
    assert rig.held_out.closed


def test_the_agent_is_given_the_best_weights_unless_it_is_to_keep_its_own(tmp_path: Path) -> None:
    restored, own = Rig(tmp_path / "a", best=2.0), Rig(tmp_path / "b", best=2.0, restore_best=False)
    assert restored.take() == [COMPARE, "restore the best policy", *CLOSE]
    assert own.take() == [COMPARE, *CLOSE]
    assert (restored.agent.weight, own.agent.weight) == (2.0, -1.0)


def test_the_users_own_agent_is_given_them_whoever_learned_last(tmp_path: Path) -> None:
    rig, variant = Rig(tmp_path, best=2.0), NumpyAgent()
    rig.slot.install(variant)
    rig.take()
    assert (rig.agent.weight, variant.weight) == (2.0, 0.0)


def test_escapes_are_ended_once_the_best_is_settled_and_restored(tmp_path: Path) -> None:
    rig = Rig(tmp_path, best=2.0, final_evaluation=True)
    rig.progress.reason = StopReason.CONVERGED
    tried = EscapeRecord(name="entropy", began_window=1, began_step=10, began_evaluation=1, share=10, score_before=2.0)
    rig.run.change(escapes=(tried,))
    assert rig.take()[-5:] == ["restore the best policy", "end the escapes", *CLOSE]
    assert rig.hands.asked[-1] == "end the escapes"


@pytest.mark.parametrize(("window_id", "saves"), [(3, True), (-1, False)])
def test_without_a_best_what_was_trained_is_saved_and_nothing_that_was_not(
    tmp_path: Path, window_id: int, saves: bool
) -> None:
    rig = Rig(tmp_path, window_id=window_id)
    assert rig.take() == [*(["save the policy"] if saves else []), *CLOSE]
    assert rig.hands.asked == (["save_unscored"] if saves else [])


class TestFinalEvaluation:
    @pytest.mark.parametrize("reason", [None, *StopReason])
    def test_only_a_run_that_ends_by_itself_is_evaluated(self, tmp_path: Path, reason: StopReason | None) -> None:
        rig = Rig(tmp_path, best=2.0, final_evaluation=True)
        rig.progress.reason = reason
        is_final = reason is not None and reason.is_final and reason is not StopReason.TARGET  # that was tested
        is_cut_short = reason in (StopReason.INTERRUPTED, StopReason.STOPPED)
        steps = rig.take()
        assert ("evaluate the best policies" in steps) is is_final
        assert ("confirm the best policy" in steps) is is_cut_short
        assert ("confirm" in rig.hands.asked) is is_cut_short

    def test_it_comes_before_the_best_is_restored(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, best=2.0, final_evaluation=True)
        rig.progress.reason = StopReason.CONVERGED
        assert rig.take() == ["evaluate the best policies", COMPARE, "restore the best policy", *CLOSE]

    @pytest.mark.parametrize("reason", [None, *StopReason])
    def test_the_best_is_compared_with_the_untrained_policy_unless_an_error_ended_the_run(
        self, tmp_path: Path, reason: StopReason | None
    ) -> None:
        rig = Rig(tmp_path, best=2.0)
        rig.progress.reason = reason
        assert (COMPARE in rig.take()) is rig.hands.compared is (reason is not StopReason.ERROR)

    @pytest.mark.parametrize(
        ("restores", "is_variant", "keeps"), [(True, False, False), (False, False, True), (True, True, True)]
    )
    def test_an_agent_that_is_not_given_the_best_gets_its_own_weights_back(
        self, tmp_path: Path, restores: bool, is_variant: bool, keeps: bool
    ) -> None:
        rig = Rig(tmp_path, best=2.0, final_evaluation=True, restore_best=restores)
        rig.progress.reason = StopReason.CONVERGED
        if is_variant:
            rig.slot.install(NumpyAgent())
        rig.take()
        assert rig.hands.asked == [keeps]


def test_the_best_is_the_one_of_when_its_step_is_taken(tmp_path: Path) -> None:
    rig = Rig(tmp_path, best=2.0, final_evaluation=True)
    rig.progress.reason = StopReason.CONVERGED
    rig.agent.weight = 5.0
    better = rig.registry.save(rig.agent, EvalMetrics(5.0))

    def settle_at_last(*, keeps_own: bool) -> None:
        rig.run.change(best=better)

    rig.hands.settle_at_last = settle_at_last  # type: ignore[method-assign]
    rig.take()
    assert rig.agent.weight == 5.0
