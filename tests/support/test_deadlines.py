from typing import Any

import pytest

from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.deadlines import AT_FIRST, LEARNED_FROM, LEAST, Deadline


def test_a_given_one_is_obeyed_whatever_is_seen() -> None:
    deadline = Deadline(0.5)
    deadline.saw(7.0)
    assert deadline.seconds == 0.5


def test_it_is_twenty_times_the_slowest_of_the_first_hundred_and_never_short() -> None:
    deadline = Deadline()
    assert deadline.seconds == AT_FIRST
    for _ in range(LEARNED_FROM):
        deadline.saw(0.01)
    assert deadline.seconds == LEAST
    slow = Deadline()
    slow.saw(10.0)
    assert slow.seconds == 200.0
    for _ in range(LEARNED_FROM):
        slow.saw(50.0 if _ == LEARNED_FROM - 1 else 0.01)  # the last one comes too late to count
    assert slow.seconds == 200.0


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), True, "1"])
def test_one_that_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="step_timeout must be a number of seconds above 0"):
        Deadline(value)
