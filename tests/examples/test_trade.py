"""The traders' command, short; `make soak` runs it whole."""

from pathlib import Path

import pytest

from examples.market.trade import main, trade


@pytest.fixture(autouse=True)
def in_a_separate_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("plain_graphs", "short_last_tests")
def test_the_command_learns_reports_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--windows", "2", "--window-size", "256", "--drop", "0.02", "--held-out-ticks", "50"])
    out = capsys.readouterr().out
    assert "  Training Complete" in out
    assert "512 received, 512 learned, 0 dropped, 0 quarantined" in out
    assert "0 gaps, 0 late, 0 duplicates" in out
    assert [line.split()[0] for line in out.splitlines()[-5:]] == ["random", "always", "before", "after", "by"]
    assert Path("runs/market/manifest.json").exists()

    outcome = trade(windows=4, window_size=256, drop=0.02, held_out_ticks=50, resume=True)
    assert outcome.report.windows == 4
    assert outcome.feed["learned"] == 4 * 256
    assert outcome.feed["gaps"] == outcome.feed["duplicates"] == outcome.feed["dropped"] == 0
    assert outcome.feed["reconnects"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_it_learns_to_trade(seed: int) -> None:
    sharpes = trade(seed=seed).sharpes
    assert sharpes["after"] > 0.25 > 0.0 > sharpes["random"]
    assert sharpes["after"] > 0.8 * sharpes["by the law"]
