from pathlib import Path

import numpy as np
import pytest

from benchmarks import curves
from benchmarks.__main__ import SUITES, main
from benchmarks._suite import MeasurementError, Options
from tensor_optix import Patience


def run_of(returns: np.ndarray, env: str = "A") -> curves.Run:
    steps = np.linspace(200.0, 400_000.0, len(returns))
    return curves.Run(f"ppo__{env}_1", env, steps, np.asarray(returns, float))


def rising(n: int = 2_000, end: int = 300) -> np.ndarray:
    return 100.0 * np.minimum(np.arange(n) / end, 1.0) + np.random.default_rng(0).normal(0.0, 1.0, n)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    runs = {f"ppo__Env{n}-v0_1": np.array([run_of(rising()).steps, rising()], np.float32) for n in range(2)}
    short = np.array([np.arange(10), np.arange(10)])
    np.savez(tmp_path / "curves.npz", **runs, ppo__Short_1=short)
    return tmp_path


def test_it_is_a_suite_and_its_folder_comes_from_the_option_or_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SUITES["curves"] is curves
    monkeypatch.setattr(curves, "GRID", {"saturating": (3.5,)})
    monkeypatch.delenv(curves.FOLDER_VARIABLE, raising=False)
    (by_option,) = curves.plan(Options(curves=folder))
    found = by_option.measure()
    assert found["environments"] == 2
    assert found["figures"]["the loop"]["n"] == 2 * len(curves.OFFSETS)
    assert found["figures"]["the loop"]["reached"] == 1.0
    monkeypatch.setenv(curves.FOLDER_VARIABLE, str(folder))
    (by_variable,) = curves.plan(Options())
    assert by_variable.measure() == found
    assert "the loop" in "\n".join(curves.render([{"key": by_variable.key, **found}]))


def test_without_a_folder_it_says_how_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(curves.FOLDER_VARIABLE, raising=False)
    assert main(["curves", "--results", str(tmp_path)]) == 1
    assert "pass --curves FOLDER, or set TENSOR_OPTIX_CURVES" in capsys.readouterr().err
    with pytest.raises(MeasurementError, match="no learning curves at"):
        curves.load(tmp_path)


def test_the_truth_is_the_smoothed_curve() -> None:
    truth = curves.truth_of(run_of(np.concatenate([np.zeros(500), np.full(500, 10.0)])))
    assert truth.share[0] == 0.0
    assert truth.share[-1] == 1.0
    assert truth.reached == pytest.approx(200_000.0, rel=0.06)
    assert truth.share_at(0.0) == 0.0


def test_a_run_that_is_not_stopped_ends_at_its_final_level() -> None:
    made = curves.replay(run_of(np.arange(2_000.0)), 0)
    assert curves.of_loop(made) == curves.outcome(made, Patience()) == (1.0, made.length / made.truth.reached)


def test_the_loop_stops_a_run_that_is_over() -> None:
    share, ratio = curves.of_loop(curves.replay(run_of(rising()), 683))
    assert share > 0.95
    assert ratio < 6.0


def test_held_out_constants_are_those_that_are_best_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "GRID", {"saturating": (0.01, 3.5)})
    late = np.concatenate([rising(70, 20), 100.0 + rising(330, 20)])
    chosen = curves.held_out([curves.replay(run_of(late, env), 0) for env in "AB"])
    assert (chosen[:, 0] >= 0.95).all()
