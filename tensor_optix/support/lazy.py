"""Names of a package that are loaded when they are first used (PEP 562), so that importing it loads no framework."""

import importlib
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from tensor_optix.errors import MissingDependencyError, did_you_mean

INSTALL = {
    "torch": "pip install 'tensor-optix-core[torch]'",
    "tensorflow": "pip install 'tensorflow>=2.18'",
    "keras": "pip install 'tensorflow>=2.18'",
}
"""How to install what may be missing."""


def exported(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package.

    A name that there is not raises `AttributeError`, one whose framework is not installed `MissingDependencyError`.

    Args:
        package: its `__name__`.
        homes: the module of each name, below `tensor_optix`.
    """

    def attribute(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}.{did_you_mean(name, homes)}")
        value = _loaded(name, homes[name])
        setattr(sys.modules[package], name, value)
        return value

    return attribute, lambda: sorted({*vars(sys.modules[package]), *homes})


def _loaded(name: str, home: str) -> object:
    try:
        return getattr(importlib.import_module(f"tensor_optix.{home}"), name)
    except ModuleNotFoundError as error:
        if error.name not in INSTALL:
            raise
        raise MissingDependencyError(
            f"{name} needs {error.name}, which is not installed. Install it with: {INSTALL[error.name]}"
        ) from error


def is_installed(module: str) -> bool:
    """Return whether a module could be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
