"""`tensor-optix completion`: a script by which the shell completes commands, flags and paths."""

import argparse
from pathlib import Path

from tensor_optix.cli import exit_codes
from tensor_optix.cli.parser import COMMANDS, parser
from tensor_optix.support.optional import require


def completion(args: argparse.Namespace) -> int:
    """Print the script for a shell; `eval` of it, or a file in the shell's folder of completions, puts it to use."""
    shtab = require("shtab", "tensor-optix completion", "completion")
    made = parser(**dict.fromkeys(COMMANDS, completion))
    for command in made.by_command.values():
        for action in command._actions:
            if action.type is Path:
                setattr(action, "complete", shtab.FILE)  # noqa: B010 - shtab's own attribute
    print(shtab.complete(made, args.shell))
    return exit_codes.DONE
