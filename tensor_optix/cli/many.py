"""The arguments of `train` that make many runs of one, and which command they stand for."""

import argparse
from collections.abc import Mapping

from tensor_optix.cli.evolving import resume_variants, train_variants
from tensor_optix.cli.flags import Given, whole
from tensor_optix.cli.populating import resume_population, train_population
from tensor_optix.cli.several import resume_seeds, train_seeds
from tensor_optix.cli.tuning import resume_search
from tensor_optix.core.decisions.schedules import is_schedule
from tensor_optix.errors import HyperparamError, InvalidArgumentError
from tensor_optix.executors import Processes
from tensor_optix.multirun.description import Members, Trials, Variants, read_description
from tensor_optix.runs import RunDescription
from tensor_optix.support.arguments import check_count


def add_many(train: argparse.ArgumentParser) -> None:
    """Add the arguments of `train` that make many runs of one."""
    train.add_argument(
        "--seeds", type=whole, metavar="N", help="train N seeds, from --seed (default: 0) on, and take the best"
    )
    train.add_argument(
        "--population", type=whole, metavar="N", help="train N members side by side by population-based training"
    )
    train.add_argument(
        "--generation-windows",
        type=whole,
        metavar="N",
        help="with --population: windows of each member between two decisions (default: four evaluations of one run)",
    )
    train.add_argument(
        "--asynchronous",
        action="store_true",
        help="with --population: no member waits for the others; the run does not repeat",
    )
    train.add_argument(
        "--workers",
        type=whole,
        metavar="N",
        help="with --seeds, --population or --evolve, whose variants then learn side by side: processes at once "
        "(default: 1)",
    )


def is_of_many(args: argparse.Namespace, variants: int = 0) -> bool:
    """Return whether `train` is to train many; refuse arguments that do not go together.

    Args:
        args: those that were given.
        variants: of the run, by `--evolve` or its settings.
    """
    for name, least in (("seeds", 1), ("population", 2), ("generation_windows", 1), ("workers", 1)):
        if getattr(args, name) is not None:
            check_count(f"--{name.replace('_', '-')}", getattr(args, name), least)
    if args.seeds is not None and args.population is not None:
        raise InvalidArgumentError("--seeds and --population are two ways to use many cores. Give one of them.")
    for name in ("generation_windows", "asynchronous"):
        if getattr(args, name) and args.population is None:
            raise InvalidArgumentError(f"--{name.replace('_', '-')} needs --population N.")
    if args.population is not None and getattr(args, "report", False):
        raise InvalidArgumentError("--report is of one run or of --seeds; a population has generations.jsonl.")
    is_many = args.seeds is not None or args.population is not None
    if args.workers is not None and not is_many and variants == 0:
        raise InvalidArgumentError("--workers needs --seeds N, --population N or --evolve N: one run has one learner.")
    return is_many or args.workers is not None


def train_many(args: argparse.Namespace, run: RunDescription, given: Given, early: Processes | None = None) -> int:
    """Train many runs, and return the exit code; see `train_seeds`, `train_population` and `train_variants`."""
    scheduled = next((name for name, value in run.hyperparams.items() if is_schedule(value)), None)
    if args.population is not None and scheduled is not None:
        raise HyperparamError(
            f"{scheduled}={run.hyperparams[scheduled]} follows a schedule, but a population moves its hyper-parameters "
            f"itself while it trains: give a number."
        )
    if run.validate_beside:
        raise InvalidArgumentError("--validate-beside needs a core that is idle: it is of one run, not of many.")
    if args.seeds is not None:
        return train_seeds(args, run, given, early)
    if args.population is not None:
        return train_population(args, run, given, early)
    return train_variants(args, run, given)


def resume_many(args: argparse.Namespace, bounds: Mapping[str, object]) -> int:
    """Go on with many runs, and return the exit code."""
    description = read_description(args.run_dir)
    if isinstance(description, Trials):
        return resume_search(args, bounds)
    if isinstance(description, Variants):
        return resume_variants(args, bounds)
    return (resume_population if isinstance(description, Members) else resume_seeds)(args, bounds)
