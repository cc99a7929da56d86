"""A single environment in a process of its own: what fails there is one kind of error here."""

import contextlib
import time
from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium as gym

from tensor_optix.core.types import Action, Observation
from tensor_optix.errors import BadDataError
from tensor_optix.pipeline.environment.episodes import BAD_RESETS, BAD_STEP
from tensor_optix.pipeline.environment.workers import wire
from tensor_optix.pipeline.environment.workers.fleet import check_rss
from tensor_optix.pipeline.environment.workers.functions import pickled_value
from tensor_optix.pipeline.environment.workers.memory import SharedMemory, can_hold, read, row_of, written
from tensor_optix.pipeline.environment.workers.serving import Order
from tensor_optix.pipeline.environment.workers.worker import Worker, order_bytes
from tensor_optix.support.deadlines import Deadline


class IsolatedEnv(gym.Env[Observation, Action]):
    """Steps an environment that is in a worker; one that hangs, dies or raises is made anew with the next reset.

    Args:
        make: makes the environment.
        step_timeout: seconds that a step or a reset may take; None = learned, see `Deadline`.
        max_worker_rss: bytes of resident memory from which the worker is replaced between two episodes; None = no
            bound.

    Raises:
        InvalidArgumentError: a bound out of its range.
        ContractError: `make` cannot be sent to another process.
        EnvironmentNotFoundError: it cannot be imported there.
        EnvironmentFailedError: the environment cannot be made there.
    """

    def __init__(
        self,
        make: Callable[[], gym.Env],
        *,
        step_timeout: float | None = None,
        max_worker_rss: int | None = None,
    ) -> None:
        check_rss(max_worker_rss)
        self._step_deadline, self._reset_deadline = Deadline(step_timeout), Deadline(step_timeout)
        shown = make()
        self.observation_space, self.action_space = shown.observation_space, shown.action_space
        self.metadata, self.render_mode = dict(shown.metadata), shown.render_mode
        with contextlib.suppress(Exception):  # a wrapper that does not record its arguments
            self.spec = shown.spec
        shown.close()
        self._memory = SharedMemory(self.observation_space, self.action_space, 1)
        self._row, self._action = row_of(self._memory.observations, 0), row_of(self._memory.actions, 0)
        order = Order(
            index=0,
            n_envs=1,
            observation_space=self.observation_space,
            action_space=self.action_space,
            autoreset=False,
            reset_tries=1,
            most_resident=max_worker_rss,
            warns=True,
        )
        self.worker = Worker(order_bytes(make, order), self._memory)
        """What runs the environment."""
        self._is_full = False
        self._asked: tuple[float, Exception | None] | None = None
        """When a step was asked for that nobody has taken yet, and why it could not be."""
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def __str__(self) -> str:
        return self.worker.name or "an environment in a process of its own"

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[Observation, dict[str, object]]:
        """Begin an episode, in a new process where the one before has failed or grown too large.

        Raises:
            BadDataError: what the environment returned must not be used.
            EnvironmentFailedError: it hangs, has died, or raised.
        """
        if self._is_full or self.worker.is_asked or not self.worker.is_running:
            self._begin()
        payload = pickled_value({"seed": seed, "options": options})
        with self._reset_deadline.measured():
            self.worker.send(wire.RESET, "reset", payload, self._reset_deadline.seconds)
            reply = self.worker.receive(self._reset_deadline.seconds)
        observation, info = self._observed(reply)
        if BAD_RESETS in info:
            raise BadDataError(info[BAD_RESETS][0])
        return observation, info

    def begin_step(self, action: Action) -> None:
        """Ask for a step, so that others can be asked while it is taken; `step` with the same action returns it."""
        self._asked = self._ask_for_step(action)

    def step(self, action: Action) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, object]]:
        """Take a step; raises as `reset` does."""
        asked_at, failure = self._asked or self._ask_for_step(action)
        self._asked = None
        if failure is not None:
            raise failure
        reply = self.worker.receive(self._step_deadline.seconds)
        self._step_deadline.saw(time.monotonic() - asked_at)
        observation, info = self._observed(reply)
        if BAD_STEP in info:
            raise BadDataError(info[BAD_STEP])
        self._is_full = bool(reply.flags & wire.IS_FULL)
        flags = bool(reply.flags & wire.TERMINATED), bool(reply.flags & wire.TRUNCATED)
        return observation, reply.reward, *flags, info

    def close(self) -> None:
        """End the process."""
        self.worker.close()
        self._memory.close()

    def _begin(self) -> None:
        self._is_full, self._asked = False, None
        self.worker.begin()
        self.worker.wait_until_made()

    def _ask_for_step(self, action: Action) -> tuple[float, Exception | None]:
        payload, now = b"", time.monotonic()
        try:
            if self._action is None or not can_hold(self._action, action):
                payload = pickled_value(action)
            else:
                written(self._action, action)
            self.worker.send(wire.STEP, "step", payload, self._step_deadline.seconds)
        except Exception as error:  # for the caller of `step`
            return now, error
        return now, None

    def _observed(self, reply: wire.Reply) -> tuple[Observation, dict[str, Any]]:
        info, seen = ({}, []) if reply.value is None else reply.value
        info.pop(wire.LEFT_OUT, None)
        return (self.observation_space.from_jsonable(seen)[0] if self._row is None else read(self._row)), info
