"""Packages of the extras, imported where they are used."""

import importlib
from types import ModuleType

from tensor_optix.errors import MissingDependencyError


def require(module: str, needed_by: str, extra: str) -> ModuleType:
    """Return an optional module.

    Args:
        module: its name.
        needed_by: what the user asked for.
        extra: of tensor-optix, which brings it.

    Raises:
        MissingDependencyError: it is not installed; the message has the install line.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise MissingDependencyError(
            f"{needed_by} needs {package}, which is not installed. Install it with: "
            f"pip install 'tensor-optix-core[{extra}]'"
        ) from error
