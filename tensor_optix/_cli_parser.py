"""The arguments of the command line: one function per command."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import tensor_optix
from tensor_optix.factory import ALGORITHMS, FRAMEWORKS
from tensor_optix.support.arguments import Default

ENV_KWARGS_HELP = "argument of the environment, as JSON or text; repeatable"
DORMANT_HELP = "evaluations until DORMANT at least; where it is given, exactly, whatever the scale of the task"

BOUNDS = ("max_episodes", "max_steps", "target_score")
"""What ends a run before it counts as trained, by its names in `RunDescription`."""
ENV_HELP = (
    "Gymnasium id, e.g. CartPole-v1 or module:Id-v0; or a class, function or id in your own file: my_env.py:MyEnv"
)
CONFIRMING_EPISODES = 100
"""Episodes that confirm a score."""
Command: TypeAlias = Callable[[argparse.Namespace], int]
"""Runs a command with its arguments, and returns the exit code."""


def parser(
    *, train: Command, resume: Command, evaluate: Command, replay: Command, report: Command
) -> argparse.ArgumentParser:
    """Return the parser; `args.command` is the function to call."""
    made = argparse.ArgumentParser(prog="tensor-optix", description="An autonomous training loop.")
    made.add_argument("--version", action="version", version=f"tensor-optix {tensor_optix.__version__}")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    with_defaults = argparse.ArgumentDefaultsHelpFormatter
    add_train(
        commands.add_parser(
            "train", help="train an agent on an environment until it is trained", formatter_class=with_defaults
        )
    ).set_defaults(command=train)
    add_resume(commands.add_parser("resume", help="resume an interrupted run exactly where it was")).set_defaults(
        command=resume
    )
    add_evaluate(
        commands.add_parser(
            "evaluate", help="play the best policy of a run on fresh episodes", formatter_class=with_defaults
        )
    ).set_defaults(command=evaluate)
    add_replay(
        commands.add_parser(
            "replay", help="say where a recorded run would have been stopped", formatter_class=with_defaults
        )
    ).set_defaults(command=replay)
    add_report(
        commands.add_parser("report", help="make one page that says what a run did", formatter_class=with_defaults)
    ).set_defaults(command=report)
    return made


def add_train(train: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the arguments of `train`: what to train, how it is scored, and when it ends."""
    train.add_argument("env", metavar="ENV", help=ENV_HELP)
    train.add_argument("--env-kwargs", action="append", default=[], metavar="KEY=VALUE", help=ENV_KWARGS_HELP)
    train.add_argument("--algo", default="auto", choices=("auto", *ALGORITHMS), help="algorithm")
    train.add_argument("--framework", default="auto", choices=("auto", *FRAMEWORKS), help="framework")
    train.add_argument("--seed", type=int, help="with --n-envs: repeats a run exactly (default: random, printed)")
    train.add_argument("--run-dir", type=Path, help="directory of the run (default: runs/ENV-ALGO-TIME-SEED)")
    add_bounds(train, "until trained")
    train.add_argument("--window-size", type=int, metavar="T", help="steps per window (default: the preset's)")
    train.add_argument("--n-envs", type=int, metavar="N", help="parallel environments (default: measured, printed)")
    train.add_argument("--async-envs", action="store_true", help="with --n-envs: each in a process of its own")
    train.add_argument(
        "--hp", action="append", default=[], metavar="KEY=VALUE", help="set a hyper-parameter; repeatable"
    )
    train.add_argument("--net-arch", type=int, nargs="+", metavar="SIZE", help="hidden layers (default: the preset's)")
    train.add_argument("--val-episodes", type=int, default=5, metavar="N", help="greedy episodes per evaluation")
    train.add_argument(
        "--validation-share",
        type=float,
        default=0.25,
        metavar="P",
        help="share of all steps that validation and the last tests may take; 1 = no bound",
    )
    train.add_argument("--evolve", type=int, default=0, metavar="N", help="train N mutated variants of the best policy")
    train.add_argument("--no-escape", action="store_true", help="call it trained without trying to escape first")
    train.add_argument("--no-tuning", action="store_true", help="leave the hyper-parameters as they are")
    train.add_argument("--plateau-threshold", type=int, default=5, metavar="N", help="evaluations until COOLING")
    train.add_argument("--dormant-threshold", type=int, default=Default(20), metavar="N", help=DORMANT_HELP)
    # With a threshold by hand, the library's cap of 100 windows would make CartPole's patience a thousand windows long.
    train.add_argument(
        "--max-interval",
        type=int,
        default=Default(2),
        metavar="N",
        help="windows between evaluations at most; as --dormant-threshold where it is given",
    )
    train.add_argument("--threads", type=int, default=1, metavar="N", help="threads of the framework")
    train.add_argument("--no-progress", action="store_true", help="no live view")
    return train


def add_bounds(command: argparse.ArgumentParser, default: str) -> None:
    """Add what ends a run before it counts as trained."""
    command.add_argument(
        "--max-windows",
        "--max-episodes",
        dest="max_episodes",
        type=int,
        metavar="N",
        help=f"windows at most; the second name means the same, not episodes (default: {default})",
    )
    command.add_argument(
        "--max-steps", type=int, metavar="N", help=f"training steps, ending with a window (default: {default})"
    )
    command.add_argument(
        "--target-score", type=float, metavar="S", help=f"end when a confirmed score reaches it (default: {default})"
    )


def add_allow_module(command: argparse.ArgumentParser) -> None:
    """Add what a run may import: its file is not trusted to choose that."""
    command.add_argument(
        "--allow-module",
        action="append",
        default=[],
        metavar="MODULE",
        help="module or file that the name of the run's environment may import; repeatable",
    )


def add_resume(resume: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the arguments of `resume`."""
    resume.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    add_bounds(resume, "as at the start")
    add_allow_module(resume)
    resume.add_argument("--no-progress", action="store_true", help="no live view")
    return resume


def add_evaluate(evaluate: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the arguments of `evaluate`."""
    evaluate.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    evaluate.add_argument("--episodes", type=int, default=100, metavar="N", help="episodes to play")
    evaluate.add_argument("--seed", type=int, default=1_000_003, help="root of the episodes' seeds")
    evaluate.add_argument(
        "--verify", action="store_true", help="play the episodes behind the reported score again, and compare"
    )
    evaluate.add_argument(
        "--confirm",
        action="store_true",
        help=f"play at least {CONFIRMING_EPISODES} episodes, and make their mean the score in the run's report",
    )
    add_allow_module(evaluate)
    evaluate.add_argument("--json", action="store_true", help="print the result as JSON")
    return evaluate


def add_replay(replay: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the arguments of `replay`."""
    replay.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="monitor .csv, .npz of steps and returns, history.jsonl, or TensorBoard events",
    )
    replay.add_argument("--every", type=int, default=2_048, metavar="STEPS", help="steps between evaluations")
    replay.add_argument("--episodes", type=int, default=5, metavar="K", help="last episodes of an evaluation")
    replay.add_argument("--offset", type=int, default=0, metavar="STEPS", help="first evaluation (0: after --every)")
    replay.add_argument("--json", action="store_true", help="print one JSON object per run")
    return replay


def add_report(report: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the arguments of `report`."""
    report.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    report.add_argument("--output", type=Path, metavar="FILE", help="where to write it (default: RUN_DIR/report.html)")
    report.add_argument("--watch", action="store_true", help="serve it on 127.0.0.1, where it follows the run")
    report.add_argument("--port", type=int, default=0, metavar="N", help="with --watch; 0 = any that is free")
    return report
