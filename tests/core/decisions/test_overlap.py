"""Whether updates are made beside collecting: a table of what both cost."""

import pytest

from tensor_optix.core.decisions.overlap import MARGIN, Overlap


@pytest.mark.parametrize(
    ("step", "update", "gain"),
    [(1.0, 1.0, 2.0), (1.0, 3.0, 4 / 3), (3.0, 1.0, 4 / 3), (1.0, 0.0, 1.0), (0.0, 1.0, 1.0), (0.0, 0.0, 0.0)],
)
def test_the_gain_is_the_shorter_of_both(step: float, update: float, gain: float) -> None:
    found = Overlap(step=step, update=update)
    assert found.gain == pytest.approx(gain)
    assert found.pays is (gain >= MARGIN)


def test_it_says_what_was_measured_and_how_to_have_the_same() -> None:
    assert str(Overlap(step=2e-3, update=1.5e-3)) == (
        "Updating beside collecting (milliseconds: a step 2, its updates 1.5); --learn-beside on does the same without "
        "measuring."
    )
    assert str(Overlap(step=1e-5, update=1.5e-3)).endswith("--learn-beside off does the same without measuring.")
