"""Functions on their way from this process to a worker; nothing that a worker says is read here."""

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import cloudpickle
import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from tensor_optix.errors import ContractError

REGISTER_IT = (
    "Put its class into a module that can be imported, register it there "
    "(gymnasium.register(id='MyEnv-v0', entry_point='my_module:MyEnv')), and hand over its name: 'my_module:MyEnv-v0'"
)


class SpecError(Exception):
    """The environment that is wanted was registered with what cannot be imported here; the cause says what."""


def pickled(make: Callable[[], gym.Env]) -> bytes:
    """Return a function that makes an environment as bytes, with what is registered in this process.

    Raises:
        ContractError: it cannot be sent to another process.
    """
    try:
        own = _own_specs()
        return cloudpickle.dumps((_registering_modules(own), {spec.id: sent for spec, sent in own}, make))
    except Exception as error:
        raise ContractError(
            f"What makes the environment cannot be sent to a process of its own: {type(error).__name__}: {error}. "
            f"{REGISTER_IT}; or make all that it needs inside the function."
        ) from error


def unpickled(data: bytes) -> Callable[[], gym.Env]:
    """Return the function that `pickled` was given, in the worker; what was registered there is registered here."""
    modules, specs, make = cloudpickle.loads(data)
    for name in modules:
        # First, as a module that registers its environments would register them a second time once one is made.
        with contextlib.suppress(Exception):  # what needs it says so
            importlib.import_module(name)
    for env_id, spec in specs.items():
        gym.registry.setdefault(env_id, _spec_of(env_id, spec))
    return make


def _spec_of(env_id: str, spec: bytes) -> EnvSpec:
    """Return what was registered; where it can't be had here, one that says so if it is the one that is wanted."""
    try:
        return cloudpickle.loads(spec)
    except Exception as error:
        return EnvSpec(env_id, entry_point=partial(_raise, error))


def _raise(error: Exception, **kwargs: object) -> gym.Env:
    raise SpecError from error


def pickled_value(value: object) -> bytes:
    """Return an argument for a worker as bytes.

    Raises:
        ContractError: it cannot be sent to another process.
    """
    try:
        return cloudpickle.dumps(value)
    except Exception as error:
        raise ContractError(f"A {type(value).__name__} cannot be sent to another process: {error}") from error


def unpickled_value(data: bytes) -> Any:
    """Return the argument that `pickled_value` was given, in the worker."""
    return cloudpickle.loads(data)


def _own_specs() -> list[tuple[EnvSpec, bytes]]:
    """Return what was registered beside Gymnasium's own environments, as far as it can be sent, also as bytes."""
    found = []
    for spec in gym.registry.values():
        if not str(spec.entry_point).startswith("gymnasium."):
            try:
                found.append((spec, cloudpickle.dumps(spec)))
            except Exception:  # noqa: S112 - the environment that is wanted may be another one
                continue
    return found


def _registering_modules(own: Iterable[tuple[EnvSpec, bytes]]) -> list[str]:
    """Return the modules of environments registered by name, as deep as they are imported here, in order."""
    found = {_imported_part(spec.entry_point.partition(":")[0]) for spec, _ in own if isinstance(spec.entry_point, str)}
    return sorted(found - {"", "__main__"})


def _imported_part(module: str) -> str:
    """Return the innermost of a module and its packages that is imported here, "" if none is."""
    while module and module not in sys.modules:
        module = module.rpartition(".")[0]
    return module
