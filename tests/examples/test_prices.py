import itertools

import numpy as np
import pytest

from examples.market.prices import FEATURES, RANGING, REGIMES, TRENDING, Market, Tick


def ticks(count: int, seed: int = 0, **options: int) -> list[Tick]:
    return list(itertools.islice(Market(seed, **options).items(), count))


def sharpe(positions: np.ndarray, changes: np.ndarray) -> float:
    earned = positions[:-1] * changes[1:]
    return float(earned.mean() / earned.std())


def test_the_same_seed_gives_the_same_ticks() -> None:
    assert ticks(3000) == ticks(3000)
    assert ticks(10) != ticks(10, seed=1)


def test_it_goes_on_after_any_tick() -> None:
    whole = ticks(1200)
    assert [tick.sequence for tick in whole] == list(range(1200))
    assert list(itertools.islice(Market(0).items(after=1099), 100)) == whole[1100:]


def test_changes_are_those_of_the_price() -> None:
    series = ticks(500)
    ratio = [1000 * np.log(b.price / a.price) for a, b in itertools.pairwise(series)]
    np.testing.assert_allclose([tick.change for tick in series[1:]], ratio, atol=1e-9)
    assert {len(tick.features) for tick in series} == {len(FEATURES)}
    assert np.isfinite([tick.features for tick in series]).all()


@pytest.mark.parametrize("seed", range(3))
def test_what_earns_in_the_first_regime_loses_in_the_second(seed: int) -> None:
    series = ticks(4000, seed, change_at=2000)
    assert [tick.regime for tick in series] == [TRENDING.name] * 2000 + [RANGING.name] * 2000
    changes = np.array([tick.change for tick in series])
    following = np.sign(changes)
    assert sharpe(following[:2000], changes[:2000]) > 0.3
    assert sharpe(following[2000:], changes[2000:]) < -0.3


def test_the_regime_shows_in_what_is_seen() -> None:
    series = ticks(20_000)
    assert {tick.regime for tick in series} == {regime.name for regime in REGIMES}
    seen = np.array([tick.features for tick in series])
    changes = np.array([tick.change for tick in series])
    knowing = np.sign(seen[:, 2] * seen[:, 0] + seen[:, 3] * seen[:, 1])
    assert sharpe(knowing, changes) > abs(sharpe(np.sign(changes), changes)) + 0.1


@pytest.mark.parametrize("length", [0, float("inf"), float("nan")])
def test_a_regime_has_a_length(length: float) -> None:
    with pytest.raises(ValueError, match="regime_length"):
        Market(regime_length=length)
