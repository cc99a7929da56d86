"""Packages of the extras, imported where they are used."""

import contextlib
import importlib
import sys
from collections.abc import Generator
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


@contextlib.contextmanager
def hidden(module: str) -> Generator[None]:
    """For a block, let a module look as if it were not installed, unless it is loaded already.

    For packages that load a large one only because it is there.

    Args:
        module: its name.
    """
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # pyright: ignore[reportArgumentType] - by which importing it fails, as documented
    try:
        yield
    finally:
        sys.modules.pop(module, None)
