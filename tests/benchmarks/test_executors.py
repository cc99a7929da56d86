import pytest

from benchmarks import executors
from benchmarks._suite import Options
from tensor_optix.executors import InProcess


def test_each_executor_is_measured_with_each_number_of_members_and_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "NAP", 0.0)
    monkeypatch.setattr(executors, "MEMBERS", (1, 8))
    monkeypatch.setattr(executors, "EXECUTORS", {"InProcess": (InProcess, 1)})
    plan = list(executors.plan(Options(rounds=2)))
    assert [one.key for one in plan] == [f"InProcess/{members}/{round}" for members in (1, 8) for round in (0, 1)]
    rows = [one.measure() for one in plan]
    assert all(row["ms_per_job"] > 0.0 and row["driver_grew_kib"] >= 0.0 for row in rows)
    assert [line.split(" | ")[1] for line in executors.render(rows) if line.startswith("| InProcess")] == ["1", "8"]
