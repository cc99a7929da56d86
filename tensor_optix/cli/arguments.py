"""The arguments of each command, as functions that add them to a parser. Top-level help and version need none."""

import argparse
from pathlib import Path

from tensor_optix.algorithms._devices import DEVICES
from tensor_optix.cli.comparing import add_compare as add_compare
from tensor_optix.cli.config import SETTINGS
from tensor_optix.cli.flags import add_settings, whole
from tensor_optix.cli.many import add_many
from tensor_optix.cli.several import add_executor
from tensor_optix.environment_check import STEPS

CONFIRMING_EPISODES = 100
"""Episodes that confirm a score."""
_NOT_OF_A_SEARCH = (
    "tuning", "max_episodes", "max_interval", "plateau_threshold", "dormant_threshold", "scaled_patience", "escape",
    "evolve", "track", "track_names", "async_envs", "validate_beside", "learn_beside",
)  # fmt: skip
"""Settings that a search decides itself."""


def add_train(train: argparse.ArgumentParser) -> None:
    """Add the arguments of `train`: the settings of a run, where they come from, and where the run goes."""
    train.add_argument(
        "--config", type=Path, metavar="FILE", help="settings as YAML or JSON, such as another run's run.json"
    )
    add_settings(train, SETTINGS.values())
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any setting by its name, e.g. ppo.learning_rate=1e-3; before flags, which are before --config; "
        "repeatable",
    )
    train.add_argument("--run-dir", type=Path, help="directory of the run (default: runs/ENV-ALGO-TIME-SEED)")
    train.add_argument("--no-progress", action="store_true", help="no live view")
    train.add_argument("--json", action="store_true", help="print the report as JSON")
    _add_report_flag(train)
    add_many(train)
    add_executor(train)


def add_tune(tune: argparse.ArgumentParser) -> None:
    """Add the arguments of `tune`: its own, and the settings of the runs that are searched around."""
    for flag, otherwise, meaning in (
        ("--trials", 30, "trials in all; every second one is drawn at random"),
        ("--seeds", 3, "seeds that a trial is trained with, one after the other; the first is --seed, or 0"),
        ("--final-seeds", 5, "fresh seeds that the best five and the preset are trained with at the end"),
        ("--workers", 1, "runs at once, each in a process"),
    ):
        tune.add_argument(flag, type=whole, default=otherwise, metavar="N", help=f"{meaning} (default: {otherwise})")
    tune.add_argument("--config", type=Path, metavar="FILE", help="settings as YAML or JSON; they are not searched")
    add_settings(tune, [one for one in SETTINGS.values() if one.name not in _NOT_OF_A_SEARCH])
    tune.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting by its name; repeatable"
    )
    tune.add_argument("--run-dir", type=Path, help="directory of the search (default: runs/ENV-ALGO-search-seedN)")
    tune.add_argument("--no-progress", action="store_true", help="no live view")
    tune.add_argument("--json", action="store_true", help="print the result as JSON")
    add_executor(tune)


def add_resume(resume: argparse.ArgumentParser) -> None:
    """Add the arguments of `resume`."""
    resume.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    bounds = [one for one in SETTINGS.values() if one.about.is_bound]
    add_settings(resume, bounds, "as at the start")
    add_allow_module(resume)
    resume.add_argument("--no-progress", action="store_true", help="no live view")
    resume.add_argument("--json", action="store_true", help="print the report as JSON")
    _add_report_flag(resume)
    add_executor(resume)


def _add_report_flag(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--report", action="store_true", help="write RUN_DIR/report.html at the end: what happened, and why"
    )


def add_allow_module(command: argparse.ArgumentParser) -> None:
    """Add what a run may import: its file is not trusted to choose that."""
    command.add_argument(
        "--allow-module",
        action="append",
        default=[],
        metavar="MODULE",
        help="module or file that the names of the run's environment and wrappers may import; repeatable",
    )


def _add_device(command: argparse.ArgumentParser, auto: str) -> None:
    command.add_argument(
        "--device",
        choices=("auto", *DEVICES),
        default="auto",
        help=f"where the policy computes (default: auto: {auto})",
    )


def add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    """Add the arguments of `evaluate`."""
    evaluate.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    evaluate.add_argument("--episodes", type=whole, default=100, metavar="N", help="episodes to play (default: 100)")
    evaluate.add_argument(
        "--seed", type=whole, default=1_000_003, help="root of the episodes' seeds (default: 1000003)"
    )
    evaluate.add_argument(
        "--verify", action="store_true", help="play the episodes behind the reported score again, and compare"
    )
    evaluate.add_argument(
        "--confirm",
        action="store_true",
        help=f"play at least {CONFIRMING_EPISODES} episodes, and make their mean the score in the run's report",
    )
    _add_device(evaluate, "as in training, or the CPU where there is no GPU")
    add_allow_module(evaluate)
    evaluate.add_argument("--json", action="store_true", help="print the result as JSON")


def add_check(check: argparse.ArgumentParser) -> None:
    """Add the arguments of `check`: those of the environment, as `train` takes them."""
    names = ("env", "env_kwargs", "wrappers", "algorithm", "framework")
    add_settings(check, [SETTINGS[name] for name in names])
    check.add_argument(
        "--steps", type=whole, default=STEPS, metavar="N", help=f"random steps to play (default: {STEPS})"
    )
    check.add_argument("--json", action="store_true", help="print the result as JSON")


def add_replay(replay: argparse.ArgumentParser) -> None:
    """Add the arguments of `replay`."""
    replay.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="monitor .csv, .npz of steps and returns, history.jsonl, or TensorBoard events",
    )
    replay.add_argument(
        "--every", type=whole, default=2_048, metavar="STEPS", help="steps between evaluations (default: 2048)"
    )
    replay.add_argument(
        "--episodes", type=whole, default=5, metavar="K", help="last episodes of an evaluation (default: 5)"
    )
    replay.add_argument(
        "--offset", type=whole, default=0, metavar="STEPS", help="first evaluation (default: 0, after --every)"
    )
    replay.add_argument("--json", action="store_true", help="print one JSON object per run")


def add_report(report: argparse.ArgumentParser) -> None:
    """Add the arguments of `report`."""
    report.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    report.add_argument("--output", type=Path, metavar="FILE", help="where to write it (default: RUN_DIR/report.html)")
    report.add_argument("--watch", action="store_true", help="serve it on 127.0.0.1, where it follows the run")
    report.add_argument(
        "--port", type=whole, default=0, metavar="N", help="with --watch (default: 0, any that is free)"
    )
    report.add_argument("--json", action="store_true", help="print where the page is as JSON")


def add_completion(completion: argparse.ArgumentParser) -> None:
    """Add the arguments of `completion`."""
    completion.add_argument("shell", choices=("bash", "zsh"), help="the shell that reads the script")


def add_enjoy(enjoy: argparse.ArgumentParser) -> None:
    """Add the arguments of `enjoy`."""
    enjoy.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    enjoy.add_argument("--episodes", type=whole, default=1, metavar="N", help="episodes to play (default: 1)")
    enjoy.add_argument("--seed", type=whole, default=0, help="of the first episode (default: 0)")
    enjoy.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="write a .mp4 or .gif instead of showing it (default: show it; without a display, RUN_DIR/clip.gif)",
    )
    _add_device(enjoy, "cuda where the framework finds a GPU")
    add_allow_module(enjoy)
    enjoy.add_argument("--json", action="store_true", help="print the episodes as JSON")
