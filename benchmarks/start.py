"""From the shell to the first update, to the end of a run, and back to the prompt."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._results import Row, Spread, seeds_of, table
from benchmarks._suite import ROOT, Measurement, MeasurementError, Options, environment

TITLE = "Start"
SEEDS = (0, 1, 2, 3, 4)
PAIRS = 5
FRAMEWORKS = {"tf": "TensorFlow", "torch": "PyTorch"}
MARKS = {
    "collected": "the first window is collected",
    "updated": "it is learned from, all compiled",
    "ended": "CartPole is solved, recognised and reported",
    "left": "the prompt is back",
}
COMMANDS = {
    "bare": ("-c", "pass"),
    "version": ("-m", "tensor_optix.cli", "--version"),
    "help": ("-m", "tensor_optix.cli", "--help"),
}

_RUN = """
import json, sys, time
begun, marks = float(sys.argv[1]), {}

def mark(name):
    marks.setdefault(name, [time.monotonic() - begun, time.process_time()])

from tensor_optix.algorithms._ppo import PPOAgent
from tensor_optix.cli import main
learn = PPOAgent.learn

def timed(agent, window):
    mark("collected")
    learned = learn(agent, window)
    mark("updated")
    return learned

PPOAgent.learn = timed
sys.argv[1:] = sys.argv[2:]
main()
mark("ended")
print(json.dumps(marks))
"""


def plan(options: Options) -> Iterator[Measurement]:
    """Return the runs, both frameworks in turn, and the short commands beside the bare interpreter."""
    for seed in options.seeds or SEEDS:
        for framework in FRAMEWORKS:
            yield Measurement(f"{framework}-seed{seed}", partial(_run, framework, seed))
    for pair in range(PAIRS):
        yield Measurement(f"pair{pair}", partial(_commands, is_odd=bool(pair % 2)))


def _run(framework: str, seed: int) -> dict[str, Any]:
    """Train CartPole as a user does, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["train", "CartPole-v1", "--framework", framework, "--seed", str(seed), "--no-progress", "--json"]
        command += ["--run-dir", str(Path(folder) / "run")]
        output, left = _timed(lambda begun: ("-c", _RUN, str(begun), *command))
    report, marks = map(json.loads, output.splitlines()[-2:])
    told = {name: report[name] for name in ("best_score", "env_steps", "reason")}
    return {"framework": framework, "seed": seed, "seconds": {**marks, "left": left}, **told}


def _commands(is_odd: bool) -> dict[str, Any]:
    """Time the short commands, in a changing order."""
    found = {name: _timed(lambda _, name=name: COMMANDS[name])[1] for name in sorted(COMMANDS, reverse=is_odd)}
    return {"commands": found}


def _timed(arguments: Callable[[float], Sequence[str]]) -> tuple[str, tuple[float, float]]:
    """Run Python; return what it printed, and its seconds by the clock and of the processor."""
    before, begun = _processor_seconds(), time.monotonic()
    command = [sys.executable, *arguments(begun)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    elapsed, computed = time.monotonic() - begun, _processor_seconds() - before
    if done.returncode:
        raise MeasurementError(f"{' '.join(command[-6:])} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout, (elapsed, computed)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def render(rows: Sequence[Row]) -> list[str]:
    """Return when each mark is reached, and what the short commands take over the interpreter."""
    lines: list[str] = []
    for framework, name in FRAMEWORKS.items():
        if runs := [row for row in rows if row.get("framework") == framework]:
            lines += _marks(name, runs)
    if pairs := [row["commands"] for row in rows if "commands" in row]:
        added = {
            name: Spread.of(1000 * (pair[name][1] - pair["bare"][1]) for pair in pairs) for name in ("version", "help")
        }
        told = " and ".join(f"`tensor-optix --{name}` {spread.text()}" for name, spread in added.items())
        lines += [f"Milliseconds of the processor over the bare interpreter, {len(pairs)} pairs: {told}.", ""]
    return lines


def _marks(framework: str, rows: Sequence[Row]) -> list[str]:
    found = [
        [meaning, *(Spread.of(row["seconds"][mark][kind] for row in rows).text(1) for kind in (0, 1))]
        for mark, meaning in MARKS.items()
    ]
    scores = Spread.of(row["best_score"] for row in rows)
    return [
        *table((f"`train CartPole-v1`, {framework}: until", "Seconds", "Seconds of the processor"), found),
        f"Seeds {seeds_of(rows)}, no other flag; median [min, max]; best score {scores.text()}.",
        "",
    ]
