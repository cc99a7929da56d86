"""`tensor-optix train --population N`, and `resume` of what it made."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

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
)
from tensor_optix.core.decisions.intervals import mean_interval
from tensor_optix.errors import InvalidArgumentError, JobCancelledError
from tensor_optix.executors import Executor, Processes
from tensor_optix.executors.executor import Watcher
from tensor_optix.multirun.description import (
    Members,
    holds_more,
    is_multirun,
    read_description,
    write_description,
    write_result,
)
from tensor_optix.multirun.member import save_policy
from tensor_optix.multirun.population import Population
from tensor_optix.runs import RunDescription
from tensor_optix.support.commands import file_name_of
from tensor_optix.support.terminal import say

_EVALUATIONS = 4
"""Of one run, in a generation."""


def train_population(
    args: argparse.Namespace, run: RunDescription, given: Given, early: Processes | None = None
) -> int:
    """Train a population, and return the exit code.

    Args:
        args: `population`, `generation_windows`, `asynchronous`, `workers`, and as of `resume_population`.
        run: what each member is made of.
        given: the settings that were given.
        early: workers that are there already, see `several.started`.
    """
    run, workers = dataclasses.replace(run, seed=given.get("seed", 0)), args.workers or 1
    windows = args.generation_windows or _EVALUATIONS * run.base_interval
    members = Members(
        members=args.population, generation_windows=windows, asynchronous=args.asynchronous, workers=workers
    )
    name = f"{file_name_of(run.env)}-{run.algorithm}-population{members.members}-seed{run.seed}"
    folder = args.run_dir or Path("runs") / name
    with sole(folder):
        if is_multirun(folder):
            run = _same(folder, run, members, given)
        else:
            if holds_more(folder):
                raise InvalidArgumentError(f"{str(folder)!r} holds something else already. Choose another --run-dir.")
            run = run if "n_envs" in given else measured(run, given=given, workers=workers, early=early)
            run.write(folder)
            write_description(folder, members)  # last: who reads it finds the run, too
        say(f"Training {members.members} members on {run.env} with {run.algorithm}, in {folder}", file=sys.stderr)
        return _finish(folder, run, members, workers, args, early)


def _same(folder: Path, run: RunDescription, members: Members, given: Given) -> RunDescription:
    """Return the run of a population that is there already, or refuse another one."""
    known, description = RunDescription.read(folder, run.modules), read_description(folder)
    kept = {} if "n_envs" in given else {"n_envs": known.n_envs, "async_envs": known.async_envs}
    is_same = isinstance(description, Members) and (
        msgspec.structs.replace(description, workers=members.workers) == members
    )
    if not is_same or dataclasses.replace(run, **kept) != known:
        raise InvalidArgumentError(
            f"{str(folder)!r} holds another population. Choose another --run-dir, or go on with that one: "
            f"tensor-optix resume {folder}"
        )
    return known


def resume_population(args: argparse.Namespace, bounds: Mapping[str, object]) -> int:
    """Go on with a population, and return the exit code.

    Args:
        args: `run_dir`, `allow_module`, `no_progress`, `json`.
        bounds: what ends it, where it is to be changed.
    """
    folder, members = args.run_dir, read_description(args.run_dir)
    if not isinstance(members, Members):
        raise InvalidArgumentError(f"{str(folder)!r} holds no population.")
    with sole(folder):
        run = dataclasses.replace(RunDescription.read(folder, args.allow_module), **bounds)
        run.write(folder)
        return _finish(folder, run, members, members.workers, args)


def _finish(
    folder: Path,
    run: RunDescription,
    members: Members,
    workers: int,
    args: argparse.Namespace,
    early: Processes | None = None,
) -> int:
    """Train, test and report."""
    names = [f"member-{member}" for member in range(members.members)]
    with executor_of(min(workers, members.members), run.threads, args, early) as executor:
        population = Population(folder, run, members.members, members.generation_windows, say=_say)
        with cancelled_by_signals(executor) as signals:
            try:
                with shown(names, progress=not args.no_progress) as view:
                    (_asynchronous if members.asynchronous else _in_step)(population, executor, view)
                return _concluded(folder, population, executor, as_json=args.json)
            except JobCancelledError:
                return interrupted(folder, run.modules, signals)


def _in_step(population: Population, executor: Executor, view: Watcher) -> None:
    """Train with a barrier after each generation."""
    while population.reason is None:
        population.step(executor, view)
        _say(_generation(population))


def _asynchronous(population: Population, executor: Executor, view: Watcher) -> None:
    """Train without barriers, and say what that means."""
    _say("No member waits for the others: what is copied depends on which is ready first, so this run does not repeat.")
    told = population.kept.generation

    def tell() -> None:
        nonlocal told
        if population.kept.generation > told:
            told = population.kept.generation
            _say(_generation(population))

    if population.reason is None:
        population.run_asynchronously(executor, view, tell)


def _concluded(folder: Path, population: Population, executor: Executor, *, as_json: bool) -> int:
    """Find the best policy of all, save it as that of the folder, and say what it is worth."""
    run, kept = population.run, population.kept
    if all(score is None for score in kept.best_scores):
        raise InvalidArgumentError("Each member has diverged. Lower the learning rate: --hp learning_rate=...")
    test, players = population.test(executor)
    best = players[test.best]
    save_policy(folder, run, best, population.best_state(best), test)
    evaluate = evaluate_command(folder, run.modules)
    result = {
        "best": f"member-{best}",
        "score": float(np.mean(test.returns)),
        "interval": dataclasses.asdict(mean_interval(test.returns)),
        "returns": test.returns,
        "generations": kept.generation,
        "steps": kept.steps,
        "reason": population.reason,
    }
    write_result(folder, result)
    if as_json:
        print(json.dumps({**result, "next": {"evaluate": evaluate}}), flush=True)
        return exit_codes.DONE
    say(f"{population.reason}: {kept.generation} generations, {kept.steps:,} steps of {population.members} members")
    tell_best(f"member {best}", test.returns, evaluate)
    return exit_codes.DONE


def _generation(population: Population) -> str:
    kept = population.kept
    best = max((score for score in kept.best_scores if score is not None), default=float("nan"))
    copied = sum(donor is not None for donor in kept.donors)
    return f"generation {kept.generation}: {kept.steps:,} steps, best {best:,.1f}, {copied} exploit"


def _say(text: str) -> None:
    say(text, file=sys.stderr)
