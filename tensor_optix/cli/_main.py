"""The command line as a whole: which command runs, and how a process ends."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence

from tensor_optix.cli import exit_codes
from tensor_optix.cli.checking import check
from tensor_optix.cli.comparing import compare
from tensor_optix.cli.completing import completion
from tensor_optix.cli.evaluating import evaluate
from tensor_optix.cli.parser import Command, parser
from tensor_optix.cli.training import resume, train
from tensor_optix.errors import TensorOptixError
from tensor_optix.replay import replay
from tensor_optix.support.redact import redacted, without_credentials
from tensor_optix.support.terminal import for_a_terminal, say, speak_as_the_terminal_can


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code.

    0 done, 1 not verified, 2 bad input, 3 nothing learned, 130 or 143 ended by a signal, 141 nobody reads the output.
    """
    speak_as_the_terminal_can()
    args = parser(**_COMMANDS).parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(without_credentials)
        handler.addFilter(for_a_terminal)
    logging.getLogger("tensor_optix").setLevel(logging.INFO)  # such as the size of a replay memory
    try:
        code = args.command(args)
        sys.stdout.flush()
    except TensorOptixError as error:
        say(f"tensor-optix: {redacted(str(error))}", file=sys.stderr)
        return exit_codes.USAGE
    except BrokenPipeError:  # whoever read has gone; the run itself is saved by now
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try once more as it ends
        return exit_codes.CLOSED_PIPE
    return code


def _replay(args: argparse.Namespace) -> int:
    for path in args.files:
        for found in replay(path, args.every, args.episodes, args.offset):
            if args.json:
                print(json.dumps(found.to_dict()))
            else:
                say(found)
    return exit_codes.DONE


def _enjoy(args: argparse.Namespace) -> int:
    from tensor_optix.cli.enjoying import enjoy

    return enjoy(args)


def _report(args: argparse.Namespace) -> int:
    from tensor_optix.report.page import write_page  # the extra is needed here alone
    from tensor_optix.report.serving import serve

    if args.watch:
        serve(args.run_dir, args.port)
    else:
        path = write_page(args.run_dir, args.output)
        if args.json:
            print(json.dumps({"page": str(path)}))
        else:
            say(path)
    return exit_codes.DONE


_COMMANDS: dict[str, Command] = {
    "train": train,
    "check": check,
    "resume": resume,
    "evaluate": evaluate,
    "enjoy": _enjoy,
    "replay": _replay,
    "report": _report,
    "compare": compare,
    "completion": completion,
}
