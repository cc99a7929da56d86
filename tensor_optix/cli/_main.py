"""The command line as a whole: which command runs, and how a process ends."""

import argparse
import atexit
import gc
import importlib
import json
import logging
import os
import sys
from collections.abc import Sequence

from tensor_optix.cli import exit_codes
from tensor_optix.cli.parser import COMMANDS, Command, parser
from tensor_optix.errors import TensorOptixError
from tensor_optix.support.collector import collector_paused
from tensor_optix.support.redact import redacted, without_credentials
from tensor_optix.support.terminal import for_a_terminal, say, speak_as_the_terminal_can


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code.

    0 done, 1 not verified, 2 bad input, 3 nothing learned, 130 or 143 ended by a signal, 141 nobody reads the output.
    """
    speak_as_the_terminal_can()
    if argv is None:  # the process ends with this command, and nobody needs what a last search for garbage would free
        atexit.register(gc.freeze)
    argv = sys.argv[1:] if argv is None else list(argv)
    args = parser([word for word in argv if word in COMMANDS], **_COMMANDS).parse_args(argv)
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
    except KeyboardInterrupt:  # before a run has begun to listen, or in a command that has nothing to save
        say("tensor-optix: Interrupted.", file=sys.stderr)
        return exit_codes.INTERRUPTED
    except BrokenPipeError:  # whoever read has gone; the run itself is saved by now
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try once more as it ends
        return exit_codes.CLOSED_PIPE
    return code


def _command(module: str, name: str) -> Command:
    """Return a command that is imported when it is run."""

    def run(args: argparse.Namespace) -> int:
        with collector_paused():
            command: Command = getattr(importlib.import_module(f"tensor_optix.cli.{module}"), name)
        return command(args)

    return run


def _replay(args: argparse.Namespace) -> int:
    from tensor_optix.replay import replay

    code = exit_codes.DONE
    for path in args.files:
        try:
            for found in replay(path, args.every, args.episodes, args.offset):
                if args.json:
                    print(json.dumps(found.to_dict()))
                else:
                    say(found)
        except TensorOptixError as error:  # the other files are replayed all the same
            say(f"tensor-optix: {redacted(str(error))}", file=sys.stderr)
            code = exit_codes.USAGE
    return code


def _report(args: argparse.Namespace) -> int:
    from tensor_optix.cli.following import enjoy_command_of
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
            if watching := enjoy_command_of(args.run_dir):
                say(f"Watch the best policy with: {watching}", file=sys.stderr)
    return exit_codes.DONE


_COMMANDS: dict[str, Command] = {
    "train": _command("training", "train"),
    "tune": _command("tuning", "tune"),
    "check": _command("checking", "check"),
    "resume": _command("training", "resume"),
    "evaluate": _command("evaluating", "evaluate"),
    "enjoy": _command("enjoying", "enjoy"),
    "replay": _replay,
    "report": _report,
    "compare": _command("comparing", "compare"),
    "completion": _command("completing", "completion"),
}
