"""Imports that wait until somebody asks the module for something."""

import contextlib
import importlib.abc
import importlib.machinery
import sys
import threading
import types
from collections.abc import Callable, Generator, Sequence

_lock = threading.RLock()
_WAITS = "__deferred__"
_LOADS = ("__all__", "__path__")
"""The names between underscores that only the module itself can answer; for the others, nobody wants what is in it."""


@contextlib.contextmanager
def deferred_imports(is_deferred: Callable[[str], bool]) -> Generator[None]:
    """Let modules that are imported within this be executed when their first name is asked for, then or later.

    Args:
        is_deferred: whether a module, by its full name, waits.
    """
    finder = _Finder(is_deferred)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Deferred(types.ModuleType):
    """A module that has not been executed."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name not in _LOADS:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with _lock:  # other threads wait until all of it is there
            if waiting := self.__dict__.pop(_WAITS, None):
                _execute(self, *waiting)
        return types.ModuleType.__getattribute__(self, name)


def _execute(module: types.ModuleType, loader: importlib.abc.Loader, path: Sequence[str] | None) -> None:
    """Execute a module; after an error it waits again, as an import would be tried again."""
    if path is not None:
        module.__path__ = list(path)
    module.__loader__ = loader
    if module.__spec__ is not None:
        module.__spec__.loader = loader
    try:
        loader.exec_module(module)
    except BaseException:
        module.__dict__[_WAITS] = loader, module.__dict__.pop("__path__", None)
        raise
    module.__class__ = types.ModuleType


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, is_deferred: Callable[[str], bool]) -> None:
        self._is_deferred = is_deferred

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module that waits, as it is found on the path; None for any other."""
        spec = importlib.machinery.PathFinder.find_spec(fullname, path) if self._is_deferred(fullname) else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Return the module that waits."""
        return _Deferred(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Note what is to be executed; without its path, what imports a module within asks for it first."""
        module.__dict__[_WAITS] = self._loader, module.__dict__.pop("__path__", None)
