"""The suite of speed: its plan, its pairs, its table, and what it takes for the limit."""

import dataclasses
import itertools
from typing import Any

import pytest

from benchmarks import _speed_limit, speed
from benchmarks._speed_tasks import TASKS, VARIANTS
from benchmarks._suite import Options


def row(variant: str, round_: int, wall: float, cpu: float | None, evaluations: int = 0) -> dict[str, Any]:
    by_cpu = {} if cpu is None else {"steps_per_cpu_second": cpu}
    found = {"task": "ppo", "variant": variant, "round": round_, "windows": 40, "steps_per_second": wall, **by_cpu}
    mean = 400.0 if evaluations else None
    return {**found, "warm_up_seconds": 2.0, "evaluations": evaluations, "mean_evaluation": mean}


@pytest.fixture
def with_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_is_there", lambda variant: True)


@pytest.mark.usefixtures("with_peers")
def test_every_variant_of_a_task_runs_in_every_round_backwards_in_every_other() -> None:
    keys = [one.key for one in speed.plan(Options(rounds=2, only=("taxi",)))]
    assert keys == [
        f"taxi/round{n}/{variant}/windows40" for n in (0, 1) for variant in TASKS["taxi"].order[:: -1 if n else 1]
    ]
    of_env = {one.key.split("/")[0] for one in speed.plan(Options(rounds=1, only=("CartPole-v1",)))}
    assert of_env == {"ppo", "ppo8", "dqn"}
    everything = [one.key for one in speed.plan(Options())]
    assert len(everything) == len(set(everything)) == 5 * sum(len(task.order) for task in TASKS.values())


def test_what_is_not_installed_is_left_out_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speed, "_OPTIONAL", ("sbx",))
    monkeypatch.setattr(speed.PathFinder, "find_spec", lambda name, path: None)
    speed._is_there.cache_clear()
    variants = {one.key.split("/")[2] for one in speed.plan(Options(rounds=1, only=("sac",)))}
    speed._is_there.cache_clear()
    assert variants == {"sb3", "tf", "torch", "rlox", "limit"}
    assert "sbx is left out" in capsys.readouterr().err


def test_who_evaluates_is_compared_with_who_evaluates_as_often() -> None:
    pairs = set(speed._pairs())
    assert {("sb3_eval", "tf_eval"), ("sb3", "tf_usual"), ("sbx", "torch_usual"), ("limit", "torch")} <= pairs
    assert not {("sb3_eval", "tf_usual"), ("sb3", "tf_eval"), ("sb3", "sbx")} & pairs


def test_the_table_has_the_ratios_within_the_rounds_by_either_clock() -> None:
    rows = [row("sb3", 0, 100.0, 110.0), row("tf_usual", 0, 800.0, 990.0, 12), row("tf_usual", 1, 700.0, None, 14)]
    text = "\n".join(speed.render(rows))
    ours, peer = VARIANTS["tf_usual"].label, VARIANTS["sb3"].label
    assert f"| {ours} / {peer} | 8.00 [8.00, 8.00] | 9.00 [9.00, 9.00] | 1 |" in text
    assert "| 13 [12, 14] | 400 [400, 400] |" in text
    assert f"| {peer} | 100 (IQR 0) [100, 100] | 2.0 [2.0, 2.0] | 0 [0, 0] | - |" in text


def work(updates: _speed_limit.Updates) -> int:
    return sum(rows * inner * columns for rows, inner, columns in updates.shapes)


def forward(*layers: int) -> int:
    return sum(inputs * outputs for inputs, outputs in itertools.pairwise(layers))


def test_the_limit_of_sac_has_the_products_of_an_update() -> None:
    task = dataclasses.replace(TASKS["sac"], net_arch=(5,))
    updates = _speed_limit._of_sac(task, 3, 1)
    actor, critic, inner_a, inner_c = forward(3, 5, 2), forward(4, 5, 1), 5 * 2, 5 * 1
    forwards, critics = 2 * actor + 6 * critic, 2 * (critic + inner_c)
    # The gradients of all inputs but the network's own.
    assert work(updates) == 256 * (forwards + critics + 2 * critic + (actor + inner_a))
    assert (updates.per_window, updates.learned, updates.followed) == (64, 32 + 2 * 31, 2 * 31)


@pytest.mark.parametrize(
    ("name", "batch", "macs", "per_window", "learned"),
    [
        ("dqn", 64, 3 * forward(4, 5, 2) + 5 * 2, 128, 37),
        ("ppo", 64, 2 * forward(4, 5, 2) + 5 * 2 + 2 * forward(4, 5, 1) + 5 * 1, 320, 37 + 31),
    ],
)
def test_the_limits_of_the_others_too(name: str, batch: int, macs: int, per_window: int, learned: int) -> None:
    task = dataclasses.replace(TASKS[name], net_arch=(5,))
    updates = _speed_limit._UPDATES[task.algorithm](task, *_speed_limit._sizes(task.env))
    assert work(updates) == batch * macs
    assert (updates.per_window, updates.learned, updates.followed) == (per_window, learned, 0)


def test_the_limit_takes_the_time_of_each_window() -> None:
    task = dataclasses.replace(TASKS["ppo"], net_arch=(5,), window=64)
    assert len(_speed_limit.run_limit(task, 2, 0).times) == 3
