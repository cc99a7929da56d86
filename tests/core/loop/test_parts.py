"""The knobs of the loop and their bounds, and what a status makes of its numbers."""

import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from tensor_optix.core.backoff_scheduler import SchedulerState
from tensor_optix.core.decisions.validation_budget import ValidationBudget, ValidationSpent
from tensor_optix.core.loop.parts import LoopConfig, LoopStatus
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.types import EvalMetrics, LoopState
from tensor_optix.errors import InvalidArgumentError
from tests.fakes.escapes import record

RULES = {
    "max_episodes": "must be a whole number of at least 1",
    "max_steps": "must be a whole number of at least 1",
    "target_score": "must be a finite number",
    "degradation_threshold": "must be in (0, 1]",
    "improvement_margin": "must be a finite number of at least 0",
    "min_degradation_drop": "must be a finite number of at least 0",
    "on_converged": "'auto', 'stop' or 'watch'",
}


class TestLimit:
    """After how many steps a validation episode is cut: 400 here, by the budget."""

    config = LoopConfig(validation=ValidationBudget(share=0.25))

    def state(self, **more: Any) -> RunState:
        return RunState(
            position=SchedulerState(more.pop("state", LoopState.ACTIVE), 1, 0),
            env_steps=100_000,
            longest_episode=300,
            **more,
        )

    @pytest.mark.parametrize(("cut_at", "limit"), [(0, 400), (200, 400), (400, 400), (800, 800)])
    def test_it_does_not_fall(self, cut_at: int, limit: int) -> None:
        assert self.config.episode_limit(self.state(cut_at=cut_at), ValidationSpent()) == limit

    def test_it_does_not_rise_while_scores_are_compared_with_those_before(self) -> None:
        in_escape = {"escapes": (record(),)}
        for more in (in_escape, {"state": LoopState.WATCHDOG}):
            assert self.config.episode_limit(self.state(cut_at=200, **more), ValidationSpent()) == 200
            assert self.config.episode_limit(self.state(**more), ValidationSpent()) == 400

    def test_without_a_share_there_is_none(self) -> None:
        assert LoopConfig().episode_limit(self.state(cut_at=200), ValidationSpent()) is None


class TestConfig:
    @pytest.mark.parametrize(
        ("knob", "value"),
        [
            ("max_episodes", 1),
            ("max_episodes", None),
            ("max_steps", 1),
            ("target_score", -200),
            ("degradation_threshold", 1.0),
            ("degradation_threshold", 1e-9),
            ("degradation_threshold", 1),
            ("improvement_margin", 0),
            ("min_degradation_drop", 1e6),
            ("on_converged", "watch"),
        ],
    )
    def test_the_ends_of_a_range_belong_to_it(self, knob: str, value: Any) -> None:
        assert getattr(LoopConfig(**{knob: value}), knob) == value

    @pytest.mark.parametrize(
        ("knob", "value"),
        [
            ("max_episodes", 0),
            ("max_episodes", 2.5),
            ("max_episodes", True),
            ("max_steps", 0),
            ("max_steps", 1e6),
            ("target_score", math.inf),
            ("target_score", "475"),
            ("degradation_threshold", 0.0),
            ("degradation_threshold", 1.0001),
            ("degradation_threshold", math.nan),
            ("degradation_threshold", "0.9"),
            ("improvement_margin", -1e-9),
            ("improvement_margin", math.nan),
            ("min_degradation_drop", math.inf),
            ("min_degradation_drop", -1.0),
            ("on_converged", "sleep"),
            ("on_converged", None),
        ],
    )
    def test_a_knob_out_of_its_range_is_named_with_its_rule_and_value(self, knob: str, value: Any) -> None:
        with pytest.raises(InvalidArgumentError) as raised:
            LoopConfig(**{knob: value})
        assert knob in str(raised.value)
        assert RULES[knob] in str(raised.value)
        assert repr(value) in str(raised.value)

    @pytest.mark.parametrize(
        ("bounds", "spent"),
        [
            ({}, None),
            ({"max_episodes": 4, "max_steps": 31}, None),
            ({"max_episodes": 3}, StopReason.MAX_EPISODES),
            ({"max_steps": 30}, StopReason.MAX_STEPS),
            ({"max_steps": 29}, StopReason.MAX_STEPS),
            ({"max_episodes": 3, "max_steps": 30}, StopReason.MAX_EPISODES),
        ],
    )
    def test_it_tells_which_bound_three_windows_of_ten_steps_reach(self, bounds: Any, spent: Any) -> None:
        assert LoopConfig(**bounds).spent(3, 30) is spent

    def test_a_target_is_reached_from_its_score_on(self) -> None:
        config = LoopConfig(target_score=-100.0)
        assert [config.reaches_target(EvalMetrics(score)) for score in (-100.1, -100.0, 5.0)] == [False, True, True]
        assert not config.reaches_target(None)
        assert not LoopConfig().reaches_target(EvalMetrics(1e9))

    def test_it_is_reached_from_above_where_lower_scores_are_better(self) -> None:
        config = LoopConfig(target_score=2.0)
        errors = [EvalMetrics(score, lower_is_better=True) for score in (2.1, 2.0, -3.0)]
        assert [config.reaches_target(error) for error in errors] == [False, True, True]

    def test_a_config_that_was_checked_stays_as_it_is(self) -> None:
        with pytest.raises(FrozenInstanceError):
            LoopConfig().max_episodes = 0  # type: ignore[misc]

    @pytest.mark.parametrize(
        ("on_converged", "is_live", "watches"),
        [
            ("auto", True, True),
            ("auto", False, False),
            ("stop", True, False),
            ("stop", False, False),
            ("watch", True, True),
            ("watch", False, True),
        ],
    )
    def test_only_auto_asks_whether_the_pipeline_is_live(self, on_converged: Any, is_live: bool, watches: bool) -> None:
        assert LoopConfig(on_converged=on_converged).watches(is_live=is_live) is watches


def status(**more: Any) -> LoopStatus:
    values: dict[str, Any] = {
        "state": LoopState.ACTIVE,
        "window_id": 9,
        "env_steps": 1000,
        "seconds": 20.0,
        "metrics": None,
        "best": None,
        "probed_param": None,
        "probed_value": None,
        "windows_to_evaluation": 3,
        "no_improvement": 0,
        "dormant_threshold": 20,
    }
    return LoopStatus(**(values | more))


class TestStatus:
    def test_the_speed_is_steps_by_wall_time(self) -> None:
        assert status().steps_per_second == 50.0
        assert status(seconds=0.0).steps_per_second == 0.0

    def test_the_next_evaluation_is_as_far_as_its_windows_at_the_pace_so_far(self) -> None:
        assert status().seconds_to_evaluation == 6.0  # ten windows took 20 s
        assert status(windows_to_evaluation=0).seconds_to_evaluation == 0.0

    def test_before_the_first_window_nothing_is_estimated(self) -> None:
        assert status(window_id=-1, seconds=5.0).seconds_to_evaluation == 0.0
