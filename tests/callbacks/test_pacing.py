"""How often something is shown or sent."""

import pytest

from tensor_optix.callbacks.pacing import pause_after


@pytest.mark.parametrize(
    ("taken", "busy", "pause"),
    [
        (0.0, 1.0, 1.0),
        (0.004, 1.0, 1.0),
        (0.015, 1.0, 3.0),
        (1.0, 1.0, 5.0),
        (0.003, 0.2, 3.0),
        (0.02, 2.0, 2.0),
        (0.001, 0.0, 5.0),
    ],
)
def test_it_takes_a_two_hundredth_of_the_processor_time_within_its_bounds(
    taken: float, busy: float, pause: float
) -> None:
    assert pause_after(taken, least=1.0, most=5.0, busy=busy) == pytest.approx(pause)
