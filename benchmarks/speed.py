"""Training speed on one thread: Stable-Baselines3 and this library in turn, at the same settings.

`python -m benchmarks.speed --measure TASK/VARIANT` measures one variant in this process and prints JSON.

A window is so many steps of experience and the updates from them. Every variant is timed over the same windows of its
training, as evaluation takes longer the better the policy balances. Neither start-up nor this library's last
evaluation of the best policies is in the time; its checkpoints are, while the peer's evaluation saves nothing.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from benchmarks._results import Row, Spread, table
from benchmarks._speed_ours import run_ours
from benchmarks._speed_peers import run_peer
from benchmarks._speed_tasks import LABELS, TASKS, Task
from benchmarks._suite import Measurement, MeasurementError, Options, run_python

TITLE = "Speed"
_PEERS = ("sb3_eval", "sb3")


def plan(options: Options) -> Iterator[Measurement]:
    """Return every variant of every task in every round."""
    for name, task in TASKS.items():
        windows = options.windows or task.windows
        for round_ in range(options.rounds):
            for variant in task.order[:: -1 if round_ % 2 else 1]:
                key = f"{name}/round{round_}/{variant}/windows{windows}"
                yield Measurement(key, partial(_measure_apart, name, variant, windows, round_))


def _measure_apart(name: str, variant: str, windows: int, round_: int) -> dict[str, Any]:
    arguments = ("--measure", f"{name}/{variant}", "--windows", str(windows), "--seed", str(round_))
    # A compiler cache of its own, or only the first round would pay for compiling.
    with tempfile.TemporaryDirectory() as folder:
        variables = {"TMPDIR": folder, "TORCHINDUCTOR_CACHE_DIR": f"{folder}/compiled"}
        found = json.loads(run_python("-m", "benchmarks.speed", *arguments, **variables))
    return {"task": name, "variant": variant, "round": round_, "windows": windows, **found}


def measure(task: Task, variant: str, windows: int, seed: int) -> dict[str, Any]:
    """Train one variant in this process and return its speed in steps per second of the measured windows.

    Raises:
        MeasurementError: it did not do what it should have, and so did not measure it.
    """
    run = (
        partial(run_peer, evaluates=variant == "sb3_eval") if variant in _PEERS else partial(run_ours, variant=variant)
    )
    trace = run(task, task.warm_up + windows, seed)
    if len(trace.times) != task.warm_up + windows + 1:
        raise MeasurementError(f"{variant} ran {len(trace.times) - 1} windows, not {task.warm_up + windows}.")
    scores = trace.scores[task.warm_up :]
    return {
        "steps_per_second": windows * task.window / (trace.times[-1] - trace.times[task.warm_up]),
        "first_window_seconds": trace.times[1] - trace.times[0],
        "warm_up_seconds": trace.times[task.warm_up] - trace.times[0],
        "evaluations": len(scores),
        "mean_evaluation": sum(scores) / len(scores) if scores else None,
    }


def render(rows: Sequence[Row]) -> list[str]:
    """Return the speeds of each task, and their ratios within the rounds."""
    lines = [
        "One thread. Variants run in turn, each in a process of its own, and are compared within a round, after some "
        "windows of warm-up, which include compiling with an empty cache. Medians with [min, max].",
        "",
    ]
    for name, task in TASKS.items():
        of_task = [row for row in rows if row["task"] == name]
        if of_task:
            lines += [task.about, ""]
        for windows in sorted({row["windows"] for row in of_task}):
            lines += _compared(task, windows, [row for row in of_task if row["windows"] == windows])
    return lines


def _compared(task: Task, windows: int, rows: Sequence[Row]) -> list[str]:
    by_variant = {v: {row["round"]: row for row in rows if row["variant"] == v} for v in LABELS}
    speeds = [
        (
            LABELS[variant],
            Spread.of(row["steps_per_second"] for row in found.values()).with_iqr(),
            Spread.of(row["warm_up_seconds"] for row in found.values()).text(1),
            _mean_evaluation(list(found.values())),
        )
        for variant, found in by_variant.items()
        if found
    ]
    ratios = []
    for peer, ours in ((peer, ours) for peer in _PEERS for ours in LABELS if ours not in _PEERS):
        rounds = by_variant[ours].keys() & by_variant[peer].keys()
        if rounds:
            ratio = Spread.of(_ratio(by_variant[ours][r], by_variant[peer][r]) for r in rounds)
            ratios.append((f"{LABELS[ours]} / {LABELS[peer]}", ratio.text(2), str(len(rounds))))
    warm_up = f"Warm-up of {task.warm_up} windows, s"
    return [
        *table((f"Over {windows} windows", "Steps/s", warm_up, "Steps per evaluation episode"), speeds),
        *table(("Ratio of speeds within a round", "Median [min, max]", "Rounds"), ratios),
    ]


def _ratio(ours: Row, peer: Row) -> float:
    return ours["steps_per_second"] / peer["steps_per_second"]


def _mean_evaluation(rows: Sequence[Row]) -> str:
    lengths = [row["mean_evaluation"] for row in rows if row["mean_evaluation"] is not None]
    return Spread.of(lengths).text() if lengths else "-"


def _main() -> None:
    known = [f"{name}/{variant}" for name, task in TASKS.items() for variant in task.order]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description="Measure one variant.")
    parser.add_argument("--measure", required=True, choices=known, metavar="TASK/VARIANT")
    parser.add_argument("--windows", type=int, help="default: the task's own")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    name, _, variant = args.measure.partition("/")
    print(json.dumps(measure(TASKS[name], variant, args.windows or TASKS[name].windows, args.seed)))


if __name__ == "__main__":
    _main()
