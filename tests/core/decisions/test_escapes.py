"""What is tried before a learner counts as trained: when, how long, in which order, and what it changes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tensor_optix.core.decisions.escape_records import EscapeOutcome, EscapeRecord
from tensor_optix.core.decisions.escapes import (
    BUDGET,
    ESCAPES,
    Escape,
    Learner,
    Standing,
    changed,
    is_worth_trying,
    next_escape,
    ordered,
)
from tensor_optix.core.decisions.patience_verdict import Phase
from tensor_optix.core.search_space import Param
from tests.fakes.escapes import over

PPO = Learner(
    params={"learning_rate": 3e-4, "entropy_coef": 0.01, "clip_ratio": 0.2, "activation": "tanh"},
    bounds={"learning_rate": Param(1e-5, 1e-2, "log"), "entropy_coef": Param(0.0, 0.1)},
    can_restart=True,
)
RESTART, ENTROPY, EXPLORATION, WINDOW, ANEW = ESCAPES


def standing(**more: Any) -> Standing:
    values: dict[str, Any] = {
        "phase": Phase.SATURATING,
        "target": None,
        "best_score": 5.0,
        "changes": True,
    }
    return Standing(**(values | more))


def due(
    tried: Sequence[EscapeRecord], learner: Learner, steps: int, least: int, *, is_unlearned: bool = False
) -> tuple[Escape, int] | None:
    return next_escape(tried, learner, steps, least, is_unlearned=is_unlearned)


class TestReason:
    @pytest.mark.parametrize(("target", "expected"), [(5.1, True), (5.0, False), (-1.0, False)])
    def test_a_best_below_a_known_target_is_one(self, target: float, expected: bool) -> None:
        for phase in Phase:
            for changes in (False, True):
                assert is_worth_trying(standing(target=target, phase=phase, changes=changes)) is expected

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
        assert due([], PPO, 1000, 10) == (RESTART, 125)
        # 250 in all; the first took 50, so 200 of 1000 are left to the other
        assert due([over("restart", 50)], PPO, 1050, 10) == (ENTROPY, 200)
        assert due([over("restart", 50), over("entropy", 200)], PPO, 1250, 10) is None

    @pytest.mark.parametrize("steps", [100, 1000, 12_345, 10**6])
    @pytest.mark.parametrize("least", [1, 50, 10_000])
    def test_all_together_take_no_more_than_their_part_of_the_other_steps(self, steps: int, least: int) -> None:
        learner = replace(PPO, params={**PPO.params, "epsilon": 0.1})
        tried: list[EscapeRecord] = []
        while (now := due(tried, learner, steps + sum(one.steps for one in tried), least)) is not None:
            assert now[1] >= least
            tried.append(over(now[0].name, now[1]))
        assert sum(one.steps for one in tried) <= BUDGET * steps
        assert len(tried) <= len(ESCAPES)
        assert bool(tried) is (least <= BUDGET * steps)

    def test_one_that_cannot_show_anything_is_not_begun(self) -> None:
        assert due([], PPO, 1000, 250) == (RESTART, 250)
        assert due([], PPO, 1000, 251) is None

    def test_one_that_was_kept_lets_all_kinds_begin_anew_within_the_same_budget(self) -> None:
        kept = over("restart", 100, EscapeOutcome.KEPT)
        assert due([kept], PPO, 1100, 10) == (RESTART, 75)
        assert due([kept, over("restart", 75)], PPO, 1175, 10) == (ENTROPY, 75)
        assert due([kept, over("restart", 150)], PPO, 1250, 10) is None

    def test_what_does_not_apply_to_the_agent_is_left_out(self) -> None:
        six_methods = Learner(params={"rate": 1.0}, bounds={}, can_restart=False)
        assert due([], six_methods, 1000, 10) is None
        noisy = Learner(params={"noise_std": 0.1}, bounds={"noise_std": Param(0.0, 1.0)}, can_restart=False)
        assert due([], noisy, 1000, 10) == (EXPLORATION, 250)

    def test_longer_windows_need_a_longer_run_and_what_cannot_be_paid_is_passed_over(self) -> None:
        long = replace(PPO, params={}, can_restart=False, window_size=10)
        assert due([], long, 1000, 62) == (WINDOW, 250)
        assert due([], long, 1000, 63) is None
        assert due([], replace(long, window_size=None), 1000, 10) is None
        noisy = replace(long, params={"epsilon": 0.1})
        assert due([], noisy, 1000, 63) == (EXPLORATION, 125)
        assert due([over("exploration", 125)], noisy, 1125, 31) == (WINDOW, 125)
        assert due([over("exploration", 125)], noisy, 1125, 32) is None


class TestAnotherAlgorithm:
    BOTH = replace(PPO, has_other_algorithm=True)

    def test_it_is_first_where_nothing_was_learned_and_else_last(self) -> None:
        others = (RESTART, ENTROPY, EXPLORATION, WINDOW)
        assert ordered(is_unlearned=True) == (ANEW, *others)
        assert ordered(is_unlearned=False) == ESCAPES == (*others, ANEW)

    @pytest.mark.parametrize("phase", Phase)
    @pytest.mark.parametrize("is_ahead", [True, False, None])
    def test_nothing_was_learned_without_a_rise_or_with_a_best_that_the_untrained_policy_equals(
        self, phase: Phase, is_ahead: bool | None
    ) -> None:
        assert standing(phase=phase, is_ahead=is_ahead).is_unlearned is (phase is Phase.UNLEARNED or is_ahead is False)

    def test_where_it_is_first_it_takes_half_and_the_others_share_the_rest(self) -> None:
        assert due([], self.BOTH, 1000, 10, is_unlearned=True) == (ANEW, 125)
        assert due([over("algorithm", 125)], self.BOTH, 1125, 10, is_unlearned=True) == (RESTART, 62)
        assert due([over("algorithm", 20)], self.BOTH, 1020, 10, is_unlearned=True) == (RESTART, 115)

    def test_where_it_is_last_it_takes_what_is_left(self) -> None:
        assert due([], self.BOTH, 1000, 10) == (RESTART, 83)
        assert due([over("restart", 50), over("entropy", 50)], self.BOTH, 1100, 10) == (ANEW, 150)

    def test_it_is_tried_where_there_is_one(self) -> None:
        assert due([], PPO, 1000, 10, is_unlearned=True) == (RESTART, 125)
        alone = Learner(params={}, bounds={}, can_restart=False, has_other_algorithm=True)
        assert due([], alone, 1000, 10, is_unlearned=True) == (ANEW, 250) == due([], alone, 1000, 10)


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
        assert [changed(escape, untuned) for escape in ESCAPES] == [{}, {}, {"epsilon": 0.5}, {}, {}]
        assert changed(EXPLORATION, replace(untuned, params={"epsilon": 0.7})) == {}

    def test_what_is_no_number_is_left_alone(self) -> None:
        assert changed(ENTROPY, replace(PPO, params={"entropy_coef": "auto"})) == {}
