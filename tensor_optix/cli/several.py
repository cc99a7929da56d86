"""`tensor-optix train --seeds N`, and `resume` of what it made: several runs as one job."""

import argparse
import contextlib
import dataclasses
import functools
import json
import signal
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tensor_optix.cli import exit_codes
from tensor_optix.cli.describing import with_measured_environments
from tensor_optix.cli.flags import Given
from tensor_optix.core.decisions.intervals import mean_interval
from tensor_optix.core.storage.atomic import DirectoryLock
from tensor_optix.core.training_report import StopReason, TrainingReport, score_text
from tensor_optix.errors import InvalidArgumentError, JobCancelledError
from tensor_optix.executors import Event, Executor, InProcess, Processes, RayExecutor
from tensor_optix.factory import resolve_framework
from tensor_optix.multirun.jobs import TRAIN
from tensor_optix.multirun.lines import Lines
from tensor_optix.multirun.seeds import SeveralSeeds
from tensor_optix.runs import RunDescription
from tensor_optix.support.arguments import is_whole
from tensor_optix.support.commands import file_name_of, named_run
from tensor_optix.support.signals import stop_on_signals
from tensor_optix.support.terminal import say

_JOBS = TRAIN.partition(":")[0]
_BACKENDS = {"torch": ["tensor_optix.adapters.pytorch.backend"], "tf": ["tensor_optix.adapters.tensorflow.backend"]}
"""What workers import while nothing is known of their jobs but the framework."""


@contextlib.contextmanager
def started(args: argparse.Namespace, given: Given) -> Generator[Processes | None]:
    """Yield workers that import the framework while this process checks what they are to do.

    Yields None where one process does all, or where the threads of the workers are not known before they are measured.

    Args:
        args: `seeds`, `population`, `workers`, `executor` and `ray_address`.
        given: the settings that were given.
    """
    threads, workers = given.get("threads", 1), min(args.workers or 1, args.seeds or args.population or 1)
    is_ray = args.executor == "ray" or args.ray_address is not None
    if workers < 2 or is_ray or not is_whole(threads) or threads < 1:
        yield None
        return
    framework = resolve_framework(given.get("framework", "auto"))
    with Processes(workers, threads=int(threads)) as early:
        early.start([_JOBS, *_BACKENDS[framework]])
        yield early


def train_seeds(args: argparse.Namespace, run: RunDescription, given: Given, early: Processes | None = None) -> int:
    """Train several seeds, and return the exit code.

    Args:
        args: `seeds`, `workers`, `run_dir`, and as of `resume_seeds`.
        run: what each trains.
        given: the settings that were given.
        early: workers that are there already, see `started`.
    """
    first, workers = given.get("seed", 0), args.workers or 1
    seeds = range(first, first + args.seeds)
    folder = args.run_dir or Path("runs") / f"{file_name_of(run.env)}-{run.algorithm}-seeds{seeds[0]}-{seeds[-1]}"
    with sole(folder):
        measure = None if "n_envs" in given else functools.partial(measured, given=given, workers=workers, early=early)
        several = SeveralSeeds.begun(folder, run, seeds, workers, measure)
        say(f"Training {args.seeds} seeds of {run.env} with {run.algorithm}, in {folder}", file=sys.stderr)
        return _finish(several, workers, args, early)


def resume_seeds(args: argparse.Namespace, bounds: Mapping[str, object]) -> int:
    """Go on with several seeds, and return the exit code.

    Args:
        args: `run_dir`, `allow_module`, `no_progress`, `json`, `report`.
        bounds: what ends the runs, where it is to be changed.
    """
    with sole(args.run_dir):
        several = SeveralSeeds.read(args.run_dir, args.allow_module)
        if bounds:
            several.bound(bounds)
        return _finish(several, several.description.workers, args)


def measured(run: RunDescription, *, given: Given, workers: int, early: Processes | None = None) -> RunDescription:
    """Return a run with its number of environments as measured, which is printed."""
    if early is not None:
        early.await_start()  # they would be measured, too
    found, about = with_measured_environments(run, given)
    say(about, file=sys.stderr)
    # Where workers have the cores, environments get no processes that nobody has asked for.
    return found if workers == 1 else dataclasses.replace(found, async_envs=False)


@contextlib.contextmanager
def sole(folder: Path) -> Generator[None]:
    """Refuse a second driver of a folder, which is made where it is missing."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = DirectoryLock(folder)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def executor_of(workers: int, threads: int, args: argparse.Namespace, early: Processes | None = None) -> Executor:
    """Return what runs so many jobs at once, on this machine or on a Ray cluster.

    Args:
        workers: jobs at once.
        threads: of each.
        args: `executor` and `ray_address`.
        early: workers that are there already, see `started`.
    """
    if early is not None:
        return early
    if args.executor == "ray" or args.ray_address is not None:
        return RayExecutor(args.ray_address, workers, threads=threads)
    return InProcess() if workers == 1 else Processes(workers, threads=threads)


def add_executor(command: argparse.ArgumentParser) -> None:
    """Add what runs many jobs."""
    command.add_argument(
        "--executor",
        choices=("processes", "ray"),
        default="processes",
        help="what runs many runs: processes of this machine, or a Ray cluster (default: processes)",
    )
    command.add_argument(
        "--ray-address", metavar="HOST:PORT", help="a Ray cluster that is there (default: one is started here)"
    )


@contextlib.contextmanager
def cancelled_by_signals(executor: Executor) -> Generator[list[int]]:
    """Let a signal cancel the jobs of an executor; yields the signals that came."""
    signals: list[int] = []

    def interrupt(number: int) -> None:
        signals.append(number)
        executor.cancel()

    with stop_on_signals(interrupt):
        yield signals


def _finish(several: SeveralSeeds, workers: int, args: argparse.Namespace, early: Processes | None = None) -> int:
    """Train, test and report."""
    seeds, todo = several.description.seeds, several.unfinished()
    threads, names = several.run(seeds[0]).threads, [several.run_dir(seed).name for seed in todo]
    made = executor_of(min(workers, len(seeds)), threads, args, early)
    with made as executor, cancelled_by_signals(executor) as signals:
        try:
            with shown(names, progress=not args.no_progress) as view:
                errors = several.train(executor, todo, _ending_with_the_first(executor, view))
            reports = several.reports()
            trained = [seed for seed in seeds if seed in reports and reports[seed].best_snapshot is not None]
            if not trained:
                raise errors[0] if errors else InvalidArgumentError(f"No seed in {several.folder} has a policy.")
            with _page_beside(several.folder, executor, is_wanted=args.report) as page:
                test = several.test(executor, trained)
        except JobCancelledError:
            return interrupted(several.folder, several.allow_modules, signals)
    result = several.conclude(test, trained)
    following = {
        "evaluate": evaluate_command(several.folder / result["best"], several.allow_modules),
        "compare": f"tensor-optix compare {named_run(str(several.folder))}",
    }
    if args.json:
        print(json.dumps({**result, "next": following}), flush=True)
    else:
        say("\n".join(_table(several, reports)))
        tell_best(result["best"], test.returns, following["evaluate"])
        say(f"Compare the seeds with: {following['compare']}")
    if args.report:
        say(page())
    if errors:
        raise errors[0]
    nothing = all(report.reason == StopReason.NOTHING_LEARNED.value for report in reports.values())
    return exit_codes.NOTHING_LEARNED if nothing else exit_codes.DONE


def evaluate_command(run_dir: Path, allow_modules: Sequence[str]) -> str:
    """Return the command that evaluates the best policy of a folder.

    Args:
        run_dir: the folder.
        allow_modules: modules and files that the name of the environment may import.
    """
    return f"tensor-optix evaluate {named_run(str(run_dir), _lines(allow_modules))}"


def tell_best(name: str, returns: Sequence[float], evaluate: str) -> None:
    """Print which policy is the best of many, and what it is worth.

    Args:
        name: of the best.
        returns: of the fresh episodes that have confirmed it.
        evaluate: the command that evaluates it.
    """
    score = score_text(float(np.mean(returns)), mean_interval(returns))
    say(f"Best: {name}, {score} over {len(returns)} fresh episodes", flush=True)
    say(f"Evaluate it with: {evaluate}")


def write_page(folder: Path) -> Path:
    """Write the page that compares the runs of a folder into it, and return where it is."""
    from tensor_optix.cli.comparing import page_of  # what draws is loaded where somebody wants a page

    return page_of([folder], folder / "compare.html")


@contextlib.contextmanager
def _page_beside(folder: Path, executor: Executor, *, is_wanted: bool) -> Generator[Callable[[], Path]]:
    """Yield what returns the page of a folder; it is drawn meanwhile where this process only waits for workers."""
    if not is_wanted or executor.workers == 1:
        yield functools.partial(write_page, folder)
        return
    with ThreadPoolExecutor(1, "page") as pool:
        yield pool.submit(write_page, folder).result


@contextlib.contextmanager
def shown(names: Sequence[str], *, progress: bool) -> Generator[Callable[[Event], None]]:
    """Yield what takes the events of an executor: a live view, or nothing."""
    if not progress:
        yield lambda event: None
        return
    with Lines(names) as view:
        yield view


def interrupted(folder: Path, allow_modules: Sequence[str], signals: Sequence[int]) -> int:
    """Print how to go on, and return the exit code."""
    named = named_run(str(folder), _lines(allow_modules))
    say(f"Interrupted, and saved. Resume it with: tensor-optix resume {named}")
    return exit_codes.TERMINATED if signal.SIGTERM in signals else exit_codes.INTERRUPTED


def _ending_with_the_first(executor: Executor, view: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return a watcher that lets the interruption of one run interrupt them all."""

    def watch(event: Event) -> None:
        if event.kind == "told" and event.values.get("interrupted"):
            executor.cancel()
        view(event)

    return watch


def _table(several: SeveralSeeds, reports: Mapping[int, TrainingReport]) -> Sequence[str]:
    lines = []
    for seed, report in reports.items():
        score = score_text(report.best_score, report.best_interval)
        ended = StopReason(report.reason).sentence
        lines.append(f"{several.run_dir(seed).name:<10}  {score:<32}  {report.env_steps:>12,} steps  {ended}")
    return lines


def _lines(modules: Sequence[str]) -> str:
    return "\n".join(modules)
