"""A connection to a Ray cluster: one that is there, or one that is started on this machine for as long as it is needed.

Ray listens on every interface of the machine, whatever is asked, so it is used where somebody asks for it, and nowhere
else. Its authentication is left as it is. What this process has not started is not shut down.
"""

import logging
import os
import platform
import socket
import sys
from types import ModuleType

from tensor_optix.errors import ExecutorError
from tensor_optix.executors.budget import cores
from tensor_optix.support.optional import require

logger = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 1 << 28
_ANSWER_SECONDS = 10.0
_SETTINGS = b"\x04"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _SETTINGS + bytes(5)
_STARTS = 3
"""Of a cluster on a busy machine, which may fail."""


class RayCluster:
    """A connection, whose nodes have this library in the version of this process.

    Args:
        address: `"host:port"` of a cluster, or `"auto"`; None starts one on this machine. Where this process has a
            connection already, that is used.
        wanted_cores: of one that is started.
        needed_by: what the user asked for.
        start_seconds: that a task has to start.

    Raises:
        MissingDependencyError: Ray is not installed; the message has the install line.
        ExecutorError: nothing answers, the cluster cannot be started, or its nodes have another version of this library
            or of Python.
    """

    def __init__(self, address: str | None, wanted_cores: int, needed_by: str, start_seconds: float) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self.ray = require("ray", needed_by, "ray")
        self._is_ours = False
        if not self.ray.is_initialized():
            _connect(self.ray, address, wanted_cores)
            self._is_ours = True
        self.paths = sys.path if address is None else []
        """Where workers look for modules, besides the places of their node."""
        try:
            _check_nodes(self.ray, start_seconds)
            self.cores = int(self.ray.cluster_resources().get("CPU", 1))
            """Of all nodes, as Ray counts them."""
            self.true_cores = min(self.cores, cores()) if self._is_ours and address is None else self.cores
            """Fewer where this object has started a cluster with more than this machine has."""
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection, or the cluster, where this object has begun it."""
        if self._is_ours:
            self._is_ours = False
            self.ray.shutdown()


def first_line(error: BaseException) -> str:
    """Return what an error of Ray's says, without the report that follows."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def full_store(error: BaseException, instead: str) -> ExecutorError:
    """Return what to say where the object store of the cluster is full.

    Args:
        error: Ray's.
        instead: of what fewer would help.
    """
    return ExecutorError(
        f"The object store of the Ray cluster is full: {first_line(error)}. Give it more memory, or use fewer "
        f"{instead}."
    )


def _connect(ray: ModuleType, address: str | None, wanted_cores: int) -> None:
    """Connect to a cluster, or start one with so many cores on this machine."""
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address is not None:
        _check_answers(address)
        try:
            ray.init(address=address, **quiet)
        except Exception as error:  # of many types, one for each layer of Ray
            raise ExecutorError(f"The Ray cluster at {address!r} cannot be used: {error}") from error
        return
    for attempt in range(1, _STARTS + 1):
        try:
            ray.init(num_cpus=wanted_cores, include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES, **quiet)
            return
        except Exception as error:  # the same
            ray.shutdown()
            if attempt == _STARTS:
                raise ExecutorError(f"Ray could not be started on this machine, {_STARTS} times: {error}") from error
            logger.warning("Ray could not be started, and is tried again: %s", error)


def _check_answers(address: str) -> None:
    """Raise `ExecutorError` where no gRPC server answers at an address: Ray itself would wait for it for long.

    A server of HTTP/2, which gRPC is, answers the preface of a connection by its settings (RFC 9113, 3.4).
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdecimal():
        raise ExecutorError(f"The address of a Ray cluster must be 'host:port' or 'auto', but got {address!r}.")
    try:
        with socket.create_connection((host, int(port)), _ANSWER_SECONDS) as connection:
            connection.sendall(_PREFACE)
            is_http2 = os.environ.get("RAY_USE_TLS", "0") != "0" or connection.recv(4)[3:] == _SETTINGS
    except (OSError, OverflowError) as error:
        raise ExecutorError(
            f"No Ray cluster answers at {address!r} ({error}). `ray start --head` prints the address of one."
        ) from error
    if not is_http2:
        raise ExecutorError(
            f"What answers at {address!r} is no Ray cluster. `ray start --head` prints the address of one."
        )


def versions() -> list[str]:
    """Return the versions of this library and of Python, as text."""
    return [f"tensor-optix {_own_version()}", f"Python {platform.python_version()}"]


def _own_version() -> str:
    return sys.modules["tensor_optix"].__version__  # importing the facade would import all that it is made of


def _check_nodes(ray: ModuleType, seconds: float) -> None:
    """Raise `ExecutorError` unless a task can import this library, in the version of this process."""
    try:
        there = ray.get(ray.remote(num_cpus=0)(versions).remote(), timeout=seconds)
    except ray.exceptions.RayError as error:
        last = str(error).strip().rpartition("\n")[2]
        raise ExecutorError(
            f"The workers of the Ray cluster cannot import tensor_optix ({last}). Install tensor-optix-core on each "
            f"node, in version {_own_version()}."
        ) from error
    if there != versions():
        raise ExecutorError(
            f"The Ray cluster has {' and '.join(there)}, but this process has {' and '.join(versions())}. Both must be "
            f"the same."
        )
