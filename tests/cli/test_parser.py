"""The commands of the command line: what each of them calls, and what is refused."""

import argparse
import sys

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
        (["tune", "E-v0"], "tune"),
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
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["play"], "invalid choice: 'play'"),
        (["train", "E-v0", "--algo", "a3c"], "invalid choice: 'a3c'"),
        (["train", "E-v0", "--seed", "1.5"], "must be a whole number, such as 1000000 or 1e6, but got '1.5'"),
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


def test_only_the_commands_that_are_named_are_given_their_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensor_optix.cli.arguments", None)  # it cannot be imported
    few = parser([], **dict.fromkeys(COMMANDS, lambda args: 0))
    assert "--window-size" not in few.by_command["train"].format_help()
    assert "train an agent" in few.format_help()
    with pytest.raises(ImportError):
        parser(["train"], **dict.fromkeys(COMMANDS, lambda args: 0))
