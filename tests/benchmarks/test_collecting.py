"""The suite of collecting: its plan, its table, and that what it measures takes steps."""

import sys
from typing import Any

import pytest

from benchmarks import collecting
from benchmarks._suite import Options


def row(env: str, sb3: float | None, **more: float) -> dict[str, Any]:
    costs = {"environment": 5.0, "together": 15.0, "single": 20.0, "sb3": sb3} | more
    return {"env": env, "round": 0, "microseconds": costs}


def test_every_environment_is_measured_in_every_round_or_those_that_are_asked_for() -> None:
    keys = [one.key for one in collecting.plan(Options(rounds=2))]
    assert len(keys) == 2 * (len(collecting.ENVS) + len(collecting.IDLE))
    few = [one.key for one in collecting.plan(Options(rounds=2, only=("Taxi-v4", "Ant-v5")))]
    assert few == ["Taxi-v4/round0", "Taxi-v4/round1"]


def test_the_table_tells_what_is_added_and_how_the_peer_compares() -> None:
    lines = collecting.render([row("Taxi-v4", 45.0), row("Taxi-v4", 60.0), row("Blackjack-v1", None)])
    taxi, blackjack = (next(line for line in lines if line.startswith(f"| {env}")) for env in ("Taxi", "Blackjack"))
    cells = [cell.strip() for cell in taxi.strip("|").split("|")]
    assert cells[-3].startswith("10.0")
    assert cells[-2].startswith("15.0")
    assert cells[-1] == "3.50 [3.00, 4.00]"
    assert [cell.strip() for cell in blackjack.strip("|").split("|")][-4::3] == ["-", "-"]


def test_without_the_peer_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "STEPS", 16)
    monkeypatch.setattr(collecting, "TURNS", 1)
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    found = collecting.measure("FrozenLake-v1", 0)
    assert found.pop("sb3") is None
    assert all(cost is not None and cost > 0.0 for cost in found.values())


@pytest.mark.parametrize("env", collecting.IDLE)
def test_what_is_added_is_measured_in_every_kind_of_space(env: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "STEPS", 16)
    monkeypatch.setattr(collecting, "TURNS", 1)
    found = collecting.measure(env, 0)
    assert found["sb3"] is None
    line = collecting.render([{"env": env, "round": 0, "microseconds": found}])[-2]
    assert line.startswith(f"| {collecting.IDLE[env][0]} |")
