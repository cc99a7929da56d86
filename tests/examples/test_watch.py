"""The watch on the market, with an agent that learns in no time; `make soak` runs the real one."""

from pathlib import Path

import numpy as np
import pytest

from examples.market import watch as command
from examples.market.watch import Watched, main, watch
from tests.helpers import Momentum

CHANGE = 70


def assert_woke_and_promoted(found: Watched, change_at: int) -> None:
    (woken,) = found.awake
    assert change_at <= woken < change_at + 10
    assert found.asleep[0] < change_at
    assert found.report.watch["promotions"] == 1
    assert found.report.best_score > 0.15  # on ticks that came after it was chosen: no lucky maximum
    on_trial = sorted(found.shadow)
    assert len(on_trial) >= 8
    assert np.mean([found.shadow[w] - found.acted[w] for w in on_trial]) > 0.3  # on the same ticks
    assert found.acted[woken] < -0.2


def test_it_wakes_goes_back_learns_again_and_what_it_learned_is_promoted(tmp_path: Path) -> None:
    agent = Momentum()
    found = watch(windows=125, window_size=64, change_at=CHANGE, drop=0.001, checkpoint_dir=tmp_path, agent=agent)
    assert_woke_and_promoted(found, CHANGE)
    assert agent.weight < 0


def test_the_command_tells_what_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "make_trader", lambda seed: Momentum())
    folder = str(tmp_path / "run")
    main(["--windows", "80", "--window-size", "64", "--change-at", str(CHANGE), "--checkpoint-dir", folder])
    out = capsys.readouterr().out
    assert "trained; the best policy acts" in out
    assert "awake: it learns again" in out
    assert out.endswith(f"The market changed with window {CHANGE}.\n")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_trader_is_watched_over(seed: int, tmp_path: Path) -> None:
    assert_woke_and_promoted(watch(seed=seed, checkpoint_dir=tmp_path), 80)
