"""What is tried before a learner counts as trained: when, how long, in which order, and what it changes."""

import math
from dataclasses import replace
from typing import Any

import pytest

from tensor_optix.core.decisions.escapes import (
    BUDGET,
    ESCAPES,
    EscapeOutcome,
    EscapeRecord,
    Learner,
    Standing,
    changed,
    failed_since_kept,
    is_worth_trying,
    next_escape,
    running,
    window_size_in_force,
    windows_left,
    with_best,
)
from tensor_optix.core.decisions.patience_verdict import Phase
from tensor_optix.core.search_space import Param

PPO = Learner(
    params={"learning_rate": 3e-4, "entropy_coef": 0.01, "clip_ratio": 0.2, "activation": "tanh"},
    bounds={"learning_rate": Param(1e-5, 1e-2, "log"), "entropy_coef": Param(0.0, 0.1)},
    can_restart=True,
)
RESTART, ENTROPY, EXPLORATION, WINDOW = ESCAPES


def standing(**more: Any) -> Standing:
    values: dict[str, Any] = {
        "phase": Phase.SATURATING,
        "target": None,
        "best_score": 5.0,
        "best_std_err": 0.5,
        "changes": True,
    }
    return Standing(**(values | more))


def record(name: str = "restart", **more: Any) -> EscapeRecord:
    values: dict[str, Any] = {
        "began_window": 10,
        "began_step": 1000,
        "began_evaluation": 10,
        "share": 200,
        "score_before": 5.0,
    }
    return EscapeRecord(name=name, **(values | more))


def over(name: str, steps: int, outcome: EscapeOutcome = EscapeOutcome.GIVEN_UP) -> EscapeRecord:
    return record(name).ended(outcome, window_id=12, env_steps=1000 + steps, score=5.0)


class TestReason:
    @pytest.mark.parametrize(("target", "expected"), [(6.1, True), (6.0, False), (5.0, False), (-1.0, False)])
    def test_a_best_that_is_evidently_below_a_known_target_is_one(self, target: float, expected: bool) -> None:
        for phase in Phase:
            for changes in (False, True):
                assert is_worth_trying(standing(target=target, phase=phase, changes=changes)) is expected

    def test_an_error_that_is_not_known_counts_for_none(self) -> None:
        assert is_worth_trying(standing(target=5.1, best_std_err=math.nan))

    @pytest.mark.parametrize(
        ("phase", "changes", "expected"),
        [
            (Phase.UNLEARNED, False, True),
            (Phase.UNLEARNED, True, True),
            (Phase.SATURATING, False, False),
            (Phase.SATURATING, True, True),
            (Phase.SATURATED, False, False),
            (Phase.SATURATED, True, False),
        ],
    )
    def test_without_a_target_the_curve_and_the_policy_say_so(
        self, phase: Phase, changes: bool, expected: bool
    ) -> None:
        assert is_worth_trying(standing(phase=phase, changes=changes)) is expected


class TestOrderAndBudget:
    def test_each_kind_that_applies_has_its_turn_and_an_equal_part_of_what_is_left(self) -> None:
        assert next_escape([], PPO, 1000, 10) == (RESTART, 125)
        # 250 in all; the first took 50, so 200 of 1000 are left to the other
        assert next_escape([over("restart", 50)], PPO, 1050, 10) == (ENTROPY, 200)
        assert next_escape([over("restart", 50), over("entropy", 200)], PPO, 1250, 10) is None

    @pytest.mark.parametrize("steps", [100, 1000, 12_345, 10**6])
    @pytest.mark.parametrize("least", [1, 50, 10_000])
    def test_all_together_take_no_more_than_their_part_of_the_other_steps(self, steps: int, least: int) -> None:
        learner = replace(PPO, params={**PPO.params, "epsilon": 0.1})
        tried: list[EscapeRecord] = []
        while (due := next_escape(tried, learner, steps + sum(one.steps for one in tried), least)) is not None:
            assert due[1] >= least
            tried.append(over(due[0].name, due[1]))
        assert sum(one.steps for one in tried) <= BUDGET * steps
        assert len(tried) <= len(ESCAPES)
        assert bool(tried) is (least <= BUDGET * steps)

    def test_one_that_cannot_show_anything_is_not_begun(self) -> None:
        assert next_escape([], PPO, 1000, 250) == (RESTART, 250)
        assert next_escape([], PPO, 1000, 251) is None

    def test_one_that_was_kept_lets_all_kinds_begin_anew_within_the_same_budget(self) -> None:
        kept = over("restart", 100, EscapeOutcome.KEPT)
        assert next_escape([kept], PPO, 1100, 10) == (RESTART, 75)
        assert next_escape([kept, over("restart", 75)], PPO, 1175, 10) == (ENTROPY, 75)
        assert next_escape([kept, over("restart", 150)], PPO, 1250, 10) is None

    def test_what_does_not_apply_to_the_agent_is_left_out(self) -> None:
        six_methods = Learner(params={"rate": 1.0}, bounds={}, can_restart=False)
        assert next_escape([], six_methods, 1000, 10) is None
        noisy = Learner(params={"noise_std": 0.1}, bounds={"noise_std": Param(0.0, 1.0)}, can_restart=False)
        assert next_escape([], noisy, 1000, 10) == (EXPLORATION, 250)

    def test_longer_windows_need_a_longer_run_and_what_cannot_be_paid_is_passed_over(self) -> None:
        long = replace(PPO, params={}, can_restart=False, window_size=10)
        assert next_escape([], long, 1000, 62) == (WINDOW, 250)
        assert next_escape([], long, 1000, 63) is None
        assert next_escape([], replace(long, window_size=None), 1000, 10) is None
        noisy = replace(long, params={"epsilon": 0.1})
        assert next_escape([], noisy, 1000, 63) == (EXPLORATION, 125)
        assert next_escape([over("exploration", 125)], noisy, 1125, 31) == (WINDOW, 125)
        assert next_escape([over("exploration", 125)], noisy, 1125, 32) is None


class TestChanges:
    def test_values_are_raised_inside_their_bounds(self) -> None:
        assert changed(RESTART, PPO) == {"learning_rate": 6e-4}
        assert changed(ENTROPY, PPO) == {"entropy_coef": 0.05}
        bounded = replace(PPO, params={"learning_rate": 9e-3, "entropy_coef": 0.0})
        assert changed(RESTART, bounded) == {"learning_rate": 1e-2}
        assert changed(ENTROPY, bounded) == {"entropy_coef": 0.02}

    @pytest.mark.parametrize("value", [0.1, 0.5])
    def test_a_value_at_its_bound_or_set_beyond_it_by_hand_stays(self, value: float) -> None:
        assert changed(ENTROPY, replace(PPO, params={"entropy_coef": value})) == {}

    def test_what_may_not_be_tuned_is_left_alone_and_a_schedule_is_set_back(self) -> None:
        untuned = replace(PPO, params={**PPO.params, "epsilon": 0.05, "noise_std": 0.1}, bounds={})
        assert [changed(escape, untuned) for escape in ESCAPES] == [{}, {}, {"epsilon": 0.5}, {}]
        assert changed(EXPLORATION, replace(untuned, params={"epsilon": 0.7})) == {}

    def test_what_is_no_number_is_left_alone(self) -> None:
        assert changed(ENTROPY, replace(PPO, params={"entropy_coef": "auto"})) == {}


class TestRecord:
    def test_the_last_one_is_in_progress_until_it_has_ended(self) -> None:
        first, second = over("restart", 100), record("entropy")
        assert running([]) is None
        assert running([first]) is None
        assert running([first, second]) == second
        assert first.steps == 100

    @pytest.mark.parametrize(("env_steps", "windows"), [(1000, 4), (1050, 3), (1051, 2), (1200, 0), (1500, 0)])
    def test_whole_windows_are_left_to_it(self, env_steps: int, windows: int) -> None:
        assert windows_left(record(), env_steps, 50) == windows

    def test_longer_windows_are_fewer(self) -> None:
        longer = record(changes={"window_size": (50, 200)})
        assert (longer.stretch, record().stretch) == (4.0, 1.0)
        assert windows_left(longer, 1000, 50) == 1
        assert windows_left(longer, 1001, 50) == 0

    def test_windows_are_as_long_as_the_last_escape_that_stands_has_made_them(self) -> None:
        def longer(before: int, outcome: EscapeOutcome) -> EscapeRecord:
            return replace(over("window", 100, outcome), changes={"window_size": (before, 4 * before)})

        kept, other = longer(50, EscapeOutcome.KEPT), over("restart", 10)
        assert window_size_in_force([]) is window_size_in_force([other]) is None
        assert window_size_in_force([kept, other]) == 200
        assert window_size_in_force([longer(50, EscapeOutcome.RUNNING)]) == 200
        assert window_size_in_force([longer(50, EscapeOutcome.GIVEN_UP), other]) == 50
        assert window_size_in_force([kept, other, longer(200, EscapeOutcome.BROKEN_OFF)]) == 200

    def test_those_in_vain_are_counted_from_the_last_that_was_kept(self) -> None:
        kept, left_out = over("entropy", 10, EscapeOutcome.KEPT), over("restart", 0)
        assert failed_since_kept([]) == failed_since_kept([over("restart", 10), kept]) == 0
        assert failed_since_kept([kept, over("restart", 10), left_out, over("entropy", 5)]) == 2

    def test_it_is_told_in_words(self) -> None:
        assert record(share=40_960).text == "restart, 40,960 steps at most"
        assert over("entropy", 2048).text == "entropy: given up after 2,048 steps"

    @pytest.mark.parametrize(("window_id", "kept"), [(None, False), (9, False), (10, True), (12, True), (13, False)])
    def test_the_last_test_of_a_run_may_crown_what_an_escape_has_found(self, window_id: int | None, kept: bool) -> None:
        (told,) = with_best([over("restart", 100)], window_id)
        assert (told.outcome is EscapeOutcome.KEPT) is kept
        assert with_best([record()], window_id) == (record(),)
