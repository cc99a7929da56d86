"""Environments on the nodes of a Ray cluster, stepped together: for simulators whose steps are slow."""

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence

import gymnasium as gym

from tensor_optix.executors._ray_cluster import RayCluster
from tensor_optix.executors.budget import cores
from tensor_optix.executors.ray_executor import START_SECONDS
from tensor_optix.pipeline.environment.vector_making import makers_of
from tensor_optix.pipeline.environment.workers.memory import SharedMemory
from tensor_optix.pipeline.environment.workers.serving import Order
from tensor_optix.pipeline.environment.workers.vector import WorkerVectorEnv
from tensor_optix.pipeline.environment.workers.worker import order_bytes
from tensor_optix.ray.crew import Actor, Crew, RayWorker
from tensor_optix.ray.hosting import Host
from tensor_optix.support.arguments import check_amount, check_count

logger = logging.getLogger(__name__)


class RayVectorEnv(WorkerVectorEnv):
    """Steps N environments together, k of them in each actor of a Ray cluster, each in a process of its own there.

        pipeline = VectorBatchPipeline(RayVectorEnv(("my_envs:Slow-v0", 64), envs_per_actor=8, address="10.0.0.1:6379"))

    It gives what a `WorkerVectorEnv` gives, bit for bit: each episode has a seed of its own, one resets in the step
    that ends its episode (`SAME_STEP`), and an environment that hangs, dies or raises is made anew, its episode
    truncated. So are all k of an actor that dies; the others notice nothing. `ray.probe` says whether it pays.

    Args:
        env_fns: make an environment each, or `(id, N)`; nodes must be able to import what they need.
        envs_per_actor: k.
        cores_per_env: that each asks the cluster for; less where it has fewer, and a warning says so.
        address: `"host:port"` of a cluster, or `"auto"`; None starts one on this machine, or uses this process's.
        step_timeout: seconds that a step or a reset may take; None = learned, see `Deadline`.
        max_worker_rss: bytes of resident memory from which a worker is replaced between two episodes; None = no bound.
        start_seconds: that an actor has to start.
        clock: monotonic seconds.
        sleep: waits for so many seconds.

    Raises:
        MissingDependencyError: Ray is not installed; the message has the install line.
        ExecutorError: nothing answers at the address, or its nodes have other versions.
        InvalidArgumentError: a bound out of its range.
        ContractError: a function cannot be sent to another process.
        EnvironmentNotFoundError: an unknown id, or what a node cannot import; the first environment shows it.
        EnvironmentFailedError: an environment cannot be made there.
        SpaceError: environments with different spaces.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gym.Env]] | tuple[str, int],
        *,
        envs_per_actor: int = 1,
        cores_per_env: float = 1.0,
        address: str | None = None,
        step_timeout: float | None = None,
        max_worker_rss: int | None = None,
        start_seconds: float = START_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        check_count("envs_per_actor", envs_per_actor, 1)
        check_amount("cores_per_env", cores_per_env)
        check_amount("start_seconds", start_seconds)
        makers = makers_of(env_fns)
        self._crews = list[Crew]()
        self._per_actor, self._start_seconds = int(envs_per_actor), float(start_seconds)
        self._cluster = RayCluster(address, cores(), "RayVectorEnv", start_seconds)
        self._cores_per_env = fitting(cores_per_env, len(makers), self._cluster.cores)
        try:
            super().__init__(
                makers,
                step_timeout=step_timeout,
                max_worker_rss=max_worker_rss,
                clock=clock,
                sleep=sleep,
                hire=self._hired,
            )
        except BaseException:
            self._cluster.close()
            raise

    def _hired(
        self, env_fns: Sequence[Callable[[], gym.Env]], orders: Sequence[Order], memory: SharedMemory
    ) -> list[RayWorker]:
        crews, workers = self._crews, list[RayWorker]()
        for begin in range(0, len(orders), self._per_actor):
            rows = range(begin, min(begin + self._per_actor, len(orders)))
            crew = Crew(self._cluster.ray, self._maker_of_actors(len(rows), orders[begin]), crews, self._start_seconds)
            for seat, row in enumerate(rows):
                there = dataclasses.replace(orders[row], index=seat, n_envs=len(rows))
                workers.append(RayWorker(order_bytes(env_fns[row], there), memory, row, crew, seat))
        return workers

    def _maker_of_actors(self, seats: int, order: Order) -> Callable[[], Actor]:
        """Return what starts an actor with so many environments."""
        share = seats * self._cores_per_env
        # What is more than one core must be whole, and Ray counts in ten thousandths.
        whole = int(share) if share > 1.0 else int(share * 10_000) / 10_000
        actor = self._cluster.ray.remote(num_cpus=whole, max_concurrency=1)(Host)
        spaces, paths = (order.observation_space, order.action_space), list(self._cluster.paths)
        return lambda: actor.remote(seats, *spaces, paths)

    @property
    def pids(self) -> list[int]:
        """The numbers of the actors' processes, where they are there."""
        return [pid for crew in self._crews if (pid := crew.pid) is not None]

    def close_extras(self, **options: object) -> None:
        """End all actors, and the connection, or the cluster, where this object has begun it."""
        super().close_extras(**options)
        self._cluster.close()


def fitting(cores_per_env: float, n_envs: int, available: int) -> float:
    """Return the cores that each environment can have; says where they are fewer than wanted.

    Args:
        cores_per_env: wanted.
        n_envs: N.
        available: cores of the cluster.
    """
    if cores_per_env * n_envs <= available:
        return cores_per_env
    share = available / n_envs
    logger.warning(
        "%d environments with %g cores each want %g, but the cluster has %d: each gets %.3g, and they take turns.",
        n_envs, cores_per_env, cores_per_env * n_envs, available, share,
    )  # fmt: skip
    return share
