"""What the loop itself costs: judging, saving, tuning and logging, as a share of a run's wall time."""

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._results import Row, Spread, table
from benchmarks._suite import Measurement, Options
from benchmarks.learning import train

TITLE = "Overhead of the loop"
ENV = "CartPole-v1"
WINDOWS = 60
SEEDS = (0, 1, 2, 3, 4)
_PARTS = ("collect", "learn", "validate", "loop")


def plan(options: Options) -> Iterator[Measurement]:
    """Return one run per seed."""
    windows = options.windows or WINDOWS
    for seed in options.seeds or SEEDS:
        yield Measurement(f"{ENV}/seed{seed}/windows{windows}", partial(_measure, seed, windows))


def _measure(seed: int, windows: int) -> dict[str, Any]:
    # A patience that no run uses up: every run is as long as it should be.
    arguments = ("--seed", str(seed), "--max-episodes", str(windows), "--dormant-threshold", str(windows + 100))
    with tempfile.TemporaryDirectory() as folder:
        report = train(ENV, Path(folder) / "run", *arguments)
    return {"seed": seed, "windows": report["windows"], "seconds": report["seconds"]}


def render(rows: Sequence[Row]) -> list[str]:
    """Return where the time of a run goes."""
    lines: list[list[str]] = []
    for windows in sorted({row["windows"] for row in rows}):
        of_length = [row for row in rows if row["windows"] == windows]
        lines += [_line(windows, part, of_length) for part in _PARTS]
    return [
        f"PPO on {ENV} by the command line. `loop` is all that is neither environment and acting (`collect`), nor "
        "`learn`, nor `validate` (the final evaluation at the end included).",
        "",
        *table(("Windows", "Runs", "Part", "Share of wall time, %", "Milliseconds per window"), lines),
    ]


def _line(windows: int, part: str, rows: Sequence[Row]) -> list[str]:
    shares = Spread.of(100 * row["seconds"][part] / row["seconds"]["total"] for row in rows)
    per_window = Spread.of(1000 * row["seconds"][part] / windows for row in rows)
    return [str(windows), str(len(rows)), f"`{part}`", shares.text(2), per_window.text(1)]
