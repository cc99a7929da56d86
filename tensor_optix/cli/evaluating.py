"""`tensor-optix evaluate`: the best policy of a run on fresh episodes, or on those of its score once more."""

import argparse
import json
import sys
from itertools import zip_longest
from pathlib import Path

import numpy as np

from tensor_optix._evaluation import Evaluation
from tensor_optix._run_reports import read_report
from tensor_optix._trained_runs import best_policy
from tensor_optix.cli import exit_codes
from tensor_optix.cli.arguments import CONFIRMING_EPISODES
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.loop.selection import play_again
from tensor_optix.core.types import PolicySnapshot
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline
from tensor_optix.support.terminal import say

_EVALUATED_TOGETHER = 25


def evaluate(args: argparse.Namespace) -> int:
    """Play the episodes, print what they came to, and return the exit code."""
    _check_evaluation(args)
    is_tested = args.confirm or args.verify
    name, training, snapshot = best_policy(args.run_dir, args.allow_module, is_tested=is_tested, device=args.device)
    registry = CheckpointRegistry(args.run_dir)
    confirmed = _confirmation(args.run_dir, registry, snapshot) if args.verify else None
    if args.verify and confirmed is None:
        together = max((len(window.seeds) for window in snapshot.evidence), default=1)
        return _verify(args, _pipeline(name, training, together, args.seed), snapshot)
    seed, episodes = (args.seed, args.episodes) if confirmed is None else confirmed[:2]
    pipeline = _pipeline(name, training, episodes, seed)
    returns = _played(pipeline, episodes)
    pipeline.teardown()
    training.teardown()
    if confirmed is not None:
        mean, reported = float(np.mean(returns)), confirmed[2]
        return _compared(args, mean, reported, len(returns), differing=0 if mean == reported else None)
    evaluation = Evaluation.of(args.run_dir, registry, snapshot, returns)
    if args.confirm and not evaluation.confirm(seed):
        say(f"{args.run_dir} has no report.json yet, so the score is written nowhere.", file=sys.stderr)
    if args.json:
        print(json.dumps(evaluation.to_dict()))
    else:
        say(f"{name}: {evaluation}")
    return exit_codes.DONE


def _pipeline(name: str, training: BatchPipeline | VectorBatchPipeline, together: int, seed: int) -> ValidationPipeline:
    pipeline = training.validation_pipeline(max(min(together, _EVALUATED_TOGETHER), 1), seed)
    if pipeline is None:
        raise InvalidArgumentError(f"{name} cannot be made anew, so it cannot be evaluated from the command line.")
    return pipeline


def _played(pipeline: ValidationPipeline, episodes: int) -> list[float]:
    returns: list[float] = []
    for window in pipeline.episodes():
        returns += [episode.total_return for episode in window.completed_episodes()]
        if len(returns) >= episodes:
            break
    return returns[:episodes]


def _confirmation(
    run_dir: Path, registry: CheckpointRegistry, snapshot: PolicySnapshot
) -> tuple[int, int, float] | None:
    """Return seed, number and score of the episodes that have confirmed a snapshot; None where the run tested it."""
    report = read_report(run_dir)
    if report is None or not report.confirmation:
        return None
    is_same = Path(report.best_snapshot or "").name == registry.path_of(snapshot).name
    known = report.confirmation
    return (known["seed"], known["episodes"], report.best_score) if is_same else None


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
    return _compared(args, score, reported, len(found), differing)


def _compared(args: argparse.Namespace, score: float, reported: float, episodes: int, differing: int | None) -> int:
    """Say whether a score came out the same; `differing` episodes did not, None = how many is not known."""
    is_same = score == reported and not differing
    if args.json:
        result = {
            "verified": is_same,
            "episodes": episodes,
            "differing": differing,
            "mean": score,
            "reported": reported,
        }
        print(json.dumps(result))
    else:
        which = "" if differing is None else f", {differing} episodes differ"
        verdict = "reproduced exactly" if is_same else f"NOT reproduced{which}"
        say(f"Reported {reported!r}, played again {score!r} over {episodes} episodes: {verdict}.")
    return exit_codes.DONE if is_same else exit_codes.NOT_VERIFIED
