"""Runs without what takes most of the time of a few windows: their first and last tests, and XLA."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import pytest

from tensor_optix.core.loop import final_evaluation, run_ending, untrained


@contextlib.contextmanager
def last_tests_shortened() -> Iterator[None]:
    """The untrained policy and the last candidates play next to nothing."""
    with pytest.MonkeyPatch.context() as patch:
        for module, constants in (
            (
                untrained,
                {"FEWEST_EPISODES": 1, "MOST_EPISODES": 1, "MOST_STEPS": 100, "LONGEST": 100, "SHORT_STEPS": 50},
            ),
            (final_evaluation, {"LEADER_WINDOWS": 1, "SHORT_WINDOWS": 1, "ROUNDS": (1,)}),
            (run_ending, {"LEADER_WINDOWS": 8, "SHORT_SECONDS": 0.2}),
        ):
            for name, value in constants.items():
                patch.setattr(module, name, value)
        yield


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """TensorFlow's agents that are not told whether to compile do not."""
    from tensor_optix.adapters.tensorflow._updater import TFUpdater  # slow, and not for all

    init = TFUpdater.__init__

    @functools.wraps(init)
    def plain(self: Any, objectives: Any, compile: bool | None, *args: Any) -> None:
        init(self, objectives, False if compile is None else compile, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TFUpdater, "__init__", plain)
        yield
