"""`tensor-optix train` and `resume`: one run, from its settings to its report."""

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
from datetime import datetime
from pathlib import Path

import numpy as np

from tensor_optix._run_reports import read_report, still_confirmed, write_report
from tensor_optix._trained_runs import refuse_python_run
from tensor_optix.adapters._agent import BuiltInAgent
from tensor_optix.algorithms._off_policy_agent import learn_beside
from tensor_optix.callbacks.screens import told
from tensor_optix.cli import exit_codes, many, several
from tensor_optix.cli.choosing import with_learning_beside
from tensor_optix.cli.config import SETTINGS, merged, read_config, settings_of_pairs
from tensor_optix.cli.describing import Described, described, given_in, with_measured_environments
from tensor_optix.cli.flags import given_by_flags
from tensor_optix.cli.following import resume_command
from tensor_optix.core.storage.line_log import DESCRIPTION
from tensor_optix.core.training_report import StopReason, TrainingReport
from tensor_optix.errors import CheckpointCorruptError, CheckpointStorageError
from tensor_optix.factory import set_threads
from tensor_optix.multirun.description import is_multirun
from tensor_optix.multirun.played_beside import PlayedBeside
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.pipeline.environment.observations import blank_observations
from tensor_optix.runs import RunDescription
from tensor_optix.support.commands import file_name_of, named_run
from tensor_optix.support.terminal import say

_FOLLOWS = {
    "evaluate": "Evaluate it with",
    "report": "See what it did with",
    "enjoy": "Watch it with",
    "resume": "Train it on with",
}


def train(args: argparse.Namespace) -> int:
    """Train until the run ends, print its report, and return the exit code."""
    layers = read_config(args.config) if args.config else {}, given_in(args), settings_of_pairs(args.set)
    with several.started(args, merged(layers)) as early:
        with _told("importing the framework, checking the environment", not args.no_progress):
            quiet = early.await_start if early is not None else lambda: None
            found = described(*layers, args.run_dir, workers=args.workers or 1, quiet=quiet)
        for line in found.about:
            say(line, file=sys.stderr)
        if many.is_of_many(args, found.run.evolve):
            return many.train_many(args, found.run, found.given, early)
    return _train_one(args, found)


def _train_one(args: argparse.Namespace, found: Described) -> int:
    run, given, agent, shows = found.run, found.given, found.agent, not args.no_progress
    if isinstance(agent, BuiltInAgent):
        observations = blank_observations(found.observation_space, run.window_size)
        normalized = np.zeros_like(observations, np.float32)
        agent.compile_ahead(normalized if run.normalize_observations else observations)
    with _told("measuring how many environments to step at once", shows):
        run, measured = with_measured_environments(run, given)
        run, beside = with_learning_beside(run, given, args.run_dir)
    if run.learn_beside == "on":
        learn_beside(agent)
    run_dir = args.run_dir or (
        Path("runs") / f"{file_name_of(run.env)}-{run.algorithm}-{datetime.now():%Y%m%d-%H%M%S}-seed{run.seed}"
    )
    with _told("building the agent and its environments", shows):
        optimizer = run.optimizer(
            run_dir, resume=False, progress=shows, report=args.report, player=_player(run), agent=agent
        )
    optimizer.registry.archive(also=[DESCRIPTION])
    run.write(run_dir)
    for line in filter(None, (measured, beside)):
        say(line, file=sys.stderr)
    say(f"Training {run.env} with {run.algorithm} on {run.framework}, seed {run.seed}, in {run_dir}", file=sys.stderr)
    return _finish(optimizer, run_dir, as_json=args.json)


def resume(args: argparse.Namespace) -> int:
    """Resume an interrupted run, or several, and end as `train` does."""
    bounds = given_by_flags(args, [one for one in SETTINGS.values() if one.about.is_bound])
    if is_multirun(args.run_dir):
        return many.resume_many(args, bounds)
    refuse_python_run(args.run_dir)
    run = RunDescription.read(args.run_dir, args.allow_module)
    run = dataclasses.replace(run, **bounds)
    set_threads(run.framework, run.threads)
    player = _player(run)
    optimizer = run.optimizer(
        args.run_dir, resume=True, progress=not args.no_progress, report=args.report, player=player
    )
    optimizer.registry.open()  # a run of another process is left unchanged
    if bounds:
        _keep_bounds(run, args.run_dir)
    say(f"Resuming {run.env} with {run.algorithm} on {run.framework} in {args.run_dir}", file=sys.stderr)
    before = _report(args.run_dir)
    code = _finish(optimizer, args.run_dir, as_json=args.json, before=before)
    after = _report(args.run_dir)
    if before is not None and after is not None and after.windows == before.windows:
        say("No window was trained: the run had ended before.", file=sys.stderr)
    return code


def _player(run: RunDescription) -> PlayedBeside | None:
    """Return who plays validation beside training; None where nobody is to."""
    return PlayedBeside(dataclasses.asdict(run)) if run.validate_beside else None


def _report(run_dir: Path) -> TrainingReport | None:
    """Return the report of a run; None where there is none that can be read."""
    with contextlib.suppress(CheckpointCorruptError):
        return read_report(run_dir)
    return None


def _keep_bounds(run: RunDescription, run_dir: Path) -> None:
    try:
        run.write(run_dir)
    except CheckpointStorageError as error:
        say(f"The new bounds hold, but must be given again at the next resume: {error}", file=sys.stderr)


def _told(what: str, shows: bool) -> contextlib.AbstractContextManager[None]:
    return told(what) if shows else contextlib.nullcontext()


def _finish(optimizer: RLOptimizer, run_dir: Path, *, as_json: bool, before: TrainingReport | None = None) -> int:
    """Run until the end and print the report, which the loop has saved by then; `before` is that of a resumed run."""
    found = optimizer.run()
    report = still_confirmed(found, before)
    if report is not found:
        write_report(run_dir, report)
    named = named_run(str(run_dir), report.allow_module)
    is_interrupted = report.reason == StopReason.INTERRUPTED.value
    following = {
        "evaluate": f"tensor-optix evaluate {named}",
        "report": f"tensor-optix report {named_run(str(run_dir))}",
        "enjoy": f"tensor-optix enjoy {named}",
    }
    if report.best_snapshot is None:  # there is no policy to play
        del following["evaluate"], following["enjoy"]
    if longer := resume_command(report, run_dir):
        following["resume"] = longer
    if as_json:
        print(json.dumps(report.to_dict() | {"next": following}), flush=True)
    else:
        say(report, flush=True)
        for name, command in following.items():
            say(f"{_FOLLOWS[name]}: {command}")
    if is_interrupted:
        return exit_codes.TERMINATED if optimizer.ended_by == signal.SIGTERM else exit_codes.INTERRUPTED
    return exit_codes.NOTHING_LEARNED if report.reason == StopReason.NOTHING_LEARNED.value else exit_codes.DONE
