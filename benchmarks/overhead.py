"""What the loop itself costs: judging, saving, tuning and logging, as a share of a run's wall time.

The records of a run are measured apart, in pairs: the same training with them and without, one after the other in one
process, in processor time, which a busy machine does not stretch as much. Beside it stands the time inside of them.
Everything on counts the processes that a tracker begins as well.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks._clocks import seconds_of_children
from benchmarks._results import Row, Spread, table
from benchmarks._suite import Measurement, Options
from benchmarks.learning import train
from tensor_optix.core.loop_callback import LoopCallback

TITLE = "Overhead of the loop"
ENV = "CartPole-v1"
WINDOWS = 60
SEEDS = (0, 1, 2, 3, 4)
_PARTS = ("collect", "learn", "validate", "loop")
PAIRS = 5
"""Of trainings with the records of a run, or with everything, and without, for each seed."""
FASTEST = "tf"
"""The framework in which a window of PPO takes least, so that a share of it is largest."""
OPENING = 12
"""Windows that are not measured: the framework compiles, and trackers are opened."""


def plan(options: Options) -> Iterator[Measurement]:
    """Return one run per seed."""
    windows = options.windows or WINDOWS
    for seed in options.seeds or SEEDS:
        yield Measurement(f"{ENV}/seed{seed}/windows{windows}", partial(_measure, seed, windows))
    for seed in options.seeds or SEEDS[:1]:
        yield Measurement(f"{ENV}/records/seed{seed}/windows{windows}", partial(_measure_records, seed, windows))
        yield Measurement(f"{ENV}/everything/seed{seed}/windows{windows}", partial(_measure_everything, seed, windows))


def _measure(seed: int, windows: int) -> dict[str, Any]:
    # A patience that no run uses up: every run is as long as it should be.
    arguments = ("--seed", str(seed), "--max-episodes", str(windows), "--dormant-threshold", str(windows + 100))
    with tempfile.TemporaryDirectory() as folder:
        report = train(ENV, Path(folder) / "run", *arguments)
    return {"seed": seed, "windows": report["windows"], "seconds": report["seconds"]}


def _measure_records(seed: int, windows: int) -> dict[str, Any]:
    seconds: dict[bool, list[float]] = {True: [], False: []}
    inside: list[float] = []
    _trained(seed, 2, is_recorded=True)  # what is made once is made before
    for pair in range(PAIRS):
        for is_recorded in (True, False) if pair % 2 else (False, True):
            taken, in_records = _trained(seed, windows, is_recorded=is_recorded)
            seconds[is_recorded].append(taken)
            inside += [in_records] if is_recorded else []
    return {"seed": seed, "windows": windows, "with": seconds[True], "without": seconds[False], "inside": inside}


def _measure_everything(seed: int, windows: int) -> dict[str, Any]:
    seconds: dict[bool, list[float]] = {True: [], False: []}
    inside: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/mlflow.db"
        _trained(seed, 2, is_recorded=True, framework=FASTEST, mlflow=store)
        for pair in range(PAIRS):
            for shows in (True, False) if pair % 2 else (False, True):
                found = _trained(seed, windows, is_recorded=shows, framework=FASTEST, mlflow=store if shows else None)
                seconds[shows].append(found[0])
                inside += [found[1]] if shows else []
    return {
        "seed": seed,
        "windows": windows,
        "measured_windows": windows - 1 - OPENING,
        "all_with": seconds[True],
        "all_without": seconds[False],
        "all_inside": inside,
    }


class _Clock(LoopCallback):
    """Takes the processor time by the end of each window, that of all threads, and of processes that were begun."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_window_end(self, window_id: int, eval_metrics: Any) -> None:
        """Note the time."""
        self.times.append(time.process_time() + seconds_of_children())

    @property
    def seconds(self) -> float:
        """From the end of the first windows to that of the last."""
        return self.times[-1] - self.times[min(OPENING, len(self.times) - 1)]

    @property
    def is_counting(self) -> bool:
        """Whether the first windows are over."""
        return len(self.times) > OPENING


def _trained(
    seed: int, windows: int, *, is_recorded: bool, framework: str = "torch", mlflow: str | None = None
) -> tuple[float, float]:
    """Return the processor seconds of a training at full speed, and those inside of what is to be seen of it.

    With a store of MLflow's everything is on.
    """
    from rich.console import Console

    from tensor_optix import RLOptimizer, VectorBatchPipeline, make_agent

    inside: list[float] = []
    clock, watchers = _Clock(), list[LoopCallback]()
    with (
        tempfile.TemporaryDirectory() as folder,
        Path(os.devnull).open("w") as terminal,
        mock.patch(
            "tensor_optix.optimizer.RunRecords", _kind(is_recorded, inside, lambda: mlflow is None or clock.is_counting)
        ),
        mock.patch.dict(os.environ, {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}),
    ):
        if mlflow is not None:
            console = Console(file=terminal, force_terminal=True, width=100)
            watchers += _watchers(lambda: made.status, console, clock, inside, mlflow)
        made = RLOptimizer(
            make_agent(ENV, "ppo", framework, seed=seed, device="cpu"),
            VectorBatchPipeline((ENV, 8), window_size=256),
            val_pipeline=None,
            checkpoint_dir=Path(folder) / "run",
            max_windows=windows,
            dormant_threshold=windows + 100,
            seed=seed,
            callbacks=[*watchers, clock],
        )
        made.run()
        return clock.seconds, sum(inside)


def _watchers(
    status: Callable[[], Any], console: Any, clock: _Clock, inside: list[float], mlflow: str
) -> list[LoopCallback]:
    """Return the live view and the three trackers, whose time is taken."""
    from tensor_optix.callbacks import Mlflow, TensorBoard, Wandb
    from tensor_optix.callbacks.progress import Progress

    def counted(kind: type[Any], *names: str) -> type[Any]:
        def timed(name: str) -> Any:
            def call(self: Any, *args: Any) -> None:
                begun, counts = time.thread_time(), clock.is_counting
                getattr(kind, name)(self, *args)
                inside.append((time.thread_time() - begun) * counts)

            return call

        return type(f"Measured{kind.__name__}", (kind,), {name: timed(name) for name in names})

    view = counted(Progress, "on_loop_start", "on_episode_end", "on_loop_stop")
    made = [counted(TensorBoard, "_send_new")(), counted(Wandb, "_send_new")()]
    return [view(status, console), *made, counted(Mlflow, "_send_new")(tracking_uri=mlflow)]


def _kind(is_recorded: bool, inside: list[float], counts: Callable[[], bool]) -> type:
    """Return records whose time is taken, or that write nothing."""
    from tensor_optix.core.loop.run_records import RunRecords

    def timed(name: str) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not is_recorded:
                return {} if name == "positions" else None
            begun = time.thread_time()
            try:
                return getattr(RunRecords, name)(self, *args, **kwargs)
            finally:
                inside.append((time.thread_time() - begun) * counts())

        return call

    names = ("begin", "event", "window", "timing", "conclude", "positions")
    return type("MeasuredRecords", (RunRecords,), {name: timed(name) for name in names})


def render(rows: Sequence[Row]) -> list[str]:
    """Return where the time of a run goes, and what its records cost."""
    return [
        *_render_parts([row for row in rows if "seconds" in row]),
        *_render_records([row for row in rows if "with" in row]),
        *_render_everything([row for row in rows if "all_with" in row]),
    ]


def _render_parts(rows: Sequence[Row]) -> list[str]:
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


def _render_records(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    lines = [[str(row["windows"]), str(len(row["with"])), *_cost(row)] for row in rows]
    return [
        "The records of a run (`events.jsonl`, `windows.jsonl`, `timings.jsonl`), which its page shows: PPO on "
        f"{ENV} at full speed, 2,048 steps a window in 8 environments, without validation; the same training with "
        "them and without, in turn, in processor time.",
        "",
        *table(("Windows", "Pairs", "With to without, %", "Time inside of them, %", "Milliseconds per window"), lines),
    ]


def _render_everything(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    lines = [[str(row["windows"]), str(len(row["all_with"])), *_cost_of_everything(row)] for row in rows]
    head = ("Windows", "Pairs", "With to without, %", "Milliseconds per window", "Milliseconds inside", "Inside, %")
    return [
        "",
        "Everything on: the records, the live view in a terminal, and the curves in TensorBoard, in MLflow's SQLite "
        "store and in W&B offline, each of which a thread writes. In pairs as above, with TensorFlow, in the processor "
        "time of all threads and of W&B's own process; the first windows, in which TensorFlow compiles and "
        "trackers are opened, are left out. The time inside is that of the records, of the view and of the three "
        "threads in the same windows, which other work on the machine stretches as it stretches the rest.",
        "",
        *table(head, lines),
    ]


def _cost_of_everything(row: Mapping[str, Any]) -> list[str]:
    pairs = list(zip(row["all_with"], row["all_without"], strict=True))
    windows = [1000 * taken / row["measured_windows"] for taken in row["all_with"]]
    inside = [1000 * taken / row["measured_windows"] for taken in row["all_inside"]]
    return [
        Spread.of(100 * (one / other - 1) for one, other in pairs).text(2),
        Spread.of(windows).text(1),
        Spread.of(inside).text(2),
        Spread.of(100 * part / (whole - part) for part, whole in zip(inside, windows, strict=True)).text(2),
    ]


def _cost(row: Mapping[str, Any]) -> list[str]:
    ratios = Spread.of(100 * (one / other - 1) for one, other in zip(row["with"], row["without"], strict=True))
    shares = Spread.of(100 * part / whole for part, whole in zip(row["inside"], row["with"], strict=True))
    per_window = Spread.of(1000 * part / row["windows"] for part in row["inside"])
    return [ratios.text(2), shares.text(2), per_window.text(2)]
