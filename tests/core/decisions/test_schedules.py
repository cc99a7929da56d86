"""A value on a schedule falls from its first to 0 over the run, and never rises."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core.decisions.schedules import LinearSchedule, is_schedule, lowered, taken_apart
from tensor_optix.errors import HyperparamError

RATE = LinearSchedule(0.5)


@pytest.mark.parametrize(("progress", "value"), [(0.0, 0.5), (0.25, 0.375), (0.5, 0.25), (1.0, 0.0)])
def test_it_is_linear_to_zero(progress: float, value: float) -> None:
    assert RATE.at(progress) == value


def test_schedules_are_taken_out_with_their_first_values_in_their_places() -> None:
    params, schedules = taken_apart({"learning_rate": "lin_3e-4", "clip_ratio": "lin_0.2", "gamma": 0.9}, "PPO")
    assert params == {"learning_rate": 3e-4, "clip_ratio": 0.2, "gamma": 0.9}
    assert schedules == {"learning_rate": LinearSchedule(3e-4), "clip_ratio": LinearSchedule(0.2)}
    assert taken_apart({"gamma": 0.9}, "PPO") == ({"gamma": 0.9}, {})


@given(st.floats(1e-9, 1.0))
def test_it_is_read_as_it_is_written(initial: float) -> None:
    written = str(LinearSchedule(initial))
    assert is_schedule(written)
    assert taken_apart({"learning_rate": written}, "PPO")[1] == {"learning_rate": LinearSchedule(initial)}


@pytest.mark.parametrize(
    "text", ["lin_", "lin_x", "lin_nan", "lin_inf", "lin_-1", "lin_1_0", "lin_ 1", "lin_1e999", "lin_e5", "lin_."]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(HyperparamError, match=r"'learning_rate' must be a number or a schedule such as 'lin_3e-4'"):
        taken_apart({"learning_rate": text}, "PPO")


def test_other_hyper_parameters_have_no_schedule() -> None:
    with pytest.raises(HyperparamError, match=r"SAC: hyper-parameter 'gamma' cannot follow a schedule.*learning_rate"):
        taken_apart({"gamma": "lin_0.9"}, "SAC")


@pytest.mark.parametrize(
    ("in_force", "progress", "due"),
    [(0.5, 0.0, {}), (0.5, 0.5, {"learning_rate": 0.25}), (0.1, 0.5, {}), (0.1, 0.9, {"learning_rate": 0.05})],
    ids=["at the start", "falls", "a divergence has lowered it more", "and the schedule is lower by now"],
)
def test_a_value_is_only_lowered(in_force: float, progress: float, due: dict[str, float]) -> None:
    found = lowered({"learning_rate": in_force, "gamma": 0.9}, {"learning_rate": RATE}, progress)
    assert found == pytest.approx(due)


@pytest.mark.parametrize("value", [None, "text", [1.0]])
def test_what_the_agent_has_no_number_for_stays(value: Any) -> None:
    assert lowered({"learning_rate": value}, {"learning_rate": RATE}, 0.5) == {}
    assert lowered({}, {"learning_rate": RATE}, 0.5) == {}
