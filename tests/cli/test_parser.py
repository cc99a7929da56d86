"""The arguments of the command line: what each command is called with, and what is refused."""

import argparse
from pathlib import Path
from typing import Any

import pytest

import tensor_optix
from tensor_optix.cli.parser import COMMANDS, parser


def made() -> argparse.ArgumentParser:
    """A parser whose commands return their own number."""
    return parser(**{name: (lambda args, n=n: n) for n, name in enumerate(COMMANDS)})


def parse(*arguments: str) -> argparse.Namespace:
    return made().parse_args(arguments)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["train", "E-v0"], "train"),
        (["resume", "run"], "resume"),
        (["evaluate", "run"], "evaluate"),
        (["replay", "a"], "replay"),
        (["report", "run"], "report"),
        (["compare", "a", "b"], "compare"),
        (["check", "E-v0"], "check"),
        (["completion", "zsh"], "completion"),
    ],
)
def test_each_command_calls_its_function(arguments: list[str], command: str) -> None:
    args = parse(*arguments)
    assert list(COMMANDS)[args.command(args)] == command


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        (["train", "E-v0"], {"env": "E-v0", "set": [], "config": None, "run_dir": None, "no_progress": False}),
        (["train", "E-v0", "--run-dir", "a b", "--set", "a=1"], {"run_dir": Path("a b"), "set": ["a=1"]}),
        (["train", "--config", "run.yaml"], {"config": Path("run.yaml")}),
        (["train", "E-v0"], {"report": False}),
        (["train", "E-v0", "--report"], {"report": True}),
        (["resume", "run", "--report"], {"report": True}),
        (["resume", "run", "--max-episodes", "3"], {"run_dir": Path("run"), "max_episodes": 3, "no_progress": False}),
        (["resume", "run", "--max-windows", "3", "--target-score", "4.5"], {"max_episodes": 3, "target_score": 4.5}),
        (["evaluate", "run", "--allow-module", "a.py", "--allow-module", "b"], {"allow_module": ["a.py", "b"]}),
        (["resume", "run"], {"allow_module": []}),
        (["evaluate", "run"], {"episodes": 100, "verify": False, "confirm": False, "json": False}),
        (["report", "run"], {"run_dir": Path("run"), "output": None, "watch": False, "port": 0}),
        (["compare", "a", "b"], {"run_dirs": [Path("a"), Path("b")], "group_by": None, "output": None, "json": False}),
        (["replay", "a", "b", "--episodes", "7"], {"files": [Path("a"), Path("b")], "episodes": 7}),
    ],
)
def test_arguments_have_their_types_and_defaults(arguments: list[str], values: dict[str, Any]) -> None:
    found = vars(parse(*arguments))
    assert {name: found[name] for name in values} == values


def test_resume_takes_the_bounds_of_a_run_and_no_other_setting() -> None:
    assert not {"max_episodes", "max_steps", "target_score", "device"} & vars(parse("resume", "run")).keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["play"], "invalid choice: 'play'"),
        (["train", "E-v0", "--algo", "a3c"], "invalid choice: 'a3c'"),
        (["train", "E-v0", "--seed", "1.5"], "invalid int value: '1.5'"),
        (["train", "E-v0", "--net-arch"], "expected at least one argument"),
        (["evaluate"], "RUN_DIR"),
        (["replay"], "FILE"),
        (["resume", "run", "--seed", "1"], "unrecognized arguments: --seed"),
        (["train", "E-v0", "--learning-starts", "1"], "unrecognized arguments: --learning-starts"),
        (["train", "E-v0", "--window-sizes=1"], "Did you mean '--window-size'?"),
        (["train", "E-v0", "--n-env", "1", "--treads", "2"], "Did you mean '--threads'?"),
        (["evaluate", "run", "--episode", "1", "--jsn"], "Did you mean '--json'?"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(*arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("--version")
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"tensor-optix {tensor_optix.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    (subparsers,) = (a for a in made()._actions if isinstance(a, argparse._SubParsersAction))
    actions = subparsers.choices[command]._actions
    assert [action.dest for action in actions if action.option_strings and not action.help] == []
    with pytest.raises(SystemExit):
        parse(command, "--help")
    assert command in capsys.readouterr().out
