"""The arguments of each command: their types, their defaults, and what is said of them."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.cli.parser import COMMANDS, parser


def made() -> argparse.ArgumentParser:
    """A parser whose commands do nothing."""
    return parser(**dict.fromkeys(COMMANDS, lambda args: 0))


def parse(*arguments: str) -> argparse.Namespace:
    return made().parse_args(arguments)


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        (["train", "E-v0"], {"env": "E-v0", "set": [], "config": None, "run_dir": None, "no_progress": False}),
        (["train", "E-v0", "--run-dir", "a b", "--set", "a=1"], {"run_dir": Path("a b"), "set": ["a=1"]}),
        (["train", "--config", "run.yaml"], {"config": Path("run.yaml")}),
        (["train", "E-v0"], {"report": False}),
        (["train", "E-v0", "--report"], {"report": True}),
        (["tune", "E-v0"], {"trials": 30, "seeds": 3, "final_seeds": 5, "workers": 1}),
        (["tune", "E-v0", "--total-steps", "100"], {"max_steps": 100, "run_dir": None, "json": False}),
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


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    (subparsers,) = (a for a in made()._actions if isinstance(a, argparse._SubParsersAction))
    actions = subparsers.choices[command]._actions
    assert [action.dest for action in actions if action.option_strings and not action.help] == []
    with pytest.raises(SystemExit):
        parse(command, "--help")
    assert command in capsys.readouterr().out
