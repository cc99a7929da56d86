"""What runs in an actor on some node: a few workers with an environment each, as on the driver's own machine.

The actor hands requests to them and answers back, and judges nothing. What environments say is never unpickled here
either; Ray itself pickles what goes between actor and driver.
"""

import os
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from gymnasium import spaces

from tensor_optix.core.faults import DIED
from tensor_optix.errors import EnvironmentFailedError
from tensor_optix.pipeline.environment.workers import wire
from tensor_optix.pipeline.environment.workers.memory import SharedMemory, row_bytes, row_of
from tensor_optix.pipeline.environment.workers.worker import Worker, WorkerFailedError


class Request(NamedTuple):
    """What is asked of the environment in a seat of the actor."""

    seat: int
    kind: bytes
    """One of those of `wire`; `HEAR` and `BEGIN` are the actor's own."""
    doing: str
    payload: bytes
    seconds: float
    """That the answer may take."""


HEAR, BEGIN = b"h", b"b"
"""Kinds of requests beside those of `wire`: wait for a further answer; start a worker with the order in the payload."""


class Answer(NamedTuple):
    """What came of a request."""

    reply: bytes = b""
    """As the worker sent it."""
    row: bytes = b""
    """What the environment observes, where it has a place in the memory."""
    failure: tuple[str, str, str] | None = None
    """Kind, what was being done, and text, where no reply came."""


class Host:
    """An actor.

    Args:
        seats: environments that it has, k.
        observation_space: of each.
        action_space: of each.
        paths: where modules are looked for, besides those of the node.
    """

    def __init__(
        self,
        seats: int,
        observation_space: spaces.Space[object],
        action_space: spaces.Space[object],
        paths: Sequence[str],
    ) -> None:
        sys.path += [path for path in paths if path not in sys.path]
        self._memory = SharedMemory(observation_space, action_space, seats)
        self._workers: dict[int, Worker] = {}

    def answers(self, requests: Sequence[Request]) -> list[Answer]:
        """Hand requests to the environments, which work side by side, and return what comes of each, in their order."""
        begun, failures = time.monotonic(), dict[int, EnvironmentFailedError]()
        for place, request in enumerate(requests):
            try:
                self._ask(request)
            except EnvironmentFailedError as error:
                failures[place] = error
        return [
            _failed(failures[place], request) if place in failures else self._answer(request, begun + request.seconds)
            for place, request in enumerate(requests)
        ]

    def _ask(self, request: Request) -> None:
        if request.kind == BEGIN:
            self.end(request.seat)
            worker = self._workers[request.seat] = Worker(request.payload, self._memory)
            worker.begin()
        elif request.kind != HEAR:
            self._worker(request).send(request.kind, request.doing, request.payload, request.seconds)

    def _answer(self, request: Request, until: float) -> Answer:
        try:
            reply = self._worker(request).reply(request.seconds, request.doing, until)
        except WorkerFailedError as error:
            return _failed(error, request)
        tree = None
        if reply.kind == wire.DONE and request.kind in (wire.RESET, wire.STEP, HEAR):
            tree = self._memory.finals if reply.has_ended else self._memory.observations
        return Answer(wire.reply_bytes(reply), b"" if tree is None else row_bytes(row_of(tree, request.seat)))

    def _worker(self, request: Request) -> Worker:
        try:
            return self._workers[request.seat]
        except KeyError:
            raise WorkerFailedError(DIED, request.doing, "its process has been ended before") from None

    def pid(self) -> int:
        """Return the number of the actor's process."""
        return os.getpid()

    def end(self, seat: int) -> None:
        """End the worker in a seat."""
        if (worker := self._workers.pop(seat, None)) is not None:
            worker.kill()

    def close(self) -> None:
        """Let the environments close themselves, and end their processes."""
        for worker in self._workers.values():
            worker.close()
        self._workers = {}
        self._memory.close()


def _failed(error: EnvironmentFailedError, request: Request) -> Answer:
    if isinstance(error, WorkerFailedError):
        return Answer(failure=(error.kind, error.doing, error.text))
    return Answer(failure=(DIED, request.doing, str(error)))
