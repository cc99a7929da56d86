import numpy as np
import pytest

from tensor_optix.algorithms.noise import PinkNoise, WhiteNoise, noise_named, pink_sequences
from tensor_optix.errors import InvalidArgumentError


def series(kind: str, steps: int, streams: int = 200) -> np.ndarray:
    noise, rng = noise_named(kind, 1), np.random.default_rng(0)
    return np.stack([noise.draw(streams, rng)[:, 0].copy() for _ in range(steps)], axis=1)


@pytest.mark.parametrize("kind", ["white", "pink"])
def test_values_have_mean_0_and_variance_1_within_a_step(kind: str) -> None:
    drawn = series(kind, 64, streams=20_000)
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn[:, ::16].mean(0), 0.0, atol=0.05)
    np.testing.assert_allclose(drawn[:, ::16].std(0), 1.0, atol=0.05)


def test_pink_power_falls_as_one_over_the_frequency() -> None:
    power = np.square(np.abs(np.fft.rfft(pink_sequences((500,), 1024, np.random.default_rng(0))))).mean(0)
    frequencies = np.arange(1, 512)
    slope = np.polyfit(np.log(frequencies), np.log(power[1:512]), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.03)


def test_white_noise_forgets_and_pink_noise_remembers() -> None:
    for kind, low, high in (("white", -0.05, 0.05), ("pink", 0.3, 0.9)):
        drawn = series(kind, 512)
        assert low < np.corrcoef(drawn[:, :-8].ravel(), drawn[:, 8:].ravel())[0, 1] < high


def test_streams_and_dimensions_are_independent() -> None:
    noise, rng = PinkNoise(2), np.random.default_rng(0)
    drawn = np.stack([noise.draw(3, rng).copy() for _ in range(4000)]).reshape(4000, 6)
    correlations = np.corrcoef(drawn.T) - np.eye(6)
    assert np.abs(correlations).max() < 0.35


@pytest.mark.parametrize("kind", [WhiteNoise, PinkNoise])
def test_a_saved_stream_goes_on(kind: type) -> None:
    first, rng = kind(2), np.random.default_rng(0)
    for _ in range(5):
        first.draw(3, rng)
    second, copied = kind(2), np.random.default_rng(0)
    copied.bit_generator.state = rng.bit_generator.state
    second.restore(*first.state())
    for _ in range(5):
        np.testing.assert_array_equal(first.draw(3, rng), second.draw(3, copied))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'white', 'pink'.*'brown'"):
        noise_named("brown", 1)
