"""The suite of environments in processes of their own: its plan, its table, and that all variants are measured."""

from typing import Any

import pytest

from benchmarks import workers
from benchmarks._suite import Options


def row(name: str, **ratios: float) -> dict[str, Any]:
    found = {"microseconds": {"ours": 200.0, "peer": 400.0}, "ratios": ratios}
    return {"name": name, "round": 0, "wall": found, "cpu": found}


def test_every_row_is_measured_in_every_round() -> None:
    keys = [one.key for one in workers.plan(Options(rounds=2))]
    assert len(keys) == len(set(keys)) == 2 * (len(workers.SPACES) + 1)


def test_the_table_tells_how_the_peer_compares_and_what_supervision_adds() -> None:
    lines = workers.render([row("10 kB", peer=2.0, unsupervised=0.8), row(workers.IN_PROCESS, unsupervised=1.0)])
    apart, in_process = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[4:6])
    assert apart[-2:] == ["2.00 [2.00, 2.00]", "25.0 [25.0, 25.0] %"]
    assert in_process[-2:] == ["-", "0.0 [0.0, 0.0] %"]


@pytest.mark.parametrize("name", ["100 B", workers.IN_PROCESS])
def test_all_variants_take_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, value in (("N_ENVS", 2), ("STEPS", 2), ("STEPS_IN_PROCESS", 2), ("TURNS", 1)):
        monkeypatch.setattr(workers, limit, value)
    found = workers.measure(name)
    variants = {"ours", "unsupervised"} | ({"peer"} if name == "100 B" else set())
    for kind in ("wall", "cpu"):
        assert set(found[kind]["microseconds"]) == variants
        assert all(ratio > 0.0 for ratio in found[kind]["ratios"].values())
