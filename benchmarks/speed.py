"""Training speed: this library and its peers in turn, at the same settings.

`python -m benchmarks.speed --measure TASK/VARIANT` measures one variant in this process and prints JSON.

A window is so many steps of experience and the updates from them. Every variant is timed over the same windows of its
training, as evaluation takes longer the better the policy balances. Neither start-up nor this library's last
evaluation of the best policies is in the time; its checkpoints are, while the peers save nothing.

SBX and rlox are no dependencies of ours: they play where they are installed, or where `PEERS` names the folder of
`pip install --target FOLDER --no-deps sbx-rl==0.28.0 rlox==1.2.0 jax jaxlib flax optax chex tfp-nightly dm-tree
decorator ml_dtypes opt_einsum`. LeanRL is no package: what has its name on PyPI is something else.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from importlib.machinery import PathFinder
from typing import Any

from benchmarks._results import Row, Spread, table
from benchmarks._speed_limit import run_limit
from benchmarks._speed_ours import run_ours
from benchmarks._speed_peers import run_rlox, run_sb3, run_sbx
from benchmarks._speed_tasks import TASKS, VARIANTS, Task, Trace
from benchmarks._suite import Measurement, MeasurementError, Options, run_python

TITLE = "Speed"
PEERS = "PEERS"
_OPTIONAL = ("sbx", "rlox")


def plan(options: Options) -> Iterator[Measurement]:
    """Return every variant of every task in every round."""
    for name, task in TASKS.items():
        if options.only and not {name, task.env} & set(options.only):
            continue
        windows = options.windows or task.windows
        order = [variant for variant in task.order if _is_there(variant)]
        for round_ in range(options.rounds):
            for variant in order[:: -1 if round_ % 2 else 1]:
                key = f"{name}/round{round_}/{variant}/windows{windows}"
                yield Measurement(key, partial(_measure_apart, name, variant, windows, round_))


@cache
def _is_there(variant: str) -> bool:
    """Return False, and say so, for a variant of what is not installed."""
    by = VARIANTS[variant].by
    if by not in _OPTIONAL or PathFinder.find_spec(by, [*sys.path, os.environ.get(PEERS, "")]):
        return True
    print(f"speed: {by} is left out: it is not installed, nor does {PEERS} name a folder that has it.", file=sys.stderr)
    return False


def _measure_apart(name: str, variant: str, windows: int, round_: int) -> dict[str, Any]:
    arguments = ("--measure", f"{name}/{variant}", "--windows", str(windows), "--seed", str(round_))
    # A compiler cache of its own, or only the first round would pay for compiling.
    with tempfile.TemporaryDirectory() as folder:
        variables = _variables(VARIANTS[variant].by, TASKS[name].threads, folder)
        found = json.loads(run_python("-m", "benchmarks.speed", *arguments, **variables).splitlines()[-1])
    return {"task": name, "variant": variant, "round": round_, "windows": windows, **found}


def _variables(by: str, threads: int, folder: str) -> Mapping[str, str]:
    variables = {f"{pool}_NUM_THREADS": str(threads) for pool in ("OMP", "MKL", "OPENBLAS", "RAYON")}
    if by in _OPTIONAL:  # for it alone: what comes with it could take the place of what the others import
        path = [os.environ.get(PEERS), os.environ.get("PYTHONPATH")]
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    return {**variables, "TMPDIR": folder, "TORCHINDUCTOR_CACHE_DIR": f"{folder}/compiled"}


def measure(task: Task, variant: str, windows: int, seed: int) -> dict[str, Any]:
    """Train one variant in this process and return its speed in steps per second of the measured windows.

    Raises:
        MeasurementError: it did not do what it should have, and so did not measure it.
    """
    trace = _run(task, variant, task.warm_up + windows, seed)
    if len(trace.times) != task.warm_up + windows + 1:
        raise MeasurementError(f"{variant} ran {len(trace.times) - 1} windows, not {task.warm_up + windows}.")
    scores, steps = trace.scores[task.warm_up :], windows * task.window
    return {
        "steps_per_second": steps / (trace.times[-1] - trace.times[task.warm_up]),
        "steps_per_cpu_second": steps / (trace.cpu_times[-1] - trace.cpu_times[task.warm_up]),
        "first_window_seconds": trace.times[1] - trace.times[0],
        "warm_up_seconds": trace.times[task.warm_up] - trace.times[0],
        "evaluations": len(scores),
        "mean_evaluation": sum(scores) / len(scores) if scores else None,
    }


def _run(task: Task, name: str, windows: int, seed: int) -> Trace:
    variant = VARIANTS[name]
    if variant.by == "limit":
        return run_limit(task, windows, seed)
    run = {"ours": run_ours, "sb3": run_sb3, "sbx": run_sbx, "rlox": run_rlox}[variant.by]
    return run(task, windows, seed, variant)


def render(rows: Sequence[Row]) -> list[str]:
    """Return the speeds of each task, and their ratios within the rounds."""
    lines = [
        "Variants run in turn, each in a process of its own, on one thread where nothing else is said, and are "
        "compared within a round, after some windows of warm-up, which include compiling with an empty cache. "
        "Medians with [min, max]. A busy machine stretches wall time, and processor time less.",
        "",
        "Ours with its own evaluation, as often as `tensor-optix train` evaluates, is compared with peers that do not "
        "evaluate. Beside `EvalCallback`, which plays 5 greedy episodes after every window, ours does the same. The "
        "measured windows are as many as an ordinary run has: its first ones are evaluated more often than the later.",
        "",
        "The arithmetic limit has the matrix products of the updates and the elementwise work of Adam and of target "
        "networks, by numpy or PyTorch, whichever is faster: no activation, no batch, no step of an environment.",
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
    by_variant = {v: {row["round"]: row for row in rows if row["variant"] == v} for v in VARIANTS}
    speeds = [
        (
            VARIANTS[variant].label,
            Spread.of(row["steps_per_second"] for row in found.values()).with_iqr(),
            Spread.of(row["warm_up_seconds"] for row in found.values()).text(1),
            *_evaluations(list(found.values())),
        )
        for variant, found in by_variant.items()
        if found
    ]
    ratios = [
        (f"{VARIANTS[ours].label} / {VARIANTS[peer].label}", *found)
        for peer, ours in _pairs()
        if (found := _ratios(by_variant[ours], by_variant[peer]))
    ]
    warm_up = f"Warm-up of {task.warm_up} windows, s"
    evaluations = ("Evaluations", "Mean return of them")
    return [
        *table((f"Over {windows} windows", "Steps/s", warm_up, *evaluations), speeds),
        *table(("Ratio of speeds within a round", "By wall time", "By processor time", "Rounds"), ratios),
    ]


def _pairs() -> Iterator[tuple[str, str]]:
    """Yield who is compared: a peer that evaluates with ours that evaluates as often, the others with the others."""
    for peer, one in VARIANTS.items():
        for ours, other in VARIANTS.items():
            is_pair = other.is_ours and not one.is_ours
            if is_pair and (one.evaluates == "every window") == (other.evaluates == "every window"):
                yield peer, ours


def _ratios(ours: Mapping[int, Row], peer: Mapping[int, Row]) -> list[str]:
    """Return the ratios by either clock and the number of rounds; nothing where there is none."""
    rounds = ours.keys() & peer.keys()
    texts = [
        Spread.of(found).text(2)
        if (found := [ours[r][name] / peer[r][name] for r in rounds if name in ours[r] and name in peer[r]])
        else "-"
        for name in ("steps_per_second", "steps_per_cpu_second")
    ]
    return [*texts, str(len(rounds))] if rounds else []


def _evaluations(rows: Sequence[Row]) -> tuple[str, str]:
    means = [row["mean_evaluation"] for row in rows if row["mean_evaluation"] is not None]
    return (Spread.of(row["evaluations"] for row in rows).text(), Spread.of(means).text() if means else "-")


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
