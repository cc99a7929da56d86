import json
import math

import numpy as np
import pytest

from tensor_optix.core.decisions.curve_statistics import CurveStatistics
from tensor_optix.core.decisions.patience import (
    Constants,
    Patience,
    Phase,
    assess,
    chance_of_rise,
    decide,
)
from tensor_optix.core.decisions.patience_verdict import windows_until_due
from tensor_optix.core.decisions.score_curve import ScoreCurve
from tensor_optix.core.loop.run_state import saved_form
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.schemas import rebuilt

WINDOW = 2_048


def curve_of(scores, std_err=math.nan, *, window=WINDOW, episodes_per_window=None):
    curve = ScoreCurve()
    for i, score in enumerate(scores, start=1):
        episodes = None if episodes_per_window is None else i * episodes_per_window
        curve = curve.added(i * window, float(score), std_err, episodes)
    return curve


def saturating(n, end, rise=100.0):
    """`rise` reached linearly at evaluation `end`."""
    return rise * np.minimum(np.arange(n) / end, 1.0)


def stop_of(scores, patience, std_err=0.1, *, window=WINDOW, episodes_per_window=None, every=1):
    """Evaluation at which the patience is used up; None where it is not."""
    curve = ScoreCurve()
    for i, score in enumerate(scores, start=1):
        episodes = None if episodes_per_window is None else i * episodes_per_window
        curve = curve.added(i * window, float(score), std_err, episodes)
        if i % every == 0 and assess(curve, patience).is_exhausted:
            return i
    return None


def seen(**changes):
    """A learned curve, quiet for as long as it rose."""
    values = {
        "steps": 200_000.0,
        "rise_steps": 100_000.0,
        "arrival_steps": 90_000.0,
        "quiet_evaluations": 50,
        "best": 100.0,
        "gain": 100.0,
        "level": 90.0,
        "level_error": 2.0,
        "first_deviation": 1.0,
        "deviation": 10.0,
        "best_deviation": 1.0,
        "slope_bound": 100.0,
        "episodes": 100.0,
    }
    return CurveStatistics(**{**values, **changes})


class TestDecide:
    def test_phases(self):
        patience = Patience()
        assert decide(seen(gain=7.0), patience).phase is Phase.UNLEARNED
        assert decide(seen(deviation=60.0), patience).phase is Phase.UNLEARNED
        assert decide(seen(best_deviation=60.0), patience).phase is Phase.UNLEARNED
        assert decide(seen(gain=0.0, first_deviation=0.0, deviation=0.0), patience).phase is Phase.UNLEARNED
        assert decide(seen(), patience).phase is Phase.SATURATING
        certain = seen(deviation=1.0, episodes=5_000.0, slope_bound=10.0)
        assert decide(certain, patience).phase is Phase.SATURATED

    @pytest.mark.parametrize(
        ("first", "noise", "has_emerged"), [(20.0, 9.0, True), (26.0, 9.0, False), (20.0, 11.0, False)]
    )
    def test_where_only_the_first_returns_spread_far_something_may_have_been_learned(self, first, noise, has_emerged):
        curve = seen(first_deviation=first, deviation=noise, episodes=5_000.0, slope_bound=10.0)
        verdict = decide(curve, Patience())
        assert verdict.phase is (Phase.EMERGED if has_emerged else Phase.UNLEARNED)
        assert verdict.allowed_steps == (700_000 if has_emerged else 400_000)
        assert decide(curve, Patience(reward_threshold=500.0)).phase is Phase.UNLEARNED
        assert decide(curve, Patience(), has_learned=True).phase is Phase.SATURATING

    def test_a_certain_plateau_that_still_rises_is_not_saturated(self):
        certain = {"deviation": 1.0, "episodes": 5_000.0}
        flat, nearly, rising = (decide(seen(**certain, slope_bound=s), Patience()) for s in (24.0, 26.0, 51.0))
        assert [v.phase for v in (flat, nearly, rising)] == [Phase.SATURATED, Phase.SATURATED, Phase.SATURATING]
        assert [v.allowed_steps for v in (flat, nearly, rising)] == [22_000, 100_000, 350_000]

    def test_without_an_episode_count_no_plateau_is_certain(self):
        assert decide(seen(deviation=0.0, episodes=None, slope_bound=0.0), Patience()).phase is Phase.SATURATING

    def test_allowed_steps_are_a_multiple_of_those_to_the_rise(self):
        rule = Constants(saturated=0.5, saturating=2.0)
        certain = seen(deviation=1.0, episodes=5_000.0, slope_bound=10.0)
        assert decide(seen(), Patience(constants=rule)).allowed_steps == 200_000
        assert decide(certain, Patience(constants=rule)).allowed_steps == 50_000

    @pytest.mark.parametrize("name", ["reward_threshold", "max_return"])
    def test_a_known_target(self, name):
        below, reached = (decide(seen(), Patience(**{name: value})) for value in (200.0, 100.0))
        assert below.allowed_steps == pytest.approx(100_000 * (1.0 + 0.5 * 9.5), abs=1)
        assert below.phase is Phase.SATURATING
        assert (reached.allowed_steps, reached.quiet_steps) == (90_000, 110_000)
        assert reached.phase is Phase.SATURATED

    def test_the_nearer_a_target_the_less_it_is_waited_for(self):
        allowed = [decide(seen(), Patience(reward_threshold=x)).allowed_steps for x in (1e9, 1_000.0, 110.0, 101.0)]
        assert allowed == sorted(allowed, reverse=True)
        assert allowed[0] == pytest.approx(1_050_000, abs=10)
        assert allowed[-1] == pytest.approx(100_000 * (1.0 + 9.5 / 101.0), abs=1)

    def test_a_near_miss_is_no_sign_that_nothing_was_learned(self):
        noisy = {"first_deviation": 50.0, "gain": 100.0}
        near, far = (decide(seen(**noisy), Patience(reward_threshold=x)) for x in (108.0, 110.0))
        assert (near.phase, far.phase) == (Phase.SATURATING, Phase.UNLEARNED)
        assert decide(seen(gain=0.0), Patience(reward_threshold=101.0)).phase is Phase.UNLEARNED

    def test_a_target_within_the_error_of_the_level_since_the_rise_is_reached(self):
        target = Patience(reward_threshold=110.0)
        assert decide(seen(level=109.0, level_error=0.9), target).phase is Phase.SATURATING
        verdict = decide(seen(level=109.0, level_error=1.0), target)
        assert (verdict.phase, verdict.allowed_steps) == (Phase.SATURATED, 90_000)

    def test_a_target_at_which_the_scores_stand_is_reached_since_they_got_there(self):
        target = Patience(reward_threshold=110.0)
        verdict = decide(seen(target_steps=150_000.0, target_evaluations=25), target)
        assert (verdict.phase, verdict.quiet_steps, verdict.allowed_steps) == (Phase.SATURATED, 50_000, 150_000)
        assert verdict.quiet_evaluations == 25
        known = decide(seen(target_steps=150_000.0, target_evaluations=25), target, has_reached=True)
        assert known == decide(seen(), target, has_reached=True)

    def test_a_rise_beyond_the_target_is_waited_for(self):
        beyond = {"best": 150.0, "gain": 150.0, "target_steps": 40_000.0, "target_evaluations": 80}
        assert decide(seen(**beyond), Patience(reward_threshold=110.0)).quiet_steps == 110_000

    def test_few_evaluations_that_still_rise_beyond_the_target_are_no_end(self):
        rising = [0.0, 550.0, 2_300.0, 3_100.0, 3_400.0, 3_900.0, 4_250.0, 4_600.0, 4_700.0, 4_900.0, 5_250.0, 5_550.0]
        verdict = assess(curve_of(rising, 30.0, window=20_000), Patience(reward_threshold=4_800.0))
        assert verdict.phase is Phase.SATURATED
        assert verdict.quiet_steps < 0.35 * verdict.allowed_steps

    def test_a_target_is_seen_to_be_reached_before_the_lower_bound_gets_there(self):
        scores = [100.0, 300.0, 150.0, 350.0, *[500.0] * 30]
        # From the third on they average (150 + 350 + 19 · 500) / 21 = 476 at the 23rd, 20 evaluations later.
        assert stop_of(scores, Patience(reward_threshold=475.0), 50.0) == 23

    def test_a_target_that_the_best_policy_has_reached_in_episodes_of_its_own_is_reached(self):
        for gain in (1.0, 100.0):
            verdict = decide(seen(gain=gain), Patience(reward_threshold=110.0), has_reached=True)
            assert (verdict.phase, verdict.allowed_steps) == (Phase.SATURATED, 90_000)
        assert decide(seen(), Patience(), has_reached=True) == decide(seen(), Patience())

    def test_the_lower_of_two_targets_is_enough(self):
        assert Patience(reward_threshold=475.0, max_return=500.0).target == 475.0
        assert Patience().target is None

    def test_a_certain_plateau_below_the_target_is_waited_on(self):
        certain = seen(deviation=1.0, episodes=5_000.0, slope_bound=10.0)
        assert decide(certain, Patience(reward_threshold=101.0)).phase is Phase.SATURATING

    def test_a_target_that_the_first_policy_reaches_ends_early(self):
        verdict = decide(seen(gain=0.0, rise_steps=2_048.0), Patience(reward_threshold=100.0))
        assert verdict.is_exhausted

    def test_a_settled_policy_ends_sooner_but_only_where_it_has_learned(self):
        assert decide(seen(), Patience(), is_settled=True).allowed_steps == 100_000
        unlearned = seen(gain=1.0)
        assert decide(unlearned, Patience(), is_settled=True) == decide(unlearned, Patience())

    def test_a_learner_that_goes_on_from_a_trained_policy_is_not_waited_for_to_learn(self):
        unlearned = seen(gain=0.0, rise_steps=2_048.0)
        verdict = decide(unlearned, Patience(), has_learned=True)
        assert (verdict.phase, verdict.allowed_steps) == (Phase.SATURATING, math.ceil(3.5 * 2_048))
        assert decide(seen(), Patience(), has_learned=True) == decide(seen(), Patience())

    def test_patience_of_an_unlearned_curve_is_the_smaller_of_steps_and_episodes(self):
        unlearned = {"gain": 1.0, "rise_steps": 2_048.0}
        assert decide(seen(**unlearned, episodes=None), Patience()).allowed_steps == 20_000_000
        assert decide(seen(**unlearned, episodes=10.0), Patience()).allowed_steps == 20_000_000
        assert decide(seen(**unlearned, episodes=1_000.0), Patience()).allowed_steps == 2_000_000
        assert decide(seen(**unlearned, episodes=0), Patience()).allowed_steps == 20_000_000

    @pytest.mark.parametrize(
        ("noises", "most"), [((60.0, 30.0), 2_000_000), ((60.0, 34.0), 20_000_000), ((101.0, 0.0), 20_000_000)]
    )
    def test_a_rise_that_shows_is_waited_on_for_a_multiple_of_it_though_the_first_returns_spread_far(
        self, noises, most
    ):
        wide = {"first_deviation": noises[0], "deviation": noises[1], "episodes": None}
        verdict = decide(seen(**wide), Patience())
        assert (verdict.phase, verdict.allowed_steps) == (Phase.UNLEARNED, most)
        assert decide(seen(**wide), Patience(reward_threshold=1_000.0)).allowed_steps > 10_000_000

    def test_the_chance_is_that_of_what_is_waited_for_longest(self):
        few, many = (decide(seen(rise_steps=10.0, quiet_evaluations=n), Patience()) for n in (10, 1_000))
        assert few.chance_of_rise == chance_of_rise(0.5)
        assert many.chance_of_rise < 0.01

    def test_evaluations_are_a_floor(self):
        verdict = decide(seen(rise_steps=10.0, steps=1_000.0, quiet_evaluations=19), Patience())
        assert verdict.remaining_steps == 0
        assert verdict.remaining_evaluations == 1
        assert not verdict.is_exhausted
        assert decide(seen(rise_steps=10.0, steps=1_000.0, quiet_evaluations=20), Patience()).is_exhausted

    @pytest.mark.parametrize(
        ("every", "asked"), [(None, 20), (110_000, 20), (11_000, 20), (5_500, 10), (2_750, 5), (100, 5)]
    )
    def test_evaluations_put_off_since_the_arrival_count_up_to_three_for_each(self, every, asked):
        verdict = decide(seen(quiet_evaluations=10), Patience(), evaluation_steps=every)
        assert (verdict.quiet_evaluations, verdict.allowed_evaluations) == (10, asked)
        assert decide(seen(quiet_evaluations=0), Patience(), evaluation_steps=every).allowed_evaluations == 20

    def test_says_how_long_and_why(self):
        verdict = decide(seen(steps=380_000.0, rise_steps=200_000.0), Patience())
        assert str(verdict).startswith("quiet for 180k of 700k steps; ")
        assert " % chance of a further rise (saturating, the last rise took 200k steps)" in str(verdict)
        assert "no clear rise since the first evaluation" in str(decide(seen(gain=1.0), Patience()))
        assert "3 evaluations to go" in str(decide(seen(quiet_evaluations=17), Patience()))


class TestAssess:
    def test_a_threshold_set_by_hand_is_the_whole_rule(self):
        patience = Patience(dormant_threshold=7, is_scaled=False)
        curve = curve_of(saturating(500, 10))
        assert [assess(curve, patience, n).is_exhausted for n in (0, 6, 7, 8)] == [False, False, True, True]
        assert assess(curve, patience, 3).remaining_evaluations == 4
        assert assess(curve, patience).chance_of_rise is None
        assert str(assess(curve, patience, 3)) == "3 of 7 evaluations without improvement"

    def test_nothing_ends_before_there_are_scores(self):
        for n in range(5):
            assert not assess(curve_of([0.0] * n), Patience(unlearned_steps=0)).is_exhausted

    @pytest.mark.parametrize("window", [16, 2_048, 1_000_000])
    def test_stops_at_the_multiple_on_every_scale(self, window):
        stop = stop_of(saturating(600, 100), Patience(unlearned_steps=0), window=window)
        assert stop == pytest.approx(4.5 * 100, rel=0.05)

    def test_a_late_second_rise_is_waited_for(self):
        scores = np.concatenate([saturating(100, 100), np.full(150, 100.0), 100.0 + saturating(200, 100)])
        stop = stop_of(scores, Patience())
        assert stop is None

    def test_a_saturated_task_ends_within_a_third(self):
        scores = saturating(400, 100) + np.random.default_rng(0).normal(0.0, 0.5, 400)
        stop = stop_of(scores, Patience(), 0.5, episodes_per_window=200)
        assert 105 <= stop <= 140

    def test_a_task_of_a_known_target_ends_after_as_long_again(self):
        stop = stop_of(saturating(400, 100), Patience(reward_threshold=99.0))
        assert 170 <= stop <= 205

    @pytest.mark.parametrize("n_before", [1, 3, 6])
    def test_the_shortest_end_is_the_threshold(self, n_before):
        stop = stop_of(saturating(60, n_before), Patience(reward_threshold=90.0))
        assert n_before + 20 <= stop <= n_before + 30

    def test_nothing_learned_is_waited_for(self):
        scores = np.random.default_rng(0).normal(0.0, 1.0, 3_000)
        assert stop_of(scores, Patience(), 1.0, every=50) is None
        assert stop_of(np.zeros(3_000), Patience(), 0.0, every=50) is None

    def test_but_not_for_ever(self):
        scores = np.zeros(400)
        assert stop_of(scores, Patience(unlearned_steps=100 * WINDOW), 0.0) == 101
        assert stop_of(scores, Patience(unlearned_episodes=1_000), 0.0, episodes_per_window=10) == 101

    def test_one_accidental_success_does_not_shorten_the_patience(self):
        scores = np.zeros(1_000)
        scores[50] = 1.0
        patience = Patience(unlearned_steps=500 * WINDOW)
        assert stop_of(scores, patience, math.nan) >= stop_of(np.zeros(1_000), patience, math.nan)

    def test_is_deterministic_and_changes_nothing(self):
        curve = curve_of(saturating(300, 50), 0.1)
        before = saved_form(curve)
        assert assess(curve, Patience()) == assess(curve, Patience())
        assert saved_form(curve) == before

    def test_a_resumed_curve_gives_the_same_verdict(self):
        curve = curve_of(np.random.default_rng(0).normal(size=999), 0.5, episodes_per_window=4)
        resumed = rebuilt(ScoreCurve, json.loads(json.dumps(saved_form(curve))))
        assert assess(resumed, Patience()) == assess(curve, Patience())

    @pytest.mark.parametrize(("curves", "most"), [(15, 1), pytest.param(60, 2, marks=pytest.mark.slow)])
    def test_false_stops_on_noisy_curves_are_rare(self, curves, most):
        false = 0
        for seed in range(curves):
            rng = np.random.default_rng(seed)
            noise = math.exp(rng.uniform(math.log(1.0), math.log(30.0)))
            end = rng.integers(20, 150)
            stop = stop_of(saturating(450, end) + rng.normal(0.0, noise, 450), Patience(), noise, every=5)
            false += stop is not None and stop < 0.95 * end
        assert false <= most


class TestInterval:
    @pytest.mark.parametrize("cap", [1, 2, 100])
    def test_the_end_does_not_depend_on_the_largest_interval(self, cap):
        curve, window, interval = ScoreCurve(), 0, 1
        while True:
            window += interval
            curve = curve.added(window * WINDOW, min(window, 50.0), 0.1)
            verdict = assess(curve, Patience())
            if verdict.is_exhausted:
                break
            interval = windows_until_due(verdict, curve.steps, min(2 * interval, cap), WINDOW)
        assert window == pytest.approx(4.5 * 50, rel=0.1)


class TestChance:
    def test_falls_with_the_share_of_the_patience(self):
        chances = [chance_of_rise(used) for used in np.linspace(0.0, 2.0, 20)]
        assert chances == sorted(chances, reverse=True)
        assert 0.0 < chances[-1] < 0.1
        assert chance_of_rise(0.0) > 0.9
        assert chance_of_rise(1.0) == pytest.approx(0.18, abs=0.01)

    def test_is_defined_far_beyond(self):
        assert 0.0 <= chance_of_rise(1e9) < 1e-6


class TestPatience:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("dormant_threshold", 0),
            ("episodes_per_evaluation", 0),
            ("unlearned_steps", -1.0),
            ("unlearned_episodes", math.nan),
            ("reward_threshold", "high"),
            ("max_return", math.nan),
        ],
    )
    def test_refuses_a_value_out_of_range(self, name, value):
        with pytest.raises(InvalidArgumentError, match=name):
            Patience(**{name: value})
