import numpy as np
import pytest

from benchmarks.calibration import FAMILIES, PATIENCE, draw_curves, stops


def test_without_noise_the_loop_stops_one_patience_after_the_last_rise() -> None:
    curves = draw_curves(np.random.default_rng(0), 40, 250)
    rows = np.flatnonzero(np.isin(curves.family, [FAMILIES.index("saturating"), FAMILIES.index("drifting down")]))
    ends = stops(curves.truth, is_exact=True)
    np.testing.assert_allclose(ends[rows], np.ceil(curves.end[rows]) + PATIENCE, atol=1)


def test_noise_neither_stops_it_early_nor_keeps_it_up() -> None:
    rng = np.random.default_rng(1)
    curves = draw_curves(rng, 400, 450)
    noise = np.exp(rng.uniform(np.log(0.01), np.log(0.5), (400, 1)))
    ends = stops(curves.truth + noise * rng.normal(size=curves.truth.shape))
    still = curves.truth.max(axis=1) - np.maximum.accumulate(curves.truth, axis=1)[np.arange(400), ends]
    assert np.mean(still > 0.05) <= 0.07
    assert np.median(ends - curves.end) <= 1.6 * PATIENCE


@pytest.mark.parametrize("scores", [[0.0] * 100, list(range(100))])
def test_constant_scores_end_after_the_patience_and_rising_ones_never(scores: list[float]) -> None:
    assert stops(np.array([scores], float))[0] == (PATIENCE if scores[-1] == 0 else 100)
