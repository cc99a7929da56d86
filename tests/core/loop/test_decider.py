"""The table of `decide`, row by row."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.backoff_scheduler import BackoffScheduler, Effect, SchedulerState
from tensor_optix.core.decisions.paired_trial import Trial
from tensor_optix.core.decisions.patience import Patience
from tensor_optix.core.decisions.patience_verdict import Phase
from tensor_optix.core.decisions.score_curve import ScoreCurve
from tensor_optix.core.decisions.trend import Verdict
from tensor_optix.core.decisions.validation_budget import ValidationSpent
from tensor_optix.core.loop.decider import (
    DEGRADATION_EVENT,
    DRIFT_EVENT,
    LONGER_EVENT,
    Act,
    decide,
    patience_with,
    waits_for_evaluation,
)
from tensor_optix.core.loop.learning import WINDOW, Fault
from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.run_state import RunState, WatchState
from tensor_optix.core.loop.selection import Retest
from tensor_optix.core.loop.simulation import simulate
from tensor_optix.core.types import EvalMetrics, HyperparamSet, LoopState, PlayedWindow, PolicySnapshot

CONFIG = LoopConfig(scheduler=BackoffScheduler(plateau_threshold=2, dormant_threshold=4, max_interval=8))
VALUES = HyperparamSet({"learning_rate": 0.1})


def snapshot(score: float) -> PolicySnapshot:
    return PolicySnapshot(
        snapshot_id="000000",
        sequence=0,
        window_id=0,
        eval_metrics=EvalMetrics(score),
        hyperparams=VALUES,
        created_at="2026-01-01T00:00:00",
    )


def state_with(*scores: float, loop_state: LoopState = LoopState.ACTIVE, **more: Any) -> RunState:
    recent = tuple(EvalMetrics(score, {"score_std_err": 0.1}, window) for window, score in enumerate(scores))
    best = snapshot(max(scores)) if scores else None
    return RunState(
        position=SchedulerState(loop_state, 1, 0), window_id=len(scores), recent=recent, **{"best": best, **more}
    )


def outcome_of(score: float, **more: Any) -> Outcome:
    return Outcome(hyperparams=VALUES, metrics=EvalMetrics(score, {"score_std_err": 0.1}), **more)


def test_a_fault_changes_nothing_but_is_handled() -> None:
    state = state_with(1.0, 2.0)
    assert decide(state, Outcome(hyperparams=VALUES, fault=Fault(WINDOW, "NaN")), CONFIG) == (state, (Act.FAULT,))


@pytest.mark.parametrize("is_tested", [False, True])
def test_longer_episodes_begin_an_era_before_anything_is_compared(is_tested: bool) -> None:
    state = state_with(-4.0, -3.9, -4.1, cut_at=200, env_steps=300)
    state = replace(state, curve=ScoreCurve().added(100, -4.0).added(200, -3.9))
    shown = Retest(EvalMetrics(-21.0, {"score_std_err": 0.1}), (), 10) if is_tested else None
    outcome = outcome_of(-20.0, gain_of_length=-16.0, cut_at=400, incumbent=shown, is_best=True)
    after, acts = decide(state, outcome, CONFIG)
    assert acts[: 1 + is_tested] == (Act.BEGIN_ERA, Act.RESCORE)[: 1 + is_tested]
    assert Effect.CHECKPOINT in acts
    assert (after.verdict, after.event) == (Verdict.IMPROVED, LONGER_EVENT)
    assert (after.cut_at, after.era_began, len(after.recent)) == (400, after.window_id, 1)
    assert after.curve.bins().scores.tolist() == [-20.0, -19.9, -20.0]


def test_where_episodes_of_a_test_were_cut_is_remembered() -> None:
    state = state_with(1.0, 2.0, cut_at=200)
    assert decide(state, outcome_of(3.0), CONFIG)[0].cut_at == 200
    assert decide(replace(state, cut_at=0), outcome_of(3.0, cut_at=400), CONFIG)[0].cut_at == 400


def test_a_window_that_is_not_evaluated_only_leaves_its_values() -> None:
    state = state_with(1.0, 2.0)
    after, effects = decide(state, Outcome(hyperparams=VALUES), CONFIG)
    assert (after, effects) == (replace(state, last_good=VALUES), ())


@pytest.mark.parametrize(
    ("score", "since", "is_scaled", "waits"),
    [
        (480.0, 4, True, True),
        (480.0, 3, True, False),  # no more are put off than the patience counts
        (470.0, 4, True, False),  # it may still rise
        (480.0, 4, False, False),
    ],
)
def test_once_the_target_is_reached_the_end_waits_for_evaluations(
    score: float, since: int, is_scaled: bool, waits: bool
) -> None:
    config = LoopConfig(patience=Patience(reward_threshold=475.0, is_scaled=is_scaled))
    state = replace(state_with(score), metrics=EvalMetrics(score, {}, 10), window_id=10 + since, best=snapshot(score))
    assert waits_for_evaluation(state, config) is waits


@pytest.mark.parametrize("metrics", [EvalMetrics(math.nan), EvalMetrics(1.0, has_evidence=False)])
def test_without_a_usable_score_the_next_window_is_due_and_nothing_moves(metrics: EvalMetrics) -> None:
    state = state_with(1.0, 2.0)
    after, effects = decide(state, Outcome(hyperparams=VALUES, metrics=metrics), CONFIG)
    assert effects == (Act.MISSING,)
    assert (after.position, after.recent, after.best) == (state.position, state.recent, state.best)
    assert (after.without_evidence, after.next_evaluation, after.evaluations) == (1, state.window_id + 1, 1)


def test_a_rise_makes_it_active_and_is_tuned() -> None:
    after, effects = decide(state_with(1.0, 2.0), outcome_of(9.0, is_best=True), CONFIG)
    assert effects == (Effect.CHECKPOINT, Act.TUNE)
    assert (after.verdict, after.position.state, after.position.no_improvement) == (
        Verdict.IMPROVED,
        LoopState.ACTIVE,
        0,
    )
    assert after.recent[-1].primary_score == 9.0
    assert after.without_evidence == 0


def test_a_plateau_cools_and_the_last_of_the_patience_ends_the_learner() -> None:
    state = state_with(*[2.0] * 6)
    seen = []
    for _ in range(4):
        state, effects = decide(state.collected(10), outcome_of(2.0), CONFIG)
        seen.append((state.position.state, effects))
    assert [position for position, _ in seen] == [
        LoopState.ACTIVE,
        LoopState.COOLING,
        LoopState.COOLING,
        LoopState.DORMANT,
    ]
    assert seen[1][1] == (Effect.PLATEAU, Act.TUNE)
    assert seen[3][1] == (Effect.DORMANT, Act.TUNE)
    assert state.env_steps == 40


def test_a_flat_start_is_judged_as_any_other_and_is_not_tuned_until_two_episodes_differ() -> None:
    state = RunState(position=CONFIG.scheduler.initial())
    flat = Outcome(hyperparams=VALUES, metrics=EvalMetrics(0.0, {"score_std_err": 0.0}))
    for count in range(3):
        state, effects = decide(state.collected(10), flat, CONFIG)
        assert Act.TUNE not in effects
        assert (state.position.no_improvement, state.is_flat_start) == (count, True)
        state = replace(state, best=snapshot(0.0))
    found = EvalMetrics(0.2, {"score_std_err": 0.2})
    state, effects = decide(state.collected(10), Outcome(hyperparams=VALUES, metrics=found), CONFIG)
    assert (Act.TUNE in effects, state.is_flat_start) == (True, False)
    for _ in range(9):
        state, effects = decide(state.collected(10), flat, CONFIG)
        assert (Act.TUNE in effects, state.is_flat_start) == (True, False)


def test_what_the_incumbent_has_shown_is_saved_first_and_counts() -> None:
    state = state_with(*[5.0] * 12, best=snapshot(100.0))
    shown = Retest(EvalMetrics(5.0, {"score_std_err": 0.1}), (), 7)
    after, effects = decide(state, outcome_of(5.0, incumbent=shown, test_steps=20), CONFIG)
    assert effects[0] is Act.RESCORE
    assert after.best_tested_in == after.window_id
    assert after.verdict is Verdict.FLAT  # against 100 it would be a degradation
    assert after.test_steps == 20
    assert decide(state, outcome_of(5.0), CONFIG)[0].verdict is Verdict.DEGRADED


class TestOnWatch:
    CHAMPION = WatchState(champion=snapshot(10.0), newest=(10.0, 10.0))

    def state(self, **more: Any) -> RunState:
        return state_with(*[10.0] * 12, loop_state=LoopState.WATCHDOG, watch=self.CHAMPION, **more)

    def test_a_drift_begins_an_era(self) -> None:
        drift = outcome_of(2.0, event=DRIFT_EVENT, watch=self.CHAMPION)
        after, effects = decide(self.state(), drift, CONFIG)
        assert effects == (Act.WAKE, Effect.DEGRADATION, Act.TUNE)
        assert (after.position.state, after.event) == (LoopState.ACTIVE, DRIFT_EVENT)
        assert [metrics.primary_score for metrics in after.recent] == [2.0]
        assert (after.era_began, after.watch.newest, after.last_good) == (after.window_id, (), None)

    def test_a_validated_degradation_wakes_and_a_single_window_does_not(self) -> None:
        after, effects = decide(self.state(), outcome_of(2.0, is_validated=True), CONFIG)
        assert (effects[0], after.event) == (Act.WAKE, DEGRADATION_EVENT)
        after, effects = decide(self.state(), outcome_of(2.0), CONFIG)
        assert (effects, after.position.state) == ((Act.TUNE,), LoopState.WATCHDOG)

    def test_what_does_not_learn_does_not_improve(self) -> None:
        after, _ = decide(self.state(), outcome_of(99.0, is_validated=True), CONFIG)
        assert (after.verdict, after.position.state) == (Verdict.FLAT, LoopState.WATCHDOG)

    @pytest.mark.parametrize("score", [10.0, math.nan])
    def test_the_end_of_a_trial_is_settled(self, score: float) -> None:
        watch = replace(self.CHAMPION, challenger=snapshot(11.0), trial=Trial((1.0,), (2.0,)))
        ended = outcome_of(score, event="promoted: all", is_promoted=True, watch=watch)
        after, effects = decide(self.state(), ended, CONFIG)
        assert effects[0] is Act.SETTLE
        assert (after.watch, after.event) == (watch, "promoted: all")


def test_the_state_is_saved_and_restored_as_a_whole() -> None:
    state = state_with(1.0, 2.0, watch=WatchState(champion=snapshot(3.0), trial=Trial((1.0,), (2.0,)), newest=(4.0,)))
    state, _ = decide(state, outcome_of(9.0), CONFIG)
    again = RunState.from_dict(state.to_dict(), ())
    assert again == replace(state, recent=(), metrics=None)


def test_a_window_whose_validation_was_broken_off_is_still_to_be_decided_on() -> None:
    state, pending = state_with(1.0, 2.0), EvalMetrics(3.0)
    after, effects = decide(state, Outcome(hyperparams=VALUES, pending=pending), CONFIG)
    assert effects == ()
    assert after == replace(state, pending=pending, last_good=VALUES)
    done, _ = decide(after, outcome_of(3.0), CONFIG)
    assert done.pending is None


@pytest.mark.parametrize(("put_off", "asked"), [(0, 20), (1, 5)])
def test_evaluations_that_were_put_off_count_in_the_patience(put_off: int, asked: int) -> None:
    state = RunState(position=CONFIG.scheduler.initial(), validation=ValidationSpent(put_off=put_off))
    for window in range(40):
        state = state.collected(100)
        if window % 4 == 0:
            state = state.scored(EvalMetrics(1.0, {"score_std_err": 0.0}, window))
    assert patience_with(state, LoopConfig(patience=Patience())).allowed_evaluations == asked
    assert patience_with(state, LoopConfig()).allowed_evaluations == 20


class TestScaledPatience:
    CONFIG = LoopConfig(scheduler=CONFIG.scheduler, patience=Patience())

    def after(
        self, scores: list[float], config: LoopConfig, begin: RunState | None = None, episodes: int = 2
    ) -> list[RunState]:
        states = [begin or RunState(position=config.scheduler.initial())]
        for score in scores:
            state = states[-1].collected(100, episodes)
            if not state.is_due:
                states.append(state)
                continue
            state, effects = decide(state, outcome_of(score), config)
            best = max([score, *([] if state.best_score is None else [state.best_score])])
            states.append(replace(state, best=snapshot(best)))
            if Effect.DORMANT in effects:
                break
        return states[1:]

    RISE = [float(n) for n in range(100)]

    def test_where_the_curve_has_just_risen_the_threshold_is_only_a_floor(self) -> None:
        scores = [*self.RISE, *[99.0] * 900]
        scaled, plain = (self.after(scores, config, episodes=0) for config in (self.CONFIG, CONFIG))
        assert (plain[-1].position.state, scaled[-1].position.state) == (LoopState.DORMANT, LoopState.DORMANT)
        assert plain[-1].window_id < 130
        assert 100 * 4.3 < scaled[-1].window_id < 100 * 4.7
        assert scaled[-1].position.no_improvement > self.CONFIG.scheduler.dormant_threshold
        assert all(state.position.state is LoopState.COOLING for state in scaled[110:-1])

    def test_the_interval_never_passes_the_end_of_the_patience_by_more_than_the_base(self) -> None:
        scores = [*self.RISE, *[99.0] * 900]
        stops = []
        for most in (1, 8, 1000):
            scheduler = replace(CONFIG.scheduler, max_interval=most)
            stops.append(self.after(scores, replace(self.CONFIG, scheduler=scheduler))[-1].window_id)
        assert max(stops) - min(stops) <= 0.03 * max(stops)

    def test_the_interval_of_the_user_is_the_least(self) -> None:
        scheduler = replace(CONFIG.scheduler, base_interval=5, max_interval=10)
        states = self.after([*self.RISE, *[99.0] * 900], replace(self.CONFIG, scheduler=scheduler))
        assert min(state.position.interval for state in states) == 5

    def test_a_known_target_that_is_reached_ends_it_sooner(self) -> None:
        config = replace(self.CONFIG, patience=Patience(reward_threshold=90.0))
        assert self.after([*self.RISE, *[99.0] * 900], config)[-1].window_id < 220

    @pytest.mark.parametrize("dips", [(), (120,)])
    def test_a_jump_ends_with_the_threshold_though_means_of_scores_still_rise_behind_it(
        self, dips: tuple[int, ...]
    ) -> None:
        config = LoopConfig(patience=Patience(reward_threshold=90.0))
        scores = [float(n % 2) for n in range(7)] + [99.0] * 60
        for dip in dips:
            scores[dip - 93] = 60.0
        last = self.after(scores, config)[-1]
        assert last.position.state is LoopState.DORMANT
        assert last.window_id <= 7 + 20 + 1

    def test_a_new_height_is_no_end(self) -> None:
        config = LoopConfig(patience=Patience(reward_threshold=90.0))
        scores = [0.0] * 3 + [99.0] * 20
        before = self.after(scores, config)[-1]
        assert before.position.state is not LoopState.DORMANT
        assert [self.after([*scores, last], config)[-1].position.state for last in (99.0, 150.0)] == [
            LoopState.DORMANT,
            LoopState.ACTIVE,
        ]

    @pytest.mark.parametrize("windows", [9, 10])
    def test_the_best_policy_has_reached_the_target_in_episodes_enough(self, windows: int) -> None:
        config = LoopConfig(patience=Patience(reward_threshold=120.0))
        state = self.after([*self.RISE, *[100.0] * 30], config)[-1]
        evidence = (PlayedWindow(seeds=(1,), returns=(120.0,), score=120.0),) * windows
        verdict = patience_with(replace(state, best=replace(snapshot(120.0), evidence=evidence)), config)
        assert (verdict.phase is Phase.SATURATED) is (windows == 10)

    def test_a_variant_that_never_rises_ends_with_the_threshold(self) -> None:
        begin = replace(self.after(self.RISE, self.CONFIG)[-1], learner_since=100).with_new_curve()
        states = self.after([99.0] * 200, self.CONFIG, replace(begin, position=CONFIG.scheduler.initial()))
        assert states[-1].position.state is LoopState.DORMANT
        assert states[-1].window_id < 200
        assert states[0].curve.evaluations == 1
        assert (states[0].curve.steps, states[0].curve.episodes) == (100, 2)

    @pytest.mark.parametrize(
        ("rate", "seeds"), [(0.1, 2), *(pytest.param(rate, 8, marks=pytest.mark.slow) for rate in (0.0, 0.01, 0.1))]
    )
    def test_a_success_by_chance_never_shortens_the_patience(self, rate: float, seeds: int) -> None:
        """One episode a window, one of them in 1/`rate` finds the reward."""
        config = replace(self.CONFIG, patience=Patience(unlearned_episodes=200))
        steps = np.arange(1, 501) * 100
        for seed in range(seeds):
            scores = (np.random.default_rng(seed).random(500) < rate).astype(float)
            last = simulate(scores, None, steps, config, episodes=np.arange(1, 501))[-1]
            assert last.index + 1 >= 200
            assert rate > 0.0 or (last.index + 1, last.state) == (201, LoopState.DORMANT)

    def test_windows_without_evidence_are_neither_flat_nor_the_end_of_a_flat_start(self) -> None:
        """The patience that is left after them is the same."""
        nothing = Outcome(hyperparams=VALUES, metrics=EvalMetrics(math.nan, {}, has_evidence=False))
        flat = Outcome(hyperparams=VALUES, metrics=EvalMetrics(0.0, {"score_std_err": 0.0}))
        state = RunState(position=CONFIG.scheduler.initial(), best=snapshot(0.0))
        for _ in range(10):
            state, _ = decide(state.collected(0), nothing, self.CONFIG)
            before = state.position
            state, _ = decide(state.collected(100, 1), flat, self.CONFIG)
            after, effects = decide(state.collected(0), nothing, self.CONFIG)
            assert (after.position, after.curve, effects) == (state.position, state.curve, (Act.MISSING,))
            assert state.position != before or state.evaluations < 3
            assert state.is_flat_start

    def test_a_degradation_does_not_end_the_patience(self) -> None:
        states = self.after([*self.RISE, *[50.0] * 60], self.CONFIG)
        assert states[-1].position.state is LoopState.COOLING
        assert states[-1].position.no_improvement >= 4

    def test_what_is_watched_is_no_learning_curve_and_a_wake_begins_another(self) -> None:
        state = self.after(self.RISE, self.CONFIG)[-1]
        watched = replace(
            state, position=SchedulerState(LoopState.WATCHDOG, 1, 4), watch=WatchState(champion=snapshot(99.0))
        ).collected(100, 2)
        after, _ = decide(watched, outcome_of(99.0), self.CONFIG)
        assert after.curve == state.curve
        woken, effects = decide(watched, outcome_of(1.0, event=DRIFT_EVENT), self.CONFIG)
        assert effects[0] is Act.WAKE
        assert (woken.curve.evaluations, woken.steps_before, woken.episodes_before) == (0, 10_100, 202)

    def test_the_curve_is_saved_with_the_state(self) -> None:
        state = self.after(self.RISE, self.CONFIG)[-1]
        again = RunState.from_dict(json.loads(json.dumps(state.to_dict())), ())
        assert again == replace(state, recent=(), metrics=None)
        assert patience_with(again, self.CONFIG) == patience_with(state, self.CONFIG)

    def test_a_policy_that_has_stopped_changing_is_waited_for_no_longer_than_a_reached_target(self) -> None:
        state = self.after([*self.RISE, *[100.0] * 6], self.CONFIG)[-1]
        still = tuple(replace(m, metrics={**m.metrics, "approx_kl": 1e-7}) for m in state.recent)
        moving = tuple(replace(m, metrics={**m.metrics, "approx_kl": 1e-2}) for m in state.recent)
        settled = patience_with(replace(state, recent=still), self.CONFIG)
        assert settled.reason == "the policy has stopped changing"
        assert settled.allowed_steps < patience_with(state, self.CONFIG).allowed_steps
        assert patience_with(replace(state, recent=moving), self.CONFIG) == patience_with(state, self.CONFIG)
