from pathlib import Path
from typing import Any

import pytest

from benchmarks import population
from benchmarks._suite import Options


def train(task: population.Task, seed: int, folder: Path) -> dict[str, Any]:
    return {"seconds": 10.0 + seed, "steps": task.steps, "failed": 0, "mean": 480.0}


def test_all_are_measured_by_turns_and_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population, "CONTESTANTS", dict.fromkeys(population.CONTESTANTS, train))
    monkeypatch.setenv(population.AGILERL_FOLDER, "somewhere")
    plan = list(population.plan(Options(seeds=(0, 1), only=("CartPole-v1",))))
    assert [one.key.split("/")[1:] for one in plan[:3]] == [[name, "seed0"] for name in population.CONTESTANTS]
    assert len(plan) == 6
    lines = population.render([one.measure() for one in plan])
    assert "| CartPole-v1 | tensor-optix | 2 | 480.0 [480.0, 480.0] | 10 [10, 11] | 163,840" in "\n".join(lines)


def test_agilerl_is_left_out_where_it_is_not_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(population.AGILERL_FOLDER, raising=False)
    plan = list(population.plan(Options(seeds=(0,), only=("CartPole-v1",))))
    assert [one.key.split("/")[1] for one in plan] == ["tensor-optix", "Ray Tune's PBT"]
    assert "AgileRL's tournament is left out, as AGILERL names no folder that has it." in capsys.readouterr().err


def test_agilerl_is_found_in_the_folder_that_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[dict[str, str]] = []

    def run(*arguments: str, **variables: str) -> str:
        asked.append(variables)
        return 'its own words\n{"seconds": 1.0, "steps": 8, "failed": 0, "mean": 200.0}\n'

    monkeypatch.setattr(population, "run_python", run)
    monkeypatch.setenv(population.AGILERL_FOLDER, str(tmp_path))
    (_, _, one) = population.plan(Options(seeds=(0,), only=("CartPole-v1",)))
    assert one.measure()["mean"] == 200.0
    assert asked == [{"PYTHONPATH": str(tmp_path)}]
