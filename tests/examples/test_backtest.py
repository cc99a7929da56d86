"""The backtest's command, short, and its environment against the account that it keeps."""

from pathlib import Path

import numpy as np
import pytest

from examples.market.backtest import EMBARGO, RecordedMarket, backtest, main, recorded
from examples.market.prices import Market
from examples.market.scoring import by_the_law, earned
from tensor_optix import split_by_time


@pytest.fixture(autouse=True)
def in_a_separate_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_environment_earns_what_the_account_does() -> None:
    env, rewards = RecordedMarket(recorded(7, 300)), []
    observation, _ = env.reset(seed=0)
    is_over = False
    while not is_over:
        observation, reward, _, is_over, _ = env.step(by_the_law(observation[None])[0])
        rewards.append(reward)
    np.testing.assert_allclose(rewards, earned(by_the_law, [Market(7)], 300)[:, 0])


@pytest.mark.usefixtures("plain_graphs", "short_last_tests")
def test_the_command_walks_forward_and_tests_each_fold_on_what_came_after(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--ticks", "2400", "--folds", "2", "--windows", "2", "--window-size", "128"])
    out = capsys.readouterr().out
    assert out.count("Test score") == 2
    assert out.count("steps that nothing was chosen by") == 2
    starts = [line for line in out.splitlines() if line.startswith("Ticks: train 0-")]
    assert len(starts) == 2
    assert starts[-1].endswith("-2399")
    assert Path("runs/backtest/fold_1/manifest.json").exists()


@pytest.mark.slow
def test_it_learns_to_trade_on_what_it_has_not_seen() -> None:
    report = backtest(split_by_time(recorded(0, 20_000), embargo=EMBARGO), checkpoint_dir="run")
    assert report.test is not None
    assert report.test.interval is not None
    assert report.test.interval.low > 0.15
