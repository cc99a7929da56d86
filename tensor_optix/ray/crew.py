"""The driver's end of environments on other nodes: actors with a few workers each, and each worker by itself.

    send(...) of each worker      is collected, actor by actor
    the first receive(...)        all that was collected departs, a call per actor; then each waits for its own answer

An actor that dies, or does not answer, is given up with all its workers; the next of them that is begun starts another.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable
from types import ModuleType
from typing import Protocol

from tensor_optix.core.faults import DIED, HUNG
from tensor_optix.executors._ray_cluster import first_line, full_store
from tensor_optix.pipeline.environment.workers import wire
from tensor_optix.pipeline.environment.workers.fork_server import UNKNOWN
from tensor_optix.pipeline.environment.workers.functions import pickled_value
from tensor_optix.pipeline.environment.workers.memory import SharedMemory, fill, read, row_of
from tensor_optix.pipeline.environment.workers.worker import START_SECONDS, Worker, WorkerFailedError
from tensor_optix.ray.hosting import BEGIN, HEAR, Answer, Request

GRACE_SECONDS = 30.0
"""That an actor may take longer than its environments, before it is given up."""
_CLOSE_SECONDS = 10.0


class Remote(Protocol):
    """A method of an actor, as its handle has it."""

    def remote(self, *arguments: object) -> object:
        """Call it there, and return a reference to what it gives."""
        ...


class Actor(Protocol):
    """The handle of a `Host`."""

    pid: Remote
    answers: Remote
    end: Remote
    close: Remote


@dataclasses.dataclass(eq=False)
class Life:
    """One actor, from its start to its end."""

    actor: Actor
    ready: object
    """Reference to its process number, which it tells once it is there; None = it was there."""
    pid: int = 0
    failure: tuple[str, str] | None = None
    """How it was lost: kind and text."""


class Flight:
    """Requests that go to an actor together, and what comes back.

    Args:
        life: of the actor.
    """

    def __init__(self, life: Life) -> None:
        self.life, self.requests = life, list[Request]()
        self.reference: object = None
        self.answers: list[Answer] | None = None


class Crew:
    """The workers of one actor.

    Args:
        ray: the module.
        make_actor: starts an actor, a `Host`.
        crews: all crews, whose requests depart together; this one joins them.
        start_seconds: that an actor has to start.
    """

    def __init__(
        self, ray: ModuleType, make_actor: Callable[[], Actor], crews: "list[Crew]", start_seconds: float
    ) -> None:
        self._ray, self._make_actor, self._crews, self._start_seconds = ray, make_actor, crews, start_seconds
        self.life: Life | None = None
        """None before the first worker is begun, and after the actor was lost."""
        self._waiting: Flight | None = None
        crews.append(self)

    @property
    def pid(self) -> int | None:
        """Number of the actor's process; None where it is not there."""
        return None if self.life is None or self.life.ready is not None else self.life.pid

    def begin(self) -> Life:
        """Return the actor, which is started where there is none."""
        if self.life is None:
            actor = self._make_actor()
            self.life = Life(actor, actor.pid.remote())
        return self.life

    def collect(self, request: Request) -> tuple[Flight, int]:
        """Collect a request, and return its flight and its place in that."""
        if self._waiting is None:
            self._waiting = Flight(self.begin())
        self._waiting.requests.append(request)
        return self._waiting, len(self._waiting.requests) - 1

    def _depart(self) -> None:
        if (flight := self._waiting) is not None:
            self._waiting, errors = None, self._ray.exceptions
            try:
                flight.reference = flight.life.actor.answers.remote(flight.requests)
            except (errors.ObjectStoreFullError, errors.OutOfDiskError) as error:
                self._lose(flight.life, DIED, first_line(error))
                raise full_store(error, "environments") from error

    def answer(self, flight: Flight, place: int, seconds: float) -> Answer:
        """Return what came of a request; that of an actor that is lost has failed.

        Args:
            flight: where `collect` has put it.
            place: likewise.
            seconds: that it may take.

        Raises:
            ExecutorError: the object store of the cluster is full.
        """
        for crew in self._crews:
            crew._depart()
        if flight.answers is None and flight.life.failure is None:
            flight.answers = self._landed(flight, seconds)
        if flight.answers is not None:
            return flight.answers[place]
        kind, text = flight.life.failure or (DIED, "its actor is gone")
        return Answer(failure=(kind, flight.requests[place].doing, text))

    def _landed(self, flight: Flight, seconds: float) -> list[Answer] | None:
        life, errors = flight.life, self._ray.exceptions
        try:
            if life.ready is not None:
                seconds += self._start_seconds
                life.pid = self._ray.get(life.ready, timeout=self._start_seconds)
                life.ready = None
            return self._ray.get(flight.reference, timeout=seconds + GRACE_SECONDS)
        except errors.GetTimeoutError:
            if life.ready is not None:
                self._lose(life, DIED, f"the cluster has no free cores for its actor, or is slow ({seconds:g} s)")
            else:
                self._lose(life, HUNG, f"its actor does not answer in {seconds:.4g} s")
        except (errors.ObjectStoreFullError, errors.OutOfDiskError) as error:
            self._lose(life, DIED, first_line(error))
            raise full_store(error, "environments") from error
        except errors.RayError as error:
            self._lose(life, DIED, f"its actor is gone: {first_line(error)}")
        return None

    def _lose(self, life: Life, kind: str, text: str) -> None:
        life.failure = (kind, text)
        if self.life is life:
            self.life = self._waiting = None
        self._ray.kill(life.actor)

    def end(self, life: Life, seat: int) -> None:
        """End a worker, where its actor is still there."""
        if self.life is life:
            life.actor.end.remote(seat)

    def close(self) -> None:
        """End the actor, once its environments have closed."""
        life, self.life, self._waiting = self.life, None, None
        if life is None:
            return
        life.failure = (DIED, "it was closed")
        with contextlib.suppress(self._ray.exceptions.RayError):  # it has gone, or takes too long
            self._ray.get(life.actor.close.remote(), timeout=_CLOSE_SECONDS)
        self._ray.kill(life.actor)


class RayWorker(Worker):
    """A worker on some node.

    Args:
        order: as for a `Worker`, with its seat in the actor in place of its row.
        memory: of the driver; what the environment observes is copied there.
        row: its row in that.
        crew: whose actor it is in.
        seat: its place there.
    """

    def __init__(self, order: bytes, memory: SharedMemory, row: int, crew: Crew, seat: int) -> None:
        super().__init__(order, memory)
        self._row, self._final, self._action = (
            row_of(tree, row) for tree in (memory.observations, memory.finals, memory.actions)
        )
        self._crew, self._seat = crew, seat
        self._life: Life | None = None
        self._asked: tuple[Flight, int] | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a process that has not failed."""
        return self._life is not None and self._life is self._crew.life

    def begin(self) -> None:
        """Start the process, which makes the environment; `wait_until_made` waits for that."""
        self.kill()
        self._life = self._crew.begin()
        self._ask(BEGIN, "start", self._order, START_SECONDS)

    def wait_until_made(self) -> None:
        """Wait for the environment; raises as that of a `Worker` does."""
        super().wait_until_made()
        self.private_bytes = 0  # on this machine

    def send(self, kind: bytes, doing: str, payload: bytes = b"", seconds: float = START_SECONDS) -> None:
        """Ask for something; `receive` returns the answer. Raises as that of a `Worker` does."""
        if not self.is_running or self._doing:
            self.kill()
            raise WorkerFailedError(DIED, doing, "its process has been ended before")
        if kind == wire.STEP and not payload:
            payload = pickled_value(read(self._action))
        self._ask(kind, doing, payload, seconds)

    def _ask(self, kind: bytes, doing: str, payload: bytes, seconds: float) -> None:
        self._doing = doing
        self._asked = self._crew.collect(Request(self._seat, kind, doing, payload, seconds))

    def reply(self, seconds: float, doing: str = "", until: float | None = None) -> wire.Reply:
        """Return the answer, also where it says that the environment raised; raises as that of a `Worker` does."""
        doing = doing or self._doing
        if self._life is None:
            raise WorkerFailedError(DIED, doing, "its process has been ended before")
        if self._asked is None:
            self._ask(HEAR, doing, b"", seconds)
        assert self._asked is not None  # noqa: S101 - for the type checker
        left = seconds if until is None else max(until - time.monotonic(), 0.0)
        (flight, place), self._asked, self._doing = self._asked, None, doing
        answer = self._crew.answer(flight, place, left)
        if answer.failure is not None:
            self.kill()
            raise WorkerFailedError(*answer.failure)
        reply = wire.reply_in(answer.reply)
        if answer.row:
            fill(self._final if reply.has_ended else self._row, answer.row)
        if reply.kind == wire.DONE:
            self._doing = ""
        return reply

    def kill(self) -> int:
        """Kill the process; `begin` starts another one. Its exit status is not known here."""
        life, self._life, self._asked, self._doing = self._life, None, None, ""
        if life is not None:
            self._crew.end(life, self._seat)
        return UNKNOWN

    def close(self) -> None:
        """Let the environments of the actor close themselves, and end them."""
        self._life = None
        self._crew.close()
