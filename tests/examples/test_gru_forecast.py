"""The forecaster with a memory learns what the last value alone does not tell, and its command runs."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from examples.gru_forecast import Echo, GRUForecaster, forecast, main
from tensor_optix import LivePipeline


def test_neighbours_in_the_feed_say_nothing_of_each_other() -> None:
    values = np.array([item[0][0] for item in Echo(20_000).stream()])
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.05
    assert np.corrcoef(values[:-3], values[3:])[0, 1] == pytest.approx(0.9, abs=0.02)


@pytest.mark.slow
def test_it_learns_to_remember(tmp_path: Path) -> None:
    outcome = forecast(windows=40, checkpoint_dir=tmp_path)
    assert outcome.report.windows == 40
    assert outcome.report.best_score > 0.6


def test_windows_go_on_with_what_was_remembered() -> None:
    agent = GRUForecaster()
    pipeline = LivePipeline(Echo(31), agent, LivePipeline.every_n_steps(10))
    pipeline.setup()
    first, second = itertools.islice(pipeline.episodes(), 2)
    pipeline.teardown()
    assert first.memories == [None]
    assert second.memories is not None
    again, _ = agent.act_recurrent(second.observations[:1], second.memories)
    assert again[0] == pytest.approx(second.actions[0])


def test_the_command_prints_the_report(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    main(["--windows", "2", "--window-size", "20", "--checkpoint-dir", str(tmp_path)])
    assert "Training Complete" in capsys.readouterr().out
