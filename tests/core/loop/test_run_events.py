"""What a turn tells, drawn from two states and an outcome."""

from dataclasses import replace
from typing import Any

from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.decisions.trend import Verdict
from tensor_optix.core.loop.learning import DIVERGENCE, Fault
from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.loop.run_events import events_of
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.selection import Retest
from tensor_optix.core.types import EvalMetrics, HyperparamSet, LoopState, PlayedWindow, PolicySnapshot

BEST = PolicySnapshot(
    snapshot_id="000001",
    sequence=1,
    window_id=3,
    eval_metrics=EvalMetrics(2.5),
    hyperparams=HyperparamSet({}),
    created_at="",
)
BEFORE = RunState(position=BackoffScheduler().initial())
OURS = PlayedWindow(seeds=(1, 2), returns=(3.0, 5.0), score=4.0)
THEIRS = PlayedWindow(seeds=(1, 2), returns=(2.0, 2.0), score=2.0)


def outcome(score: float | None = 4.0, **more: Any) -> Outcome:
    metrics = None if score is None else EvalMetrics(score)
    return Outcome(hyperparams=HyperparamSet({}), metrics=metrics, **more)


def told(before: RunState, after: RunState, found: Outcome) -> dict[str, dict[str, Any]]:
    return dict(events_of(before, after, found))


def test_a_window_that_decides_nothing_tells_nothing() -> None:
    assert told(BEFORE, BEFORE, outcome(None)) == {}
    assert told(BEFORE, BEFORE, outcome()) == {}


def test_a_fault_is_told_and_nothing_else() -> None:
    after = replace(BEFORE, verdict=Verdict.DEGRADED)
    assert told(BEFORE, after, outcome(fault=Fault(DIVERGENCE, "loss is NaN"))) == {
        "fault": {"fault": DIVERGENCE, "text": "loss is NaN"}
    }


def test_the_first_candidate_is_tested_against_nobody() -> None:
    test = told(BEFORE, BEFORE, outcome(evidence=(OURS,), is_best=True))["test"]
    assert (test["against"], test["incumbent_returns"], test["incumbent_score"]) == (None, [], None)
    assert (test["seeds"], test["returns"], test["outcome"]) == ([1, 2], [3.0, 5.0], "crowned")


def test_a_test_names_both_sides_on_the_same_seeds() -> None:
    before = replace(BEFORE, best=BEST)
    shown = Retest(EvalMetrics(2.2), (THEIRS,), 9, (THEIRS,))
    test = told(before, before, outcome(evidence=(OURS,), incumbent=shown))["test"]
    assert before.best is not None
    assert test["against"] == before.best.snapshot_id
    assert (test["returns"], test["incumbent_returns"], test["incumbent_score"]) == ([3.0, 5.0], [2.0, 2.0], 2.2)
    assert test["outcome"] == "refused"


def test_an_incumbent_that_is_tested_alone_is_a_retest() -> None:
    before = replace(BEFORE, best=BEST)
    shown = Retest(EvalMetrics(2.2), (THEIRS,), 9, (THEIRS,))
    found = told(before, before, outcome(incumbent=shown))
    assert found.keys() == {"retest"}
    assert (found["retest"]["seeds"], found["retest"]["incumbent_returns"]) == ([1, 2], [2.0, 2.0])


def test_states_degradations_and_what_happened_on_watch_are_told() -> None:
    cooling = replace(BEFORE.position, state=LoopState.COOLING, no_improvement=5)
    assert told(BEFORE, replace(BEFORE, position=cooling), outcome())["state"] == {
        "before": "active",
        "after": "cooling",
        "evaluations_without_rise": 5,
    }
    before = replace(BEFORE, best=BEST)
    fallen = told(before, replace(before, verdict=Verdict.DEGRADED), outcome())
    assert fallen["degradation"] == {"score": 4.0, "best_score": 2.5}
    assert told(BEFORE, replace(BEFORE, event="escape entropy: begun"), outcome())["escape"] == {
        "text": "escape entropy: begun"
    }
    watching = replace(BEFORE, position=replace(BEFORE.position, state=LoopState.WATCHDOG))
    assert told(watching, replace(watching, event="drift"), outcome())["watch"] == {"text": "drift"}
