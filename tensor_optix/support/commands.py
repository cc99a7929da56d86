"""Commands of the command line, as they are printed for the user to copy."""

import shlex


def confirm_command(run_dir: str, allow_module: str = "") -> str:
    """Return the command that tests the best of a run on fresh episodes; see `named_run`."""
    return f"tensor-optix evaluate {named_run(run_dir, allow_module)} --confirm"


def named_run(run_dir: str, allow_module: str = "") -> str:
    """Return a run as an argument of a command.

    Args:
        run_dir: the folder of the run.
        allow_module: the module or file that the name of its environment imports; empty for none.
    """
    return shlex.quote(run_dir) + (f" --allow-module {shlex.quote(allow_module)}" if allow_module else "")
