"""Environments that are no Gymnasium id: what makes them is a class or a function, handed over or named by its place.

my_envs.py:MyEnv        the file, from the current folder, and a class, a function or a registered id in it
my_module:MyEnv         the same of a module, which is also looked for in the current folder
my_module:MyEnv-v0      Gymnasium's own form: the module registers the id
"""

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import gymnasium as gym

from tensor_optix.errors import ContractError, EnvironmentNotFoundError, did_you_mean
from tensor_optix.pipeline.environment.changes import EnvFn

EnvLike: TypeAlias = str | gym.Env | EnvFn
"""An environment, its id or place, or a class or function that makes one."""

EnvKwargs: TypeAlias = Mapping[str, Any]
"""Keyword arguments of what makes an environment."""


def code_of(name: str) -> str | None:
    """Return the file or module that a name imports, `"my_envs.py"` in `"my_envs.py:MyEnv"`; None where it does none.

    Args:
        name: of an environment.
    """
    code, colon, _ = name.rpartition(":")
    return code if colon else None


def maker_of(name: str, arguments: EnvKwargs | None = None) -> EnvFn | None:
    """Return what makes the environment that a class or function with this place makes, None for a Gymnasium id.

    What the name imports is imported here.

    Raises:
        EnvironmentNotFoundError: the file or module cannot be imported, or has nothing of that name.
    """
    code, attribute = code_of(name), name.rpartition(":")[2]
    if code is None:
        return None
    module = imported(code)
    found = getattr(module, attribute, None)
    is_id = attribute in gym.registry
    if callable(found) and not is_id:
        return partial(made_by, found, arguments)
    if is_id or any(spec.name == attribute for spec in gym.registry.values()):  # an id without its version
        # Gymnasium imports a module by its name; a file it cannot find.
        return partial(gym.make, attribute, **(arguments or {})) if code.endswith(".py") else None
    known = _environments_in(module)
    has = f"It has: {', '.join(known)}." if known else "It has none."
    raise EnvironmentNotFoundError(
        f"{code!r} has no environment {attribute!r}, and registers none of that name."
        f"{did_you_mean(attribute, known)} {has}"
    )


def made_by(make: Callable[..., object], arguments: EnvKwargs | None = None) -> gym.Env:
    """Return what a class or function makes.

    Args:
        make: the class or function.
        arguments: its arguments.

    Raises:
        ContractError: it needs other arguments, or makes something else than a Gymnasium environment.
    """
    name: str = getattr(make, "__name__", repr(make))
    arguments = arguments or {}
    if missing := [each for each in _arguments_without_default(make) if each not in arguments]:
        raise ContractError(
            f"{name} cannot make an environment without {', '.join(missing)}. Pass a function that knows them: "
            f"lambda: {name}({', '.join(f'{each}=...' for each in missing)}); on the command line, "
            f"{' '.join(f'--env-kwargs {each}=VALUE' for each in missing)}."
        )
    env = make(**arguments)
    if not isinstance(env, gym.Env):
        raise ContractError(f"{name} must make a Gymnasium environment, but made {type(env).__name__}.")
    return env


def _arguments_without_default(make: Callable[..., object]) -> list[str]:
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # something built in, which does not tell
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in optional]


def imported(code: str) -> ModuleType:
    """Return a module, by its name or its file; both are also looked for in the current folder.

    Raises:
        EnvironmentNotFoundError: it is not there, or raises while it is imported.
    """
    try:
        return _of_file(Path(code)) if code.endswith(".py") else _of_module(code)
    except EnvironmentNotFoundError:
        raise
    except Exception as error:  # whatever the user's own code raises
        raise EnvironmentNotFoundError(f"{code!r} cannot be imported: {type(error).__name__}: {error}") from error


def _of_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        here = os.getcwd()
        if error.name != name.partition(".")[0] or here in sys.path:
            raise
        sys.path.append(here)  # as `python` has it, and the script of a package has not
        importlib.invalidate_caches()
        return importlib.import_module(name)


def _of_file(path: Path) -> ModuleType:
    """Return the module of a file, which may import what lies beside it; a file is imported once."""
    file = path.resolve()
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(file):
        return loaded
    spec = importlib.util.spec_from_file_location(path.stem, file) if file.is_file() else None
    if spec is None or spec.loader is None:
        raise EnvironmentNotFoundError(f"There is no file {str(path)!r} here ({os.getcwd()!r}).")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    module = importlib.util.module_from_spec(spec)
    if loaded is None:  # else the name is another module's
        sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if loaded is None:
            del sys.modules[path.stem]
        raise
    return module


def _environments_in(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, gym.Env) and value.__module__ == module.__name__
    ]
