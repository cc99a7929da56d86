"""Functions on their way from this process to a worker; nothing that a worker says is read here."""

from collections.abc import Callable
from typing import Any

import cloudpickle
import gymnasium as gym

from tensor_optix.errors import ContractError

REGISTER_IT = (
    "Put its class into a module that can be imported, register it there "
    "(gymnasium.register(id='MyEnv-v0', entry_point='my_module:MyEnv')), and hand over its name: 'my_module:MyEnv-v0'"
)


def pickled(make: Callable[[], gym.Env]) -> bytes:
    """Return a function that makes an environment as bytes, with what is registered in this process.

    Raises:
        ContractError: it cannot be sent to another process.
    """
    try:
        return cloudpickle.dumps((_own_specs(), make))
    except Exception as error:
        raise ContractError(
            f"What makes the environment cannot be sent to a process of its own: {type(error).__name__}: {error}. "
            f"{REGISTER_IT}; or make all that it needs inside the function."
        ) from error


def unpickled(data: bytes) -> Callable[[], gym.Env]:
    """Return the function that `pickled` was given, in the worker; what was registered there is registered here."""
    specs, make = cloudpickle.loads(data)
    for spec in map(cloudpickle.loads, specs):
        gym.registry.setdefault(spec.id, spec)
    return make


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


def _own_specs() -> list[bytes]:
    """Return what was registered beside Gymnasium's own environments, as far as it can be sent."""
    found = []
    for spec in gym.registry.values():
        if not str(spec.entry_point).startswith("gymnasium."):
            try:
                found.append(cloudpickle.dumps(spec))
            except Exception:  # noqa: S112 - the environment that is wanted may be another one
                continue
    return found
