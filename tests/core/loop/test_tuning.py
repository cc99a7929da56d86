import json
import math
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.loop.learner import learner_slot
from tensor_optix.core.loop.tuning import Tuner, TuningRecord, TuningStep, TuningTrial
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.errors import HyperparamError
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer
from tensor_optix.optimizers.pbt_optimizer import PBTOptimizer
from tests.fakes.loops import LoopRig
from tests.helpers import NumpyAgent


def metrics(score: float, std_err: float = 0.5) -> EvalMetrics:
    return EvalMetrics(score, {"score_std_err": std_err})


class Tuning:
    """A tuner, and the trial that the run's state would hold."""

    def __init__(self, agent: NumpyAgent, optimizer: BaseOptimizer) -> None:
        self.tuner = Tuner(learner_slot(agent), optimizer)
        self.trial: TuningTrial | None = None

    def step(self, metrics: EvalMetrics, window: int) -> TuningStep:
        step = self.tuner.step(self.trial, metrics, window)
        self.trial = step.trial
        return step


def tuner(agent: NumpyAgent) -> Tuning:
    return Tuning(agent, BackoffOptimizer({"learning_rate": (0.0, 1.0)}))


def test_a_probe_and_its_commit_are_one_record_each() -> None:
    agent = NumpyAgent(learning_rate=0.1)
    tuning = tuner(agent)
    (probe,) = tuning.step(metrics(5.0), 1).records
    assert (probe.kind, probe.name, probe.before) == ("probe", "learning_rate", 0.1)
    assert probe.requested == probe.effective == pytest.approx(0.11)
    assert (probe.score_before, probe.score_before_std_err, probe.decision) == (5.0, 0.5, "trial")
    assert math.isnan(probe.score_after)
    (commit,) = tuning.step(metrics(1.0, 0.25), 2).records
    assert (commit.kind, commit.before, commit.decision) == ("commit", 0.1, "reversed")
    assert commit.requested == commit.effective == pytest.approx(0.09)
    assert (commit.score_before, commit.score_before_std_err) == (5.0, 0.5)
    assert (commit.score_after, commit.score_after_std_err) == (1.0, 0.25)


def test_a_trial_that_is_kept_is_a_record_though_nothing_changes() -> None:
    tuning = tuner(NumpyAgent(learning_rate=0.1))
    tuning.step(metrics(5.0), 1)
    step = tuning.step(metrics(9.0), 2)
    assert [(record.kind, record.decision) for record in step.records] == [("commit", "kept")]
    assert step.new.params == step.old.params


def test_what_moves_without_a_trial_is_a_change() -> None:
    agent = NumpyAgent(learning_rate=0.1)
    step = Tuning(agent, PBTOptimizer({"learning_rate": (0.01, 1.0)}, seed=0)).step(metrics(5.0), 1)
    (change,) = step.records
    assert (change.kind, change.before, change.requested) == ("change", 0.1, agent.params["learning_rate"])


def test_nothing_to_do_is_no_record() -> None:
    assert Tuning(NumpyAgent(), BackoffOptimizer({})).step(metrics(1.0), 1).records == ()


class Deaf(NumpyAgent):
    def set_hyperparams(self, hp: HyperparamSet) -> None:
        pass


class Stuck(NumpyAgent):
    """Says that it has taken the value, and its optimizer has not."""

    def effective_hyperparams(self) -> dict[str, float]:
        return {"learning_rate": 0.1}


class Rounding(NumpyAgent):
    def effective_hyperparams(self) -> dict[str, Any]:
        import numpy as np

        return {"learning_rate": float(np.float32(self.params["learning_rate"]))}


@pytest.mark.parametrize("agent", [Deaf(), Stuck()], ids=["deaf", "stuck"])
def test_a_value_that_is_not_in_force_is_an_error(agent: NumpyAgent) -> None:
    with pytest.raises(HyperparamError, match=r"'learning_rate' was set to 0\.11.* works with 0\.1\."):
        tuner(agent).step(metrics(5.0), 1)


def test_the_effective_value_is_the_one_read_back_from_where_it_is_used() -> None:
    (probe,) = tuner(Rounding()).step(metrics(5.0), 1).records
    assert probe.effective != probe.requested
    assert probe.effective == pytest.approx(probe.requested, rel=1e-6)


def test_a_record_round_trips_through_json() -> None:
    (probe,) = tuner(NumpyAgent()).step(metrics(5.0, math.nan), 1).records
    again = TuningRecord.from_dict(json.loads(json.dumps(probe.to_dict(), allow_nan=False)))
    assert repr(again) == repr(probe)


def test_a_trial_of_two_evaluations_has_one_commit_at_its_end() -> None:
    class Patient(BackoffOptimizer):
        def __init__(self) -> None:
            super().__init__({"learning_rate": (0.0, 1.0)})
            self.asked = 0

        def suggest(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
            self.asked += 1
            return hyperparams if self.asked == 2 else super().suggest(hyperparams, metrics)

    tuning = Tuning(NumpyAgent(learning_rate=0.1), Patient())
    steps = [tuning.step(metrics(score), window) for window, score in enumerate((5.0, 5.0, 9.0), 1)]
    assert [[record.kind for record in step.records] for step in steps] == [["probe"], [], ["commit"]]


class OfHistory(BaseOptimizer):
    """An optimizer that takes the history of evaluations, by the name of its second argument."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    def suggest(self, current: HyperparamSet, metrics_history: list[EvalMetrics]) -> HyperparamSet:  # type: ignore[override]
        assert isinstance(metrics_history, list)
        self.seen.append([metrics.primary_score for metrics in metrics_history])
        return current


def test_an_optimizer_that_takes_a_history_is_given_the_newest_evaluations(tmp_path: Path) -> None:
    optimizer = OfHistory()
    LoopRig(tmp_path, [1.0, 2.0, None, 4.0], optimizer=optimizer).run()  # type: ignore[arg-type]
    assert optimizer.seen == [[1.0], [1.0, 2.0], [1.0, 2.0, 4.0]]
