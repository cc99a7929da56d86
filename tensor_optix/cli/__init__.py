"""The command line: one module per command, the flags, and the file that may stand in for them.

`train`'s flags, `run.json` and a file of settings are one list: the fields of `RunDescription`. Here they are parsed,
laid over each other and completed; what runs is built in `tensor_optix.runs`.
"""

from tensor_optix.cli._main import main as main

__all__ = ["main"]
