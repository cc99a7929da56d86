"""Faults that a pipeline reports and the loop counts."""

import pytest

from tensor_optix.core.faults import BAD_STEPS, MOST_IN_A_ROW, BadStepsError, EpisodesFailedError, reasons_by_count
from tensor_optix.errors import BadDataError, EnvironmentFailedError


def test_an_environment_of_bad_steps_only_is_bad_data_that_tells_what_was_found() -> None:
    with pytest.raises(BadDataError, match="nothing but bad steps") as raised:
        raise BadStepsError("nothing but bad steps", {"reward": 3})
    assert isinstance(raised.value, BadStepsError)
    assert raised.value.found == {"reward": 3}


def test_pipelines_and_loop_agree_on_where_the_counts_are_and_when_a_run_ends() -> None:
    assert (BAD_STEPS, MOST_IN_A_ROW) == ("bad_steps", 3)


def test_reasons_are_named_the_most_frequent_first() -> None:
    failed = {"hung": {"step: no answer": 2, "reset: no answer": 1}, "died": {"signal 9": 5}}
    assert reasons_by_count(failed) == [
        ("died", "signal 9", 5),
        ("hung", "step: no answer", 2),
        ("hung", "reset: no answer", 1),
    ]


def test_an_environment_without_a_whole_episode_tells_how_it_failed() -> None:
    with pytest.raises(EnvironmentFailedError, match="no whole episode") as raised:
        raise EpisodesFailedError("no whole episode", {"died": {"signal 9": 3}})
    assert isinstance(raised.value, EpisodesFailedError)
    assert raised.value.found == {"died": {"signal 9": 3}}
