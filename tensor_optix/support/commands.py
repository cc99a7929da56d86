"""Commands of the command line, as they are printed for the user to copy."""

import shlex


def confirm_command(run_dir: str, allow_module: str = "") -> str:
    """Return the command that tests the best of a run on fresh episodes; see `named_run`."""
    return f"tensor-optix evaluate {named_run(run_dir, allow_module)} --confirm"


def named_run(run_dir: str, allow_module: str = "") -> str:
    """Return a run as an argument of a command.

    Args:
        run_dir: the folder of the run.
        allow_module: the modules or files that the names of its environment and wrappers import, one a line.
    """
    return shlex.quote(run_dir) + "".join(f" --allow-module {shlex.quote(one)}" for one in allow_module.splitlines())


def file_name_of(env_id: str) -> str:
    """Return the name of an environment as part of the name of a folder."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in env_id).strip("-")
