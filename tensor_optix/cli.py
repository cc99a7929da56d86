"""The command line: `tensor-optix train`, `resume`, `evaluate` and `replay`."""

import argparse
import dataclasses
import json
import logging
import math
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tensor_optix._cli_parser import BOUNDS, CONFIRMING_EPISODES, parser
from tensor_optix._evaluation import Evaluation
from tensor_optix._run_reports import write_report
from tensor_optix._trained_runs import best_policy, refuse_python_run
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.loop.selection import play_again
from tensor_optix.core.storage.line_log import DESCRIPTION
from tensor_optix.core.training_report import StopReason
from tensor_optix.core.types import PolicySnapshot
from tensor_optix.errors import InvalidArgumentError, TensorOptixError
from tensor_optix.factory import refuse_unknown, resolve_algorithm, resolve_framework, set_threads
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.pipeline.environment.environment import check_size, make_environment
from tensor_optix.pipeline.environment.own_code import code_of
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tensor_optix.presets import preset_for
from tensor_optix.replay import replay
from tensor_optix.runs import RunDescription
from tensor_optix.support.arguments import Default, check_count
from tensor_optix.support.commands import named_run
from tensor_optix.support.redact import redacted, without_credentials
from tensor_optix.support.terminal import speak_as_the_terminal_can
from tensor_optix.throughput import choose_vectorisation

_EVALUATED_TOGETHER = 25
_EXIT_NOT_VERIFIED, _EXIT_USAGE, _EXIT_NOTHING_LEARNED, _EXIT_INTERRUPTED, _EXIT_TERMINATED = 1, 2, 3, 130, 143
_EXIT_CLOSED_PIPE = 128 + 13


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code.

    0 done, 1 not verified, 2 bad input, 3 nothing learned, 130 or 143 ended by a signal, 141 nobody reads the output.
    """
    speak_as_the_terminal_can()
    args = parser(train=_train, resume=_resume, evaluate=_evaluate, replay=_replay, report=_report).parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(without_credentials)
    logging.getLogger("tensor_optix").setLevel(logging.INFO)  # such as the size of a replay memory
    try:
        code = args.command(args)
        sys.stdout.flush()
    except TensorOptixError as error:
        print(f"tensor-optix: {redacted(str(error))}", file=sys.stderr)
        return _EXIT_USAGE
    except BrokenPipeError:  # whoever read has gone; the run itself is saved by now
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try once more as it ends
        return _EXIT_CLOSED_PIPE
    return code


def _train(args: argparse.Namespace) -> int:
    run = _describe(args)
    run.environment().close()  # an unusable environment is an error before anything is written
    run.agent()
    run, measured = _vectorised(run, args)
    run_dir = args.run_dir or (
        Path("runs") / f"{_safe(run.env)}-{run.algorithm}-{datetime.now():%Y%m%d-%H%M%S}-seed{run.seed}"
    )
    optimizer = run.optimizer(run_dir, resume=False, progress=not args.no_progress)
    optimizer.registry.archive(also=[DESCRIPTION])
    run.write(run_dir)
    if measured:
        print(measured, file=sys.stderr)
    print(f"Training {run.env} with {run.algorithm} on {run.framework}, seed {run.seed}, in {run_dir}", file=sys.stderr)
    return _finish(optimizer, run_dir, run)


def _resume(args: argparse.Namespace) -> int:
    refuse_python_run(args.run_dir)
    run = RunDescription.read(args.run_dir, args.allow_module)
    bounds = {name: value for name in BOUNDS if (value := getattr(args, name)) is not None}
    run = dataclasses.replace(run, **bounds)
    set_threads(run.framework, run.threads)
    optimizer = run.optimizer(args.run_dir, resume=True, progress=not args.no_progress)
    optimizer.registry.open()  # a run of another process is left unchanged
    if bounds:
        run.write(args.run_dir)
    print(f"Resuming {run.env} with {run.algorithm} on {run.framework} in {args.run_dir}", file=sys.stderr)
    return _finish(optimizer, args.run_dir, run)


def _finish(optimizer: RLOptimizer, run_dir: Path, run: RunDescription) -> int:
    """Run until the end, print the report and save it; it is printed even where the disk refuses it."""
    report = dataclasses.replace(optimizer.run(), allow_module=code_of(run.env) or "")
    print(report, flush=True)
    write_report(optimizer.registry.directory, report)  # the process may have gone elsewhere
    named = named_run(str(run_dir), report.allow_module)
    print(f"Evaluate it with: tensor-optix evaluate {named}")
    if report.reason != StopReason.INTERRUPTED.value:
        return _EXIT_NOTHING_LEARNED if report.reason == StopReason.NOTHING_LEARNED.value else 0
    print(f"Resume it with: tensor-optix resume {named}")
    return _EXIT_TERMINATED if optimizer.ended_by == signal.SIGTERM else _EXIT_INTERRUPTED


def _describe(args: argparse.Namespace) -> RunDescription:
    """Return what to train as data."""
    env_kwargs = _env_kwargs(args.env_kwargs)
    env = make_environment(args.env, env_kwargs)
    algorithm = resolve_algorithm(args.algo, env.observation_space, env.action_space)
    framework = resolve_framework(args.framework)
    env.close()
    set_threads(framework, args.threads)
    seed = args.seed if args.seed is not None else secrets.randbelow(2**31)
    if seed < 0:
        raise InvalidArgumentError(f"--seed must not be negative, but got {seed}.")
    check_count("--evolve", args.evolve, 0)
    hyperparams = _hyperparams(args.hp)
    refuse_unknown(hyperparams, algorithm, "--hp")
    preset = preset_for(args.env, algorithm)
    window_size = preset.window_size if args.window_size is None else args.window_size
    check_size("window_size", window_size)
    return RunDescription(
        env=args.env,
        env_kwargs=env_kwargs,
        algorithm=algorithm,
        framework=framework,
        seed=seed,
        net_arch=args.net_arch,
        window_size=window_size,
        normalize_observations=preset.normalize_observations,
        normalize_rewards=preset.normalize_rewards,
        hyperparams=hyperparams,
        tuning=not args.no_tuning,
        val_episodes=args.val_episodes,
        validation_share=_share(args.validation_share),
        **{name: getattr(args, name) for name in BOUNDS},
        base_interval=preset.base_interval,
        max_interval=preset.base_interval * args.max_interval,
        plateau_threshold=args.plateau_threshold,
        dormant_threshold=args.dormant_threshold,
        scaled_patience=all(isinstance(value, Default) for value in (args.dormant_threshold, args.max_interval)),
        escape=not args.no_escape,
        evolve=args.evolve,
        threads=args.threads,
    )


def _share(given: float) -> float | None:
    """Return the share of validation; None for 1, which is no bound."""
    if not 0.0 < given <= 1.0:
        raise InvalidArgumentError(f"--validation-share must be above 0, and at most 1 (no bound), but got {given}.")
    return None if given == 1.0 else given


def _vectorised(run: RunDescription, args: argparse.Namespace) -> tuple[RunDescription, str]:
    """Return the run with its number of environments, as given or as measured, and a line about it."""
    if args.n_envs is not None:
        check_size("--n-envs", args.n_envs)
        return dataclasses.replace(run, n_envs=args.n_envs, async_envs=args.async_envs), ""
    if args.async_envs:
        raise InvalidArgumentError("--async-envs needs --n-envs N, the number of environments.")
    n_envs = preset_for(run.env, run.algorithm).n_envs
    if n_envs == 1:
        return run, f"Stepping 1 environment, as {run.algorithm} learns from each step; --n-envs N steps more at once."
    chosen = choose_vectorisation(run.env, n_envs, env_kwargs=run.env_kwargs)
    as_told = f"--n-envs {chosen.n_envs}{' --async-envs' if chosen.async_envs else ''}"
    return (
        dataclasses.replace(run, n_envs=chosen.n_envs, async_envs=chosen.async_envs),
        f"Stepping {chosen}; {as_told} does the same without measuring.",
    )


def _evaluate(args: argparse.Namespace) -> int:
    _check_evaluation(args)
    is_tested = args.confirm or args.verify
    name, training, snapshot = best_policy(args.run_dir, args.allow_module, is_tested=is_tested)
    registry = CheckpointRegistry(args.run_dir)
    together = max((len(window.seeds) for window in snapshot.evidence), default=0) if args.verify else args.episodes
    pipeline = training.validation_pipeline(max(min(together, _EVALUATED_TOGETHER), 1), args.seed)
    if pipeline is None:
        raise InvalidArgumentError(f"{name} cannot be made anew, so it cannot be evaluated from the command line.")
    if args.verify:
        return _verify(args, pipeline, snapshot)
    returns: list[float] = []
    for window in pipeline.episodes():
        returns += [episode.total_return for episode in window.completed_episodes()]
        if len(returns) >= args.episodes:
            break
    pipeline.teardown()
    training.teardown()
    evaluation = Evaluation.of(args.run_dir, registry, snapshot, returns[: args.episodes])
    if args.confirm and not evaluation.confirm():
        print(f"{args.run_dir} has no report.json yet, so the score is written nowhere.", file=sys.stderr)
    print(json.dumps(evaluation.to_dict()) if args.json else f"{name}: {evaluation}")
    return 0


def _check_evaluation(args: argparse.Namespace) -> None:
    if args.episodes < 1:
        raise InvalidArgumentError(f"--episodes must be at least 1, but got {args.episodes}.")
    if args.confirm and args.verify:
        raise InvalidArgumentError("--confirm plays fresh episodes and --verify known ones. Give one of them.")
    if args.confirm and args.episodes < CONFIRMING_EPISODES:
        raise InvalidArgumentError(
            f"--confirm needs --episodes of at least {CONFIRMING_EPISODES}, but got {args.episodes}."
        )


def _verify(args: argparse.Namespace, pipeline: ValidationPipeline, snapshot: PolicySnapshot) -> int:
    """Play the episodes behind a snapshot's score again; 0 if the returns are exactly the same."""
    if not snapshot.evidence or not all(window.seeds for window in snapshot.evidence):
        raise InvalidArgumentError(
            f"Snapshot {snapshot.snapshot_id} was not scored on episodes that are fixed by seeds: nothing to verify."
        )
    evaluator = EpisodeReturnEvaluator()
    again = play_again(pipeline, evaluator, snapshot.evidence)
    pipeline.teardown()
    expected = [value for window in snapshot.evidence for value in window.returns]
    found = [value for window in again.evidence for value in window.returns]
    reported, score = snapshot.eval_metrics.primary_score, again.score(evaluator).primary_score
    differing = sum(one != other for one, other in zip_longest(found, expected))  # a missing episode differs, too
    result = {
        "verified": score == reported and not differing,
        "episodes": len(found),
        "differing": differing,
        "mean": score,
        "reported": reported,
    }
    if args.json:
        print(json.dumps(result))
    else:
        verdict = "reproduced exactly" if result["verified"] else f"NOT reproduced, {differing} episodes differ"
        print(f"Reported {reported!r}, played again {score!r} over {len(found)} episodes: {verdict}.")
    return 0 if result["verified"] else _EXIT_NOT_VERIFIED


def _replay(args: argparse.Namespace) -> int:
    for path in args.files:
        for found in replay(path, args.every, args.episodes, args.offset):
            print(json.dumps(found.to_dict()) if args.json else found)
    return 0


def _env_kwargs(pairs: Sequence[str]) -> dict[str, Any]:
    """Parse `KEY=VALUE` pairs; a value that is JSON is what it says, any other is text."""
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise InvalidArgumentError(f"--env-kwargs takes KEY=VALUE, but got {pair!r}.")
        try:
            arguments[name] = json.loads(text)
        except ValueError:
            arguments[name] = text
    return arguments


def _report(args: argparse.Namespace) -> int:
    from tensor_optix.report.page import write_page  # the extra is needed here alone
    from tensor_optix.report.serving import serve

    if args.watch:
        serve(args.run_dir, args.port)
    else:
        print(write_page(args.run_dir, args.output))
    return 0


def _hyperparams(pairs: Sequence[str]) -> dict[str, float]:
    """Parse `KEY=VALUE` pairs; whole numbers stay whole."""
    params: dict[str, float] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not equals or not math.isfinite(value):
            raise InvalidArgumentError(f"--hp takes KEY=VALUE with a finite number, but got {pair!r}.")
        params[name] = int(value) if value.is_integer() and "." not in text and "e" not in text.lower() else value
    return params


def _safe(env_id: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in env_id).strip("-")


if __name__ == "__main__":
    sys.exit(main())
