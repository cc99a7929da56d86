"""The state of a run: what follows from it, and that it is saved and restored as a whole."""

import json
import math
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from tensor_optix.core.backoff_scheduler import BackoffScheduler, SchedulerState
from tensor_optix.core.decisions.escape_records import EscapeOutcome, EscapeRecord
from tensor_optix.core.decisions.paired_trial import Trial
from tensor_optix.core.decisions.reserve import Reserved
from tensor_optix.core.decisions.score_curve import ScoreCurve
from tensor_optix.core.decisions.trend import MOST_EVALUATIONS, Verdict
from tensor_optix.core.decisions.validation_budget import ValidationSpent
from tensor_optix.core.loop.run_state import FIRST_EVALUATIONS, RunState, WatchState, saved_form
from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.types import EvalMetrics, HyperparamSet, LoopState, PlayedWindow, PolicySnapshot
from tensor_optix.errors import CheckpointCorruptError
from tests.fakes.histories import record

FIRST = BackoffScheduler().initial()


def snapshot(score: float, **more: Any) -> PolicySnapshot:
    return PolicySnapshot(
        snapshot_id="000003",
        sequence=3,
        window_id=5,
        eval_metrics=EvalMetrics(score, {"score_std_err": 0.5}, 5),
        hyperparams=HyperparamSet({"learning_rate": 0.1}, 4),
        created_at="2026-01-01T00:00:00",
        **more,
    )


def escape(**more: Any) -> EscapeRecord:
    values: dict[str, Any] = {
        "name": "entropy",
        "began_window": 8,
        "began_step": 800,
        "began_evaluation": 1,
        "share": 400,
        "score_before": 1.5,
        "changes": {"entropy_coef": (0.01, 0.05)},
    }
    return EscapeRecord(**(values | more))


def full() -> RunState:
    """A state in which no field has its default."""
    return RunState(
        position=SchedulerState(LoopState.WATCHDOG, 4, 2),
        window_id=9,
        next_evaluation=12,
        env_steps=1000,
        episodes=30,
        curve=ScoreCurve().added(100, 1.0, 0.5, 3).added(200, 2.0, episodes=6),
        steps_before=700,
        validation=ValidationSpent(steps=400, newest=50, put_off=3, cut=1, is_slow=True),
        longest_episode=90,
        pending=EvalMetrics(1.5, {"mean_return": 1.5}, 9),
        episodes_before=20,
        test_steps=200,
        evaluations=7,
        era_began=3,
        has_drifted=True,
        cut_at=200,
        learner_since=2,
        without_evidence=1,
        best_tested_in=3,
        reserve=(Reserved(snapshot_id="000002", steps=400, scores=(1.0, 2.5), later=1),),
        best=snapshot(2.0, evidence=(PlayedWindow(seeds=(1, 2), returns=(1.0, 3.0), score=2.0),), era=1),
        ended=StopReason.CONVERGED,
        last_good=HyperparamSet({"learning_rate": 0.2, "activation": "tanh"}, 8),
        watch=WatchState(
            champion=snapshot(2.0),
            challenger=snapshot(1.0),
            trial=Trial((1.0,), (2.0,)),
            first_of_pair=0.5,
            newest=(4.0,),
        ),
        verdict=Verdict.IMPROVED,
        event="drift",
        escapes=(escape(began_window=2, outcome=EscapeOutcome.KEPT, steps=80, last_window=4, score=2.0), escape()),
        used_up="quiet for 20 of 20 evaluations",
        is_flat_start=False,
        start=(PlayedWindow(seeds=(7, 8), returns=(0.0, 1.0), score=0.5),),
        first=EvalMetrics(0.5, {"score_std_err": 0.5}),
    )


def through_json(state: RunState, *history: Any) -> RunState:
    return RunState.from_dict(json.loads(json.dumps(state.to_dict(), allow_nan=False)), history)


def test_a_window_that_was_collected_is_counted_with_its_steps_and_nothing_else_changes() -> None:
    state = full()
    assert state.collected(32) == replace(state, window_id=10, env_steps=1032)
    assert state.collected(32, 2) == replace(state, window_id=10, env_steps=1032, episodes=32)
    assert RunState(position=FIRST).collected(0).window_id == 0


def test_a_score_is_on_the_curve_at_the_learners_own_steps_and_episodes() -> None:
    state = full().scored(EvalMetrics(3.0, {"score_std_err": 0.1}))
    assert (state.curve.evaluations, state.curve.steps, state.curve.episodes) == (3, 300, 10)
    renewed = state.with_new_curve()
    assert (renewed.curve, renewed.steps_before, renewed.episodes_before) == (ScoreCurve(), 1000, 30)
    assert state.steps_per_window == 100


def test_the_start_is_what_the_untrained_policy_played_or_else_the_first_evaluation_with_a_known_error() -> None:
    known, unknown = EvalMetrics(3.0, {"score_std_err": 0.1}), EvalMetrics(2.0, {"score_std_err": math.nan})
    state = RunState(position=FIRST).scored(unknown)
    assert (state.first, state.start_score) == (None, None)
    state = replace(state, recent=(unknown,)).scored(known)
    assert (state.first, state.start_score) == (known, 3.0)
    assert replace(state, recent=(unknown, known)).scored(EvalMetrics(9.0, {"score_std_err": 0.1})).first == known
    assert RunState(position=FIRST, recent=(unknown,) * FIRST_EVALUATIONS).scored(known).first is None
    assert RunState(position=FIRST, era_began=3).scored(known).first is None
    assert full().start_score == 0.5


def test_a_changed_state_is_what_the_standard_library_makes_of_it_and_the_old_one_stays() -> None:
    before = full()
    copy = replace(before)
    assert before.changed(window_id=99, event="drift") == replace(before, window_id=99, event="drift")
    assert before == copy
    with pytest.raises(TypeError, match="no window"):
        before.changed(window=3)


def test_longer_episodes_begin_an_era_and_the_curve_goes_on() -> None:
    state = replace(full(), recent=(EvalMetrics(2.0),), has_drifted=False)
    longer = state.with_longer_episodes(-17.0)
    assert longer.curve == state.curve.moved(-17.0)
    assert longer.first is not None
    assert longer.first.primary_score == 0.5 - 17.0
    assert (longer.recent, longer.reserve, longer.era_began, longer.cut_at) == ((), (), 9, 0)
    assert (longer.has_drifted, longer.steps_before, longer.escapes) == (False, 700, state.escapes)
    lower = replace(state, first=EvalMetrics(0.5, lower_is_better=True)).with_longer_episodes(-17.0)
    assert lower.first is not None
    assert lower.first.primary_score == 17.5


@pytest.mark.parametrize(
    ("cut_at", "best_cut_at", "limit", "was"),
    [(0, None, 400, False), (200, None, 400, True), (400, 400, 400, False), (0, 200, 400, True), (400, 200, 400, True)],
)
def test_episodes_were_cut_before_where_those_of_the_scores_or_of_the_best_were(
    cut_at: int, best_cut_at: int | None, limit: int, was: bool
) -> None:
    played = PlayedWindow(seeds=(1,), returns=(1.0,), score=1.0, episode_limit=best_cut_at)
    state = replace(full(), cut_at=cut_at, best=snapshot(1.0, evidence=(played,)))
    assert state.was_cut_before(limit) is was
    assert replace(state, best=None).was_cut_before(limit) is (0 < cut_at < limit)


@pytest.mark.parametrize(("window_id", "is_due"), [(11, False), (12, True), (13, True)])
def test_an_evaluation_is_due_from_its_window_on(window_id: int, is_due: bool) -> None:
    assert replace(full(), window_id=window_id).is_due is is_due


def test_the_scores_of_an_escape_are_compared_with_each_other() -> None:
    evaluations = tuple(EvalMetrics(float(n)) for n in range(4))
    state = replace(full(), recent=evaluations)
    assert state.escape == state.escapes[-1]
    assert state.compared == evaluations[-1:]  # one on the curve before it, two by now
    assert state.scored(EvalMetrics(3.0)).compared == evaluations[-2:]
    begun = replace(state, escapes=(escape(began_evaluation=2),))
    assert begun.compared == ()
    none = replace(state, escapes=state.escapes[:1])
    assert (none.escape, none.compared) == (None, evaluations)


@pytest.mark.parametrize("loop_state", LoopState)
def test_a_policy_is_watched_in_the_state_of_the_watch_alone(loop_state: LoopState) -> None:
    state = RunState(position=SchedulerState(loop_state, 1, 0))
    assert state.is_on_watch is (loop_state is LoopState.WATCHDOG)


def test_there_is_no_best_score_before_there_is_a_best() -> None:
    assert RunState(position=FIRST).best_score is None
    assert full().best_score == 2.0


def test_every_field_is_saved_and_comes_back() -> None:
    state = full()
    defaults = RunState(position=FIRST)
    unset = [f.name for f in fields(state) if getattr(state, f.name) == getattr(defaults, f.name)]
    assert unset == [
        "trial",
        "recent",
        "metrics",
    ]  # a trial is saved by the tests of tuning; the rest is in the history
    assert through_json(state) == state


def test_the_first_state_comes_back() -> None:
    assert through_json(RunState(position=FIRST)) == RunState(position=FIRST)


def test_evaluations_are_those_of_the_history_with_evidence_and_of_the_present_era() -> None:
    history = [
        record(1, eval_metrics=EvalMetrics(1.0, {}, 1)),
        record(3, eval_metrics=EvalMetrics(3.0, {}, 3)),
        record(4, eval_metrics=EvalMetrics(math.nan, {}, 4), verdict="no_evidence"),
        record(5, eval_metrics=EvalMetrics(5.0, {}, 5)),
    ]
    state = through_json(full(), *history)
    assert [metrics.primary_score for metrics in state.recent] == [3.0, 5.0]
    assert state.metrics == EvalMetrics(5.0, {}, 5)


def test_the_last_score_is_known_though_its_era_is_over() -> None:
    state = through_json(replace(full(), era_began=9), record(5, eval_metrics=EvalMetrics(5.0, {}, 5)))
    assert state.recent == ()
    assert state.metrics is not None
    assert state.metrics.primary_score == 5.0


def test_no_more_evaluations_than_decisions_look_at_are_remembered() -> None:
    records = [record(n, eval_metrics=EvalMetrics(float(n), {}, n)) for n in range(3, MOST_EVALUATIONS + 10)]
    state = through_json(full(), *records)
    assert len(state.recent) == MOST_EVALUATIONS
    assert state.recent[-1].primary_score == MOST_EVALUATIONS + 9


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"window_id": "nine"}, "window_id"),
        ({"position": None}, "position"),
        ({"verdict": "excellent"}, "verdict"),
        ({"ended": "tired"}, "ended"),
        ({"unheard": 1}, "unheard"),
        ({"watch": {"champion": "000003"}}, "champion"),
    ],
)
def test_a_field_that_is_not_what_was_saved_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(CheckpointCorruptError, match=named):
        RunState.from_dict({**full().to_dict(), **change}, ())


def test_a_position_that_is_missing_is_named_and_any_other_field_is_what_it_was_at_first() -> None:
    saved = full().to_dict()
    del saved["test_steps"]
    assert RunState.from_dict(saved, ()) == replace(full(), test_steps=0)
    del saved["position"]
    with pytest.raises(CheckpointCorruptError, match="position"):
        RunState.from_dict(saved, ())


def test_nobody_changes_a_state() -> None:
    state = full()
    with pytest.raises(FrozenInstanceError):
        state.window_id = 1  # type: ignore[misc]


def test_values_are_plain_whatever_holds_them() -> None:
    assert saved_form(Trial((1.0,), (2.0,))) == {
        f.name: saved_form(getattr(Trial((1.0,), (2.0,)), f.name)) for f in fields(Trial)
    }
    assert saved_form((StopReason.BUDGET, LoopState.ACTIVE)) == ["budget", LoopState.ACTIVE.value]
    assert saved_form(EvalMetrics(math.nan)) == EvalMetrics(math.nan).to_dict()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("window_id", -2),
        ("env_steps", -1),
        ("episodes", -1),
        ("test_steps", -1),
        ("position.no_improvement", -1),
        ("position.interval", -5),
        ("validation.steps", -(10**9)),
        ("next_evaluation", -1),
        ("steps_before", 1001),
        ("episodes_before", 31),
        ("curve.steps", 1001),
        ("era_began", 11),
        ("learner_since", 11),
    ],
)
def test_a_count_that_no_run_can_have_is_refused_by_its_field(path: str, value: int) -> None:
    saved = json.loads(json.dumps(full().to_dict()))
    RunState.from_dict(saved, [])
    holder, (*parents, last) = saved, path.split(".")
    for name in parents:
        holder = holder[name]
    holder[last] = value
    with pytest.raises(CheckpointCorruptError, match=r"count|more than the run has"):
        RunState.from_dict(saved, [])
