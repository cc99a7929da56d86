"""Jobs on a Ray cluster: one that is there, or one that is started on this machine for as long as it is needed.

Ray listens on every interface of the machine, whatever is asked, so it is used where somebody asks for it, and nowhere
else. Its authentication is left as it is. What this process has not started is not shut down.
"""

import logging
import os
import platform
import socket
import sys
from types import ModuleType
from typing import Any

from tensor_optix.errors import ExecutorError
from tensor_optix.executors._ray_runner import RayLink
from tensor_optix.executors.budget import cores, over_budget
from tensor_optix.executors.processes import GRACE_SECONDS, Processes
from tensor_optix.support.arguments import check_count
from tensor_optix.support.optional import require

logger = logging.getLogger(__name__)

START_SECONDS = 120.0
"""A worker that is not there by then is given up: on a busy machine Ray takes half a minute for its own."""
_OBJECT_STORE_BYTES = 1 << 28
_ANSWER_SECONDS = 10.0
_STARTS = 3
"""Of a cluster on a busy machine, which may fail."""


class RayExecutor(Processes):
    """Runs items in processes on the nodes of a Ray cluster.

    Every node needs this library, and what a job imports; that is looked at in one task first.

    Args:
        address: `"host:port"` of a cluster, or `"auto"`; None starts one on this machine.
        workers: items at once; None = as many as the cluster has cores for.
        threads: of each.
        grace_seconds: that a cancelled job has to end by itself.
        start_seconds: that a worker has to start.

    Raises:
        MissingDependencyError: Ray is not installed; the message has the install line.
        ExecutorError: nothing answers, the cluster cannot be started, or its nodes have another version of this library
            or of Python.
        InvalidArgumentError: workers or threads below 1, or a negative time.
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        *,
        threads: int = 1,
        grace_seconds: float = GRACE_SECONDS,
        start_seconds: float = START_SECONDS,
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        check_count("threads", threads, 1)
        if workers is not None:
            check_count("workers", workers, 1)
        self._ray, self._is_ours = require("ray", "RayExecutor", "ray"), False
        if not self._ray.is_initialized():
            wanted = max((workers or 1) * threads, cores())
            _connect(self._ray, address, wanted)
            self._is_ours = True
        self._paths = sys.path if address is None else []
        try:
            _check_nodes(self._ray, start_seconds)
            available = int(self._ray.cluster_resources().get("CPU", 1))
        except BaseException:
            self._disconnect()
            raise
        fitting = max(available // threads, 1)
        if workers is not None and (too_many := over_budget(workers, threads, available)):
            logger.warning("%s", too_many)
        super().__init__(
            min(workers or fitting, fitting), threads=threads, grace_seconds=grace_seconds, start_seconds=start_seconds
        )

    def _check_budget(self) -> None:
        """Say nothing: this machine's cores are not those of the cluster."""

    def _start_link(self) -> Any:
        return RayLink(self._ray, self._threads, self._start_seconds, self._paths)

    def close(self) -> None:
        """Let the workers go, and end the connection, or the cluster, where this executor has begun it."""
        super().close()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._is_ours:
            self._is_ours = False
            self._ray.shutdown()


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
    """Raise `ExecutorError` where nothing listens at an address: Ray itself would wait for it for long."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdecimal():
        raise ExecutorError(f"The address of a Ray cluster must be 'host:port' or 'auto', but got {address!r}.")
    try:
        socket.create_connection((host, int(port)), _ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ExecutorError(
            f"No Ray cluster answers at {address!r} ({error}). `ray start --head` prints the address of one."
        ) from error


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
