"""`tensor-optix train --evolve N --workers W`, and `resume` of what it made: variants that learn side by side."""

import argparse
import dataclasses
import functools
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from tensor_optix.cli import exit_codes
from tensor_optix.cli.flags import Given
from tensor_optix.cli.several import (
    cancelled_by_signals,
    evaluate_command,
    executor_of,
    interrupted,
    measured,
    shown,
    sole,
    tell_best,
    write_page,
)
from tensor_optix.core.training_report import StopReason
from tensor_optix.errors import JobCancelledError
from tensor_optix.multirun.description import Variants
from tensor_optix.multirun.evolution import Evolution
from tensor_optix.multirun.judging import FEWEST, FIRST
from tensor_optix.runs import RunDescription
from tensor_optix.support.commands import file_name_of
from tensor_optix.support.plain import SavedState
from tensor_optix.support.terminal import say


def train_variants(args: argparse.Namespace, run: RunDescription, given: Given) -> int:
    """Train a run and generations of its variants, and return the exit code.

    Args:
        args: `workers`, `run_dir`, and as of `resume_variants`.
        run: what is trained, with the number of variants.
        given: the settings that were given.
    """
    run, workers = dataclasses.replace(run, seed=given.get("seed", 0)), args.workers or 1
    variants = Variants(variants=run.evolve, generation=min(run.evolve, max(FEWEST, workers)), workers=workers)
    name = f"{file_name_of(run.env)}-{run.algorithm}-variants{run.evolve}-seed{run.seed}"
    folder = args.run_dir or Path("runs") / name
    with sole(folder):
        measure = None if "n_envs" in given else functools.partial(measured, given=given, workers=workers)
        evolution = Evolution.begun(folder, run, variants, measure)
        say(f"Training {run.env} with {run.algorithm}, then {run.evolve} variants, in {folder}", file=sys.stderr)
        return _finish(evolution, workers, args)


def resume_variants(args: argparse.Namespace, bounds: Mapping[str, object]) -> int:
    """Go on with a run and its variants, and return the exit code.

    Args:
        args: `run_dir`, `allow_module`, `no_progress`, `json`, `report`.
        bounds: what ends them, where it is to be changed.
    """
    with sole(args.run_dir):
        evolution = Evolution.read(args.run_dir, args.allow_module)
        if bounds:
            evolution.bound(bounds)
        return _finish(evolution, evolution.description.workers, args)


def _finish(evolution: Evolution, workers: int, args: argparse.Namespace) -> int:
    """Train, test and report."""
    threads = evolution.run(FIRST).threads
    with (
        executor_of(min(workers, evolution.description.generation), threads, args) as executor,
        cancelled_by_signals(executor) as signals,
    ):
        try:
            while evolution.reason is None:
                with shown(evolution.following(), progress=not args.no_progress) as view:
                    evolution.step(executor, view)
            result = evolution.conclude(executor)
        except JobCancelledError:
            return interrupted(evolution.folder, evolution.allow_modules, signals)
    _tell(evolution, result, as_json=args.json)
    if args.report:
        say(write_page(evolution.folder))
    return exit_codes.NOTHING_LEARNED if result["reason"] == StopReason.NOTHING_LEARNED.value else exit_codes.DONE


def _tell(evolution: Evolution, result: SavedState, *, as_json: bool) -> None:
    """Print what it has come to."""
    evaluate = evaluate_command(evolution.folder / result["best"], evolution.allow_modules)
    if as_json:
        print(json.dumps({**result, "next": {"evaluate": evaluate}}), flush=True)
        return
    for one in result["variants"]:
        score = "-" if one["score"] is None else f"{one['score']:,.1f}"
        say(f"variant-{one['number']:<3}  of {one['parent']}  {one['outcome']:<10}  {score:>10}  {_changes(one)}")
    sentence = StopReason(result["reason"]).sentence
    runs = f"{1 + len(result['variants'])} runs" if result["variants"] else "the first run"
    say(f"{sentence}: {result['steps']:,} steps of {runs}")
    tell_best(result["best"], result["returns"], evaluate)


def _changes(variant: SavedState) -> str:
    return ", ".join(f"{name} {old:.3g} -> {new:.3g}" for name, (old, new) in sorted(variant["changes"].items()))
