from pathlib import Path

import numpy as np
import pytest

from examples.market.forecast import OnlineForecaster, SkillEvaluator, forecast, main, skill_of_the_law
from examples.market.prices import RANGING, REGIMES, Market
from tensor_optix import EpisodeData


@pytest.fixture(autouse=True)
def in_a_separate_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_it_beats_the_last_value(seed: int) -> None:
    outcome = forecast(windows=15, seed=seed, drop=0.005)
    assert outcome.best_possible > outcome.skills.skill() > 0.08
    assert outcome.drops > 5
    assert outcome.feed["learned"] == 15 * 200
    assert outcome.feed["gaps"] == outcome.feed["duplicates"] == outcome.feed["dropped"] == 0
    assert outcome.report.windows == len(outcome.skills.mse) == 15


def test_it_never_stops_learning() -> None:
    outcome = forecast(windows=40, seed=0, drop=0.0)
    assert outcome.skills.skill() > 0.08
    assert outcome.report.watch.get("windows", 0) == 0


def test_the_command_prints_the_skill(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--windows", "5", "--window-size", "100", "--change-at", "250"])
    out = capsys.readouterr().out
    assert "  Training Complete" in out
    assert "500 received, 500 learned" in out
    assert float(out.split("after the first")[1].split()[0]) > 0


def window(count: int) -> EpisodeData:
    """Observations, and changes that follow from them without noise."""
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(count, 5))
    changes = np.exp(seen[:, 4]) * (0.3 * seen[:, 0] - 0.2 * seen[:, 3] * seen[:, 1])
    return EpisodeData(
        observations=seen,
        actions=np.zeros(count),
        rewards=np.zeros(count),
        terminated=np.zeros(count, bool),
        truncated=np.zeros(count, bool),
        infos=[{"change": change} for change in changes],
        episode_id=0,
    )


def test_it_finds_the_law_of_what_has_no_noise() -> None:
    agent, data = OnlineForecaster(), window(200)
    agent.learn(data)
    np.testing.assert_allclose(agent.weights, [0.3, 0.0, 0.0, -0.2], atol=1e-3)
    assert agent.act(data.observations[7]) == pytest.approx(data.infos[7]["change"], abs=1e-2)


def test_it_goes_on_from_its_file(tmp_path: Path) -> None:
    agent, other = OnlineForecaster(), OnlineForecaster()
    agent.learn(window(50))
    agent.save_weights(str(tmp_path / "saved"))
    other.load_weights(str(tmp_path / "saved"))
    agent.learn(window(50))
    other.learn(window(50))
    np.testing.assert_array_equal(agent.weights, other.weights)


def test_the_skill_of_the_last_value_is_none() -> None:
    data = window(50)
    assert SkillEvaluator().score(data, {}).primary_score == 0.0


def test_the_law_explains_a_quarter() -> None:
    assert all(regime.phi1**2 + regime.phi2**2 == 0.25 for regime in REGIMES)
    assert skill_of_the_law(Market(1, change_at=0), 20_000) == pytest.approx(RANGING.phi1**2, abs=0.02)
