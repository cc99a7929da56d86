"""Faults that a pipeline reports and the loop counts."""

import pytest

from tensor_optix.core.faults import BAD_STEPS, MOST_IN_A_ROW, BadStepsError
from tensor_optix.errors import BadDataError


def test_an_environment_of_bad_steps_only_is_bad_data_that_tells_what_was_found() -> None:
    with pytest.raises(BadDataError, match="nothing but bad steps") as raised:
        raise BadStepsError("nothing but bad steps", {"reward": 3})
    assert isinstance(raised.value, BadStepsError)
    assert raised.value.found == {"reward": 3}


def test_pipelines_and_loop_agree_on_where_the_counts_are_and_when_a_run_ends() -> None:
    assert (BAD_STEPS, MOST_IN_A_ROW) == ("bad_steps", 3)
