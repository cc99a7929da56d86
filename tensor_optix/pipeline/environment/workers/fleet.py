"""The workers of N environments: started, replaced where one fails, and ended."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium import spaces

from tensor_optix.core.faults import MOST_IN_A_ROW
from tensor_optix.errors import EnvironmentFailedError, InvalidArgumentError
from tensor_optix.pipeline.environment.workers import wire
from tensor_optix.pipeline.environment.workers.functions import pickled_value
from tensor_optix.pipeline.environment.workers.memory import SharedMemory
from tensor_optix.pipeline.environment.workers.serving import Order
from tensor_optix.pipeline.environment.workers.worker import Worker, order_bytes, told_of
from tensor_optix.support.arguments import is_whole
from tensor_optix.support.deadlines import Deadline
from tensor_optix.support.memory import free_memory

BACKOFF = 0.05
"""Seconds before an environment that has failed is made anew; doubled with each failure in a row."""
STEPS_OF_A_CALL = 16.0
"""Steps that a call may take, such as those of a replay."""


def check_rss(value: object) -> None:
    """Raise `InvalidArgumentError` unless `value` is None or a whole number of bytes above 0."""
    if value is not None and not (is_whole(value) and value > 0):
        raise InvalidArgumentError(
            f"max_worker_rss must be a whole number of bytes above 0, or None (no bound), but got {value!r}."
        )


Hire: TypeAlias = Callable[[Sequence[Callable[[], gym.Env]], Sequence[Order], SharedMemory], Sequence[Worker]]
"""Makes a worker for each function and its order; all fill the rows of one memory."""


def local_workers(
    env_fns: Sequence[Callable[[], gym.Env]], orders: Sequence[Order], memory: SharedMemory
) -> list[Worker]:
    """Return workers on this machine; see `Hire`."""
    return [Worker(order_bytes(make, order), memory) for make, order in zip(env_fns, orders, strict=True)]


class Fleet:
    """Starts N workers, knows which episode each is in, and lets one that has failed go on with the next.

    Args:
        env_fns: make an environment each.
        observation_space: of each.
        action_space: of each.
        step_timeout: seconds that a step or a reset may take; None = learned.
        max_worker_rss: bytes of resident memory from which a worker is replaced; None = no bound.
        sleep: waits for so many seconds.
        hire: makes the workers, which begin later.

    Raises:
        InvalidArgumentError: a bound out of its range.
        ContractError: a function cannot be sent to another process.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gym.Env]],
        observation_space: spaces.Space[object],
        action_space: spaces.Space[object],
        step_timeout: float | None = None,
        max_worker_rss: int | None = None,
        sleep: Callable[[float], object] = time.sleep,
        hire: Hire = local_workers,
    ) -> None:
        check_rss(max_worker_rss)
        self.step_deadline, self.reset_deadline = Deadline(step_timeout), Deadline(step_timeout)
        self._sleep = sleep
        n_envs = len(env_fns)
        self.memory = SharedMemory(observation_space, action_space, n_envs)
        self._roots: list[int | None] = [None] * n_envs
        self._numbers = [0] * n_envs
        """The episode in progress of each environment, as `SeededEpisodes` counts them."""

        orders = [
            Order(
                index=i,
                n_envs=n_envs,
                observation_space=observation_space,
                action_space=action_space,
                autoreset=True,
                reset_tries=MOST_IN_A_ROW,
                most_resident=max_worker_rss,
                warns=i == 0,
            )
            for i in range(n_envs)
        ]
        self.workers = list(hire(env_fns, orders, self.memory))

    def begin(self) -> None:
        """Start all workers, and wait for their environments.

        Raises:
            InvalidArgumentError: there is not enough memory for them.
            EnvironmentNotFoundError: a function cannot be imported there.
            EnvironmentFailedError: an environment cannot be made there.
            SpaceError: one has other spaces.
        """
        n_envs, first = len(self.workers), self.workers[0]
        first.begin()
        self._wait_until_made(0)
        free, needed = free_memory(), first.private_bytes * (n_envs - 1)
        if free is not None and needed > free:
            raise InvalidArgumentError(
                f"{n_envs} environments in processes of their own need about {needed / 2**30:.1f} GiB of memory "
                f"({first.private_bytes / 2**20:.0f} MiB each), but {free / 2**30:.1f} GiB are free. Use fewer."
            )
        for worker in self.workers[1:]:
            worker.begin()
        for i in range(1, n_envs):
            self._wait_until_made(i)

    def _wait_until_made(self, i: int) -> None:
        try:
            self.workers[i].wait_until_made()
        except EnvironmentFailedError as error:
            if isinstance(error, InvalidArgumentError):  # it says what to do
                raise
            raise EnvironmentFailedError(
                f"Environment {i} of {len(self.workers)} failed while it was made, in a process of its own; it "
                f"{told_of(error)}"
            ) from error

    def send_reset(self, i: int, seed: int | None, options: dict[str, object] | None) -> None:
        """Let an environment begin its next episode, or with a seed the first one of that seed.

        Raises:
            EnvironmentFailedError: its worker is gone.
        """
        if seed is not None:
            self._roots[i], self._numbers[i] = seed, -1
        worker = self.workers[i]
        if not worker.is_running or worker.is_asked:  # what was asked before has no meaning any more
            worker.begin()
            worker.wait_until_made()
        self._send_reset(i, options)

    def _send_reset(self, i: int, options: dict[str, object] | None = None) -> None:
        payload = pickled_value({"after": (self._roots[i], self._numbers[i]), "options": options})
        self.workers[i].send(wire.RESET, "reset", payload, self.reset_deadline.seconds)

    def begun(self, i: int, until: float | None = None) -> wire.Reply:
        """Return the reply to a reset.

        Args:
            i: the environment.
            until: `time.monotonic()` at which it has taken too long; None = counted from now.

        Raises:
            EnvironmentFailedError: it failed, and the episode is left.
        """
        try:
            reply = self.workers[i].receive(self.reset_deadline.seconds, "reset", until)
        except EnvironmentFailedError:
            self.leave(i)
            raise
        self._numbers[i] = reply.number
        return reply

    def leave(self, i: int) -> None:
        """Leave an episode that could not begin for the one after."""
        self._numbers[i] += 1

    def renewed(self, i: int, failures: list[str], *, waits: bool = True) -> wire.Reply | None:
        """Make an environment anew and begin its next episode; return the reply, None after too many failures.

        Args:
            i: its number.
            failures: of its resets until now; what fails here is added.
            waits: after a failure, before another process is started.
        """
        worker = self.workers[i]
        while len(failures) < MOST_IN_A_ROW:
            worker.kill()
            if waits or failures:
                self._sleep(BACKOFF * 2 ** len(failures))
            try:
                worker.begin()
                worker.wait_until_made()
                self._send_reset(i)
            except EnvironmentFailedError as error:
                self.leave(i)
                failures.append(told_of(error))
                continue
            try:
                return self.begun(i)
            except EnvironmentFailedError as error:
                failures.append(told_of(error))
        return None

    def ask(self, kind: bytes, doing: str, payloads: Sequence[bytes]) -> list[Any]:
        """Ask all, and return what each says.

        Raises:
            EnvironmentFailedError: one of them failed; it is made anew in the next step or reset.
        """
        seconds = STEPS_OF_A_CALL * self.step_deadline.seconds
        try:
            for worker, payload in zip(self.workers, payloads, strict=True):
                worker.send(kind, doing, payload, seconds)
            return [worker.receive(seconds).value for worker in self.workers]
        except EnvironmentFailedError as error:
            raise EnvironmentFailedError(
                f"An environment of {len(self.workers)} failed; it {told_of(error)}"
            ) from error

    def close(self) -> None:
        """End all workers, once their environments have closed."""
        for worker in self.workers:
            worker.close()
        self.memory.close()
