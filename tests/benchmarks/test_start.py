"""The suite of the start: its plan, what it reads of a run, and its table."""

import json
from collections.abc import Callable, Sequence

import pytest

from benchmarks import start
from benchmarks._suite import MeasurementError, Options

MARKS = {"collected": [1.0, 0.5], "updated": [2.0, 1.5], "ended": [3.0, 2.5]}


def test_frameworks_take_turns_with_every_seed() -> None:
    keys = [measurement.key for measurement in start.plan(Options(seeds=(3, 4)))]
    assert keys[:5] == ["tf-seed3", "torch-seed3", "tf-seed4", "torch-seed4", "pair0"]


def test_a_run_tells_its_marks_and_what_it_came_to(monkeypatch: pytest.MonkeyPatch) -> None:
    report = {"best_score": 500.0, "env_steps": 4096, "reason": "dormant", "windows": 2}
    asked: list[Sequence[str]] = []

    def timed(arguments: Callable[[float], Sequence[str]]) -> tuple[str, tuple[float, float]]:
        asked.append(arguments(17.0))
        return f"{json.dumps(report)}\n{json.dumps(MARKS)}\n", (4.0, 3.0)

    monkeypatch.setattr(start, "_timed", timed)
    (first, *_) = start.plan(Options(seeds=(3,)))
    row = first.measure()
    assert list(asked[0][2:8]) == ["17.0", "train", "CartPole-v1", "--framework", "tf", "--seed"]
    assert row["seconds"] == {**MARKS, "left": (4.0, 3.0)}
    assert (row["best_score"], row["env_steps"], row["reason"]) == (500.0, 4096, "dormant")


def test_the_time_of_a_process_is_its_own_and_its_failure_is_told() -> None:
    output, (elapsed, computed) = start._timed(lambda begun: ("-c", f"print({begun} > 0)"))
    assert output == "True\n"
    assert elapsed > 0.0
    assert computed > 0.0
    with pytest.raises(MeasurementError, match="failed"):
        start._timed(lambda _: ("-c", "raise SystemExit(3)"))


def test_the_tables_say_when_each_mark_is_reached() -> None:
    seconds = {**MARKS, "left": [4.0, 3.0]}
    rows = [
        {"framework": "torch", "seed": seed, "seconds": seconds, "best_score": 500.0, "env_steps": 1} for seed in (0, 1)
    ]
    commands = {"bare": [0.02, 0.02], "version": [0.07, 0.06], "help": [0.12, 0.1]}
    lines = start.render([*rows, {"commands": commands}])
    assert "| it is learned from, all compiled | 2.0 [2.0, 2.0] | 1.5 [1.5, 1.5] |" in lines
    assert not any("TensorFlow" in line for line in lines)
    assert any("`tensor-optix --version` 40 [40, 40] and `tensor-optix --help` 80 [80, 80]" in line for line in lines)
