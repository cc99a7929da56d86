"""`tensor-optix tune`, and `resume` of what it made: a search for hyper-parameters over whole runs."""

import argparse
import contextlib
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tensor_optix.adapters._agent import BuiltInAgent
from tensor_optix.algorithms._description import AgentDescription
from tensor_optix.cli import exit_codes
from tensor_optix.cli.config import read_config, settings_of_pairs
from tensor_optix.cli.describing import described, given_in
from tensor_optix.cli.flags import Given
from tensor_optix.cli.several import cancelled_by_signals, executor_of, interrupted, shown, sole
from tensor_optix.core.decisions.intervals import mean_interval
from tensor_optix.core.training_report import score_text
from tensor_optix.errors import InvalidArgumentError, JobCancelledError
from tensor_optix.executors import Executor
from tensor_optix.executors.executor import Watcher
from tensor_optix.multirun.description import (
    Trials,
    holds_more,
    is_multirun,
    read_description,
    write_description,
    write_result,
)
from tensor_optix.multirun.pruning import EXTRA, NEEDED_BY, optuna_module
from tensor_optix.multirun.search import Search, search_run
from tensor_optix.multirun.search_result import BEST, Ahead, SearchResult, result_of, write_settings
from tensor_optix.multirun.space import space_of, with_environments
from tensor_optix.multirun.verdict import judged
from tensor_optix.multirun.warm_start import earlier_values
from tensor_optix.presets import preset_for
from tensor_optix.runs import RunDescription
from tensor_optix.support.arguments import check_count
from tensor_optix.support.commands import file_name_of, named_run
from tensor_optix.support.optional import require
from tensor_optix.support.terminal import say

PAGE = "tune.html"
SMALLEST_BATCH = 4
"""Trials that are drawn together: up to so many workers change nothing."""


def tune(args: argparse.Namespace) -> int:
    """Search for hyper-parameters, and return the exit code."""
    for name in ("trials", "seeds", "final_seeds", "workers"):
        check_count(f"--{name.replace('_', '-')}", getattr(args, name), 1)
    _check_packages()
    in_file = read_config(args.config) if args.config else {}
    run, given, about, *_ = described(
        in_file, given_in(args), settings_of_pairs(args.set), args.run_dir, workers=args.workers
    )
    for line in about:
        say(line, file=sys.stderr)
    run = dataclasses.replace(run, seed=given.get("seed", 0), async_envs=False)
    if "n_envs" not in given:
        run = dataclasses.replace(run, n_envs=preset_for(run.env, run.algorithm).n_envs)
    run = search_run(run)
    folder = args.run_dir or Path("runs") / f"{file_name_of(run.env)}-{run.algorithm}-search-seed{run.seed}"
    with sole(folder):
        description = _description(folder, run, args, given)
        say(f"Searching around {run.env} with {run.algorithm} on {run.framework}, in {folder}", file=sys.stderr)
        return _finish(folder, run, description, args.workers, args)


def resume_search(args: argparse.Namespace, bounds: Mapping[str, object]) -> int:
    """Go on with a search, and return the exit code.

    Args:
        args: `run_dir`, `allow_module`, `no_progress`, `json`.
        bounds: must be empty: with another budget, trials would not compare.
    """
    folder, description = args.run_dir, read_description(args.run_dir)
    if not isinstance(description, Trials):
        raise InvalidArgumentError(f"{str(folder)!r} holds no search.")
    if bounds:
        raise InvalidArgumentError(
            f"{', '.join(bounds)} cannot be changed: all trials of {str(folder)!r} need the same. Search anew with "
            f"another --run-dir."
        )
    _check_packages()
    with sole(folder):
        run = RunDescription.read(folder, args.allow_module)
        return _finish(folder, run, description, description.workers, args)


def _check_packages() -> None:
    """Look for what the end of a search needs: that is too late to find that it is missing."""
    optuna_module()
    for module in ("scipy.stats", "yaml", "jinja2", "plotly.offline"):
        require(module, NEEDED_BY, EXTRA)


def _description(folder: Path, run: RunDescription, args: argparse.Namespace, given: Given) -> Trials:
    """Return what is searched, which is written where the folder does not have it yet."""
    if is_multirun(folder):
        return _same(folder, run, args)
    if holds_more(folder):
        raise InvalidArgumentError(f"{str(folder)!r} holds something else already. Choose another --run-dir.")
    agent = run.agent()
    about = agent.description if isinstance(agent, BuiltInAgent) else None
    layers = about.net_arch if isinstance(about, AgentDescription) else ()
    space, preset = space_of(run, agent.get_hyperparams().params, layers)
    if "n_envs" not in given:
        space, preset = with_environments(space, preset, run)
    if not space:
        raise InvalidArgumentError("Everything that could be searched was given. Leave out some of --hp or --net-arch.")
    earlier = earlier_values(folder.parent, run, space, preset)
    description = Trials(
        trials=args.trials,
        seeds=args.seeds,
        final_seeds=args.final_seeds,
        batch=max(args.workers, SMALLEST_BATCH),
        space=space,
        preset=dict(preset),
        earlier=[dict(values) for values in earlier],
        workers=args.workers,
    )
    run.write(folder)
    write_description(folder, description)
    return description


def _same(folder: Path, run: RunDescription, args: argparse.Namespace) -> Trials:
    """Return the search that is there already, with more trials where more are wanted, or refuse another one."""
    known = read_description(folder)
    is_same = isinstance(known, Trials) and (known.seeds, known.final_seeds) == (args.seeds, args.final_seeds)
    if not is_same or not isinstance(known, Trials) or RunDescription.read(folder, run.modules) != run:
        raise InvalidArgumentError(
            f"{str(folder)!r} holds another search. Choose another --run-dir, or go on with that one: "
            f"tensor-optix resume {folder}"
        )
    if args.trials > known.trials:
        known = msgspec.structs.replace(known, trials=args.trials)
        write_description(folder, known)
    return known


def _finish(folder: Path, run: RunDescription, description: Trials, workers: int, args: argparse.Namespace) -> int:
    """Search, test and report."""
    search = Search(folder, run, description, say=_say)
    with executor_of(workers, run.threads, args) as executor, cancelled_by_signals(executor) as signals:
        try:
            scores = _searched(search, executor, progress=not args.no_progress)
        except JobCancelledError:
            return interrupted(folder, run.modules, signals)
    trials, verdict = search.study.trials(), judged(scores)
    result = result_of(trials, scores, verdict)
    write_settings(folder / BEST, run, trials[verdict.best].values)
    write_result(folder, result)
    page = _write_page(folder, run, result)
    named = named_run(str(folder / BEST))
    following = {"train": f"tensor-optix train --config {named}", "page": str(page)}
    if args.json:
        print(json.dumps({**result, "next": following}), flush=True)
    else:
        say("\n".join(_lines(result)))
        say(f"Train with: {following['train']}\nPage: {page}", flush=True)
    return exit_codes.DONE


def _searched(search: Search, executor: Executor, *, progress: bool) -> dict[int, list[float]]:
    """Run all trials and the last test, and return the scores of the finalists."""
    with contextlib.ExitStack() as views:

        def watch(names: Sequence[str]) -> Watcher:
            views.pop_all().close()
            return views.enter_context(shown(names, progress=progress))

        while batch := search.batch():
            search.advance(executor, batch, watch)
            _say(_standing(search))
        return search.test(executor, watch)


def _standing(search: Search) -> str:
    trials = search.study.trials()
    pruned, scores = (
        sum(one.state == "pruned" for one in trials),
        [one.value for one in trials if one.value is not None],
    )
    best = f", best {max(scores):,.1f}" if scores else ""
    return f"{len(trials)} of {search.description.trials} trials, {pruned} of them pruned{best}"


def _lines(result: SearchResult) -> list[str]:
    """Return what a search came to, a line for each finalist."""
    lines = []
    for one in result["finalists"]:
        score = score_text(one["score"], mean_interval(one["scores"]))
        lines.append(f"{one['name']:<10}  {score:<32}  {ahead_text(one['ahead'])}".rstrip())
    random = result["random"]
    if random is not None:
        lines.append(
            f"The search against random search after {random['steps']:,} steps each: {ahead_text(random['ahead'])}"
        )
    if result["is_preset"]:
        lines.append("Best: the preset. No trial has beaten it with fresh seeds.")
    else:
        values = ", ".join(f"{name}={_short(value)}" for name, value in result["values"].items())
        lines.append(f"Best: {result['best']}, which beats the preset: {values}")
    return lines


def ahead_text(ahead: Ahead | None) -> str:
    """Return by how much one is ahead of the other, with its interval."""
    if ahead is None:
        return ""
    low, high = ahead["interval"]["low"], ahead["interval"]["high"]
    return f"{ahead['mean']:+.2f} [{low:+.2f}, {high:+.2f}]"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _write_page(folder: Path, run: RunDescription, result: SearchResult) -> Path:
    from tensor_optix.report.search_page import write_search_page  # what draws is loaded where it is drawn

    return write_search_page(result, f"Search around {run.env} with {run.algorithm}", folder / PAGE)


def _say(text: str) -> None:
    say(text, file=sys.stderr, flush=True)
