from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core.loop.step_timer import ENOUGH, ENOUGH_STEPS, MOST, StepTimer


class Bench:
    """A timer, and a clock that the steps move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timer = StepTimer(lambda: self.now)

    def play(self, seconds: Sequence[float], *, envs: int = 1, reset: float = 0.0, says: bool = True) -> None:
        """Play a window; each round of steps takes so many seconds."""
        self.timer.begin()
        self.now += reset
        for one in seconds:
            if says:
                self.timer.tick()
            self.now += one
        self.timer.end(envs * len(seconds))


def test_a_step_is_a_round_over_the_environments_played_in_it() -> None:
    bench = Bench()
    bench.play([0.02] * ENOUGH, envs=5)
    assert bench.timer.step_seconds == pytest.approx(0.004)


def test_nothing_is_said_before_enough_steps_were_timed() -> None:
    bench = Bench()
    assert bench.timer.step_seconds is None
    bench.play([0.02] * (ENOUGH - 1))
    assert bench.timer.step_seconds is None
    bench.play([0.02])
    assert bench.timer.step_seconds == pytest.approx(0.02)


def test_where_steps_are_not_told_whole_windows_are_timed() -> None:
    bench = Bench()
    for _ in range(2):
        assert bench.timer.step_seconds is None
        bench.play([0.02] * (ENOUGH_STEPS // 2), says=False)
    assert bench.timer.step_seconds == pytest.approx(0.02)


def test_of_whole_windows_the_fastest_tells() -> None:
    bench = Bench()
    for waited in (0.4, 0.0, 3.0, 0.2):
        bench.play([0.02] * (ENOUGH_STEPS // 5), says=False, reset=waited)
    assert bench.timer.step_seconds is None
    bench.play([0.02] * (ENOUGH_STEPS // 5), says=False, reset=1.0)
    assert bench.timer.step_seconds == pytest.approx(0.02)


def test_what_lies_between_windows_and_the_resets_are_no_steps() -> None:
    bench = Bench()
    for _ in range(10):
        bench.now += 100.0
        bench.play([0.02] * 10, reset=3.0)
    assert bench.timer.step_seconds == pytest.approx(0.02)


def test_a_window_that_was_broken_off_does_not_count() -> None:
    bench = Bench()
    bench.timer.begin()
    bench.timer.tick()
    bench.now += 50.0
    bench.play([0.02] * ENOUGH)
    assert bench.timer.step_seconds == pytest.approx(0.02)


def test_it_ends_after_enough_to_be_sure() -> None:
    bench = Bench()
    bench.play([0.02] * (MOST + 1))
    bench.play([9.0] * 10 * MOST)
    assert bench.timer.step_seconds == pytest.approx(0.02)


@given(st.integers(0, 2**32 - 1), st.floats(5e-5, 1e-3), st.floats(1.0, 20.0))
def test_a_loaded_machine_that_takes_the_processor_away_for_slices_of_time_changes_nothing(
    seed: int, step: float, load: float
) -> None:
    """Each slice of 3 ms that the run gets is followed by `load` that others get; the pace is as without them."""
    rng, bench, left = np.random.default_rng(seed), Bench(), 0.003
    seconds = []
    for _ in range(400):
        waited, left = 0.0, left - step
        if left < 0.0:
            waited, left = load * 0.003, 0.003 * rng.uniform(0.5, 1.5)
        seconds.append(step + waited)
    bench.play(seconds)
    assert bench.timer.step_seconds == pytest.approx(step)
