"""Jobs on a Ray cluster: one that is there, or one that is started on this machine for as long as it is needed."""

import logging
from typing import Any

from tensor_optix.executors._ray_cluster import RayCluster
from tensor_optix.executors._ray_runner import RayLink
from tensor_optix.executors.budget import cores, over_budget
from tensor_optix.executors.processes import GRACE_SECONDS, Processes
from tensor_optix.support.arguments import check_amount, check_count

logger = logging.getLogger(__name__)

START_SECONDS = 120.0
"""A worker that is not there by then is given up: on a busy machine Ray takes half a minute for its own."""


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
        check_count("threads", threads, 1)
        if workers is not None:
            check_count("workers", workers, 1)
        check_amount("grace_seconds", grace_seconds)
        check_amount("start_seconds", start_seconds)
        wanted = max((workers or 1) * threads, cores())
        self._cluster = RayCluster(address, wanted, "RayExecutor", start_seconds)
        available = self._cluster.cores
        fitting = max(available // threads, 1)
        if workers is not None and (too_many := over_budget(workers, threads, self._cluster.true_cores)):
            logger.warning("%s", too_many)
        super().__init__(
            min(workers or fitting, fitting), threads=threads, grace_seconds=grace_seconds, start_seconds=start_seconds
        )

    def _check_budget(self) -> None:
        """Say nothing: this machine's cores are not those of the cluster."""

    def _start_link(self) -> Any:
        return RayLink(self._cluster.ray, self._threads, self._start_seconds, self._cluster.paths)

    def close(self) -> None:
        """Let the workers go, and end the connection, or the cluster, where this executor has begun it."""
        super().close()
        self._cluster.close()
