"""Runs whose first and last tests are short: nearly all the time of a run of a few windows."""

import contextlib
from collections.abc import Iterator

import pytest

from tensor_optix.core.loop import final_evaluation, run_ending, untrained


@contextlib.contextmanager
def last_tests_shortened() -> Iterator[None]:
    """The untrained policy and the last candidates play next to nothing."""
    with pytest.MonkeyPatch.context() as patch:
        for module, constants in (
            (untrained, {"FEWEST_EPISODES": 1, "MOST_EPISODES": 1, "MOST_STEPS": 100, "SHORT_STEPS": 50}),
            (final_evaluation, {"LEADER_WINDOWS": 1, "SHORT_WINDOWS": 1, "ROUNDS": (1,)}),
            (run_ending, {"SHORT_SECONDS": 0.2}),
        ):
            for name, value in constants.items():
                patch.setattr(module, name, value)
        yield
