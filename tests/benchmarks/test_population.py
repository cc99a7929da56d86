from pathlib import Path
from typing import Any

import pytest

from benchmarks import population
from benchmarks._suite import Options


def test_both_are_measured_by_turns_and_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(task: population.Task, seed: int, folder: Path) -> dict[str, Any]:
        return {"seconds": 10.0 + seed, "steps": task.steps, "failed": 0}

    monkeypatch.setattr(population, "CONTESTANTS", {"tensor-optix": train, "Ray Tune's PBT": train})
    monkeypatch.setattr(population, "run_python", lambda *arguments: '{"mean": 480.0}')
    plan = list(population.plan(Options(seeds=(0, 1), only=("CartPole-v1",))))
    assert [one.key.split("/")[1:] for one in plan[:2]] == [["tensor-optix", "seed0"], ["Ray Tune's PBT", "seed0"]]
    assert len(plan) == 4
    lines = population.render([one.measure() for one in plan])
    assert "| CartPole-v1 | tensor-optix | 2 | 480.0 [480.0, 480.0] | 10 [10, 11] | 400,000" in "\n".join(lines)
