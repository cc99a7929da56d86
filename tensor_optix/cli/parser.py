"""The commands of the command line. What it takes to run one, or to know its arguments, is imported for that one."""

import argparse
import importlib
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import tensor_optix
from tensor_optix.errors import did_you_mean

Command: TypeAlias = Callable[[argparse.Namespace], int]
"""Runs a command with its arguments, and returns the exit code."""
AddArguments: TypeAlias = Callable[[argparse.ArgumentParser], None]
"""Adds the arguments of a command to its parser."""


class Parser(argparse.ArgumentParser):
    """Refuses an unknown flag with the nearest one.

    Attributes:
        by_command: the parser of each command.
    """

    by_command: dict[str, argparse.ArgumentParser]

    def parse_args(self, args: Sequence[str] | None = None, namespace: None = None) -> argparse.Namespace:  # type: ignore[override]
        """Return the arguments, or end the process with exit code 2."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = getattr(parsed, "known_flags", ())
            flag = unknown[0].partition("=")[0]
            self.error(f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(flag, known, cutoff=0.7)}")
        return parsed


def parser(of: Collection[str] | None = None, /, **commands: Command) -> Parser:
    """Return the parser; `args.command` is the function to call.

    Args:
        of: the commands that are given their arguments, as what those are made of takes a second to import; None = all.
        **commands: what each of `COMMANDS` calls.
    """
    made = Parser(prog="tensor-optix", description="An autonomous training loop.")
    made.add_argument("--version", action="version", version=f"tensor-optix {tensor_optix.__version__}")
    added = made.add_subparsers(required=True, metavar="COMMAND")
    made.by_command = {}
    for name, (add_arguments, description) in COMMANDS.items():
        one = added.add_parser(name, help=description, description=f"{description[0].upper()}{description[1:]}.")
        if of is None or name in of:
            add_arguments(one)
        made.by_command[name] = one
        one.set_defaults(command=commands[name], known_flags=tuple(one._option_string_actions))
    return made


def _adds(name: str) -> AddArguments:
    def add(command: argparse.ArgumentParser) -> None:
        getattr(importlib.import_module("tensor_optix.cli.arguments"), name)(command)

    return add


COMMANDS: dict[str, tuple[AddArguments, str]] = {
    "train": (_adds("add_train"), "train an agent on an environment until it is trained"),
    "tune": (_adds("add_tune"), "search for hyper-parameters over whole runs; the preset stays unless it is beaten"),
    "check": (_adds("add_check"), "say what is wrong with an environment, and what it costs a step"),
    "resume": (_adds("add_resume"), "resume an interrupted run, or several, exactly where it was"),
    "evaluate": (_adds("add_evaluate"), "play the best policy of a run on fresh episodes"),
    "replay": (_adds("add_replay"), "say where a recorded run would have been stopped"),
    "enjoy": (_adds("add_enjoy"), "watch or record the best policy of a run"),
    "report": (_adds("add_report"), "make one page that says what a run did"),
    "compare": (_adds("add_compare"), "make one page of many runs: curves, aggregates, who beats whom"),
    "completion": (_adds("add_completion"), "print a script by which a shell completes commands and flags"),
}
"""Each command: what adds its arguments, and what it is for."""
