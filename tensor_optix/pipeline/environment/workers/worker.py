"""One environment in a process of its own, as the process sees it that asks: what fails is one kind of error."""

import contextlib
import json
import os
import signal
import socket
import sys
import time
import weakref
from collections.abc import Callable

import gymnasium as gym

from tensor_optix.core.faults import DIED, HUNG, OUT_OF_MEMORY, RAISED
from tensor_optix.errors import EnvironmentFailedError, EnvironmentNotFoundError, SpaceError
from tensor_optix.pipeline.environment.workers import wire
from tensor_optix.pipeline.environment.workers.fork_server import UNKNOWN, ForkServer, fork_server
from tensor_optix.pipeline.environment.workers.functions import REGISTER_IT, pickled, pickled_value
from tensor_optix.pipeline.environment.workers.memory import SharedMemory
from tensor_optix.pipeline.environment.workers.serving import IMPORTING, Order
from tensor_optix.support.memory import memory_kills

START_SECONDS = 300.0
"""Within which an environment must be made."""
_CLOSE_SECONDS = 2.0
_TOO_LATE = 1.01
"""Times its deadline that a wait may take."""


class WorkerFailedError(EnvironmentFailedError):
    """A worker hangs, has died, or its environment has raised; it is gone.

    Args:
        kind: which of these, one of `core.faults.FAILURES`.
        doing: what it was asked for.
        text: what is known of it.
        trace: the traceback in it, where there is one.
    """

    def __init__(self, kind: str, doing: str, text: str, trace: str = "") -> None:
        super().__init__(f"{kind} in {doing}: {text}")
        self.kind, self.doing, self.text, self.trace = kind, doing, text, trace

    @property
    def full(self) -> str:
        """What became of it, with its traceback."""
        return f"{self}\n\nIts traceback:\n{self.trace}" if self.trace else str(self)


def told_of(error: EnvironmentFailedError) -> str:
    """Return what became of a worker, with its traceback where there is one."""
    return error.full if isinstance(error, WorkerFailedError) else str(error)


def order_bytes(make: Callable[[], gym.Env], order: Order) -> bytes:
    """Return what is sent to a worker.

    Args:
        make: makes the environment, there.
        order: how it is served.

    Raises:
        ContractError: `make` cannot be sent to another process.
    """
    return pickled_value((order, pickled(make)))


class Worker:
    """A process with an environment in it. One that has failed is killed, and serves nobody any more.

    Args:
        order: what `order_bytes` returned.
        memory: what both share.
    """

    def __init__(self, order: bytes, memory: SharedMemory) -> None:
        self._order = order
        self._memory = memory
        self._channel: socket.socket | None = None
        self._waits = 0.0
        """Seconds that a wait of the channel may take."""
        self._end: Callable[[], object] | None = None
        self._doing = ""
        self._memory_kills: int | None = None
        """`memory_kills()` when the process was started."""
        self.name = ""
        """What the environment calls itself."""
        self.private_bytes = 0
        """Of memory that it had when its environment was made."""

    @property
    def is_running(self) -> bool:
        """Whether there is a process that has not failed."""
        return self._channel is not None

    @property
    def is_asked(self) -> bool:
        """Whether it has not answered a request yet."""
        return bool(self._doing)

    def begin(self) -> None:
        """Start the process, which makes the environment; `wait_until_made` waits for that.

        Raises:
            EnvironmentFailedError: the system does not have another process.
        """
        self.kill()
        try:
            channel, theirs = socket.socketpair()
        except OSError as error:
            raise _no_more(error) from error
        try:
            server, process = _started(theirs, self._memory.descriptor)
        except OSError as error:
            channel.close()
            raise _no_more(error) from error
        finally:
            theirs.close()
        self._channel, self.process = channel, process
        self._end = weakref.finalize(self, _ended, server, process, channel)
        self._doing, self._memory_kills = "start", memory_kills()
        place = {"path": [part for part in sys.path if isinstance(part, str)], "variables": dict(os.environ)}
        with contextlib.suppress(OSError):  # a folder that is gone is no trouble to an environment
            place["folder"] = os.getcwd()
        self._waits = 0.0
        try:
            self._limit_waits(channel, START_SECONDS)
            wire.send_request(channel, wire.PLACE, json.dumps({"folder": None, **place}).encode())
            wire.send_request(channel, wire.MAKE, self._order)
        except OSError as error:
            raise self._failed(error) from error

    def wait_until_made(self) -> None:
        """Wait for the environment.

        Raises:
            WorkerFailedError: it could not be made.
            EnvironmentNotFoundError: what makes it cannot be imported in another process.
            SpaceError: it has other spaces than it should.
        """
        told = self.receive(START_SECONDS).value
        self.name, self.private_bytes = str(told["name"]), int(told["memory"])
        for kind in ("observations", "actions"):
            if not told[f"same_{kind}"]:
                self.kill()
                raise SpaceError(
                    f"The environments of one vector must have the same spaces: {self.name} has other {kind}."
                )

    def send(self, kind: bytes, doing: str, payload: bytes = b"", seconds: float = START_SECONDS) -> None:
        """Ask for something; `receive` returns the answer.

        Args:
            kind: one of those of `wire`.
            doing: the same in words.
            payload: what goes with it.
            seconds: within which the request must be taken.

        Raises:
            WorkerFailedError: the process is gone.
        """
        if self._channel is None or self._doing:  # an answer to what was asked before would be taken for this one's
            self.kill()
            raise WorkerFailedError(DIED, doing, "its process has been ended before")
        self._doing = doing
        try:
            self._limit_waits(self._channel, seconds)
            wire.send_request(self._channel, kind, payload)
        except OSError as error:
            raise self._failed(error, seconds) from error

    def receive(self, seconds: float, doing: str = "", until: float | None = None) -> wire.Reply:
        """Return the answer.

        Args:
            seconds: that it may take.
            doing: what is answered, where that is something else than what was asked for.
            until: `time.monotonic()` at which they are over; None = counted from now.

        Raises:
            WorkerFailedError: it did not come, or the environment raised.
        """
        reply = self.reply(seconds, doing, until)
        if reply.kind == wire.RAISED:
            raise self._raised(reply.value)
        return reply

    def reply(self, seconds: float, doing: str = "", until: float | None = None) -> wire.Reply:
        """Return the answer, also where it says that the environment raised; see `receive`.

        Raises:
            WorkerFailedError: it did not come.
        """
        self._doing = doing or self._doing
        channel = self._channel
        if channel is None:
            raise WorkerFailedError(DIED, self._doing, "its process has been ended before")
        try:
            self._limit_waits(channel, seconds if until is None else until - time.monotonic())
            reply = wire.read_reply(channel)
        except (OSError, wire.WireError) as error:
            raise self._failed(error, seconds) from error
        if reply.kind == wire.DONE:
            self._doing = ""
        return reply

    def _limit_waits(self, channel: socket.socket, seconds: float) -> None:
        if not seconds <= self._waits <= seconds * _TOO_LATE:  # what is left of a step's deadline always shrinks
            wire.limit_waits(channel, seconds)
            self._waits = seconds

    def _raised(self, told: object) -> EnvironmentFailedError:
        doing = self._doing
        self.kill()
        if not isinstance(told, dict):
            return WorkerFailedError(RAISED, doing, "an error of which nothing is known")
        text, doing = str(told.get("error")), str(told.get("doing"))
        if doing == IMPORTING:
            return UnimportableEnvironmentError(text)
        return WorkerFailedError(RAISED, doing, text, str(told.get("trace", "")))

    def _failed(self, error: Exception, seconds: float = START_SECONDS) -> WorkerFailedError:
        doing, status = self._doing, self.kill()
        if isinstance(error, TimeoutError):
            return WorkerFailedError(HUNG, doing, f"no answer in {seconds:.4g} s")
        if isinstance(error, wire.WireError) and not isinstance(error, wire.ClosedError):
            return WorkerFailedError(DIED, doing, f"its process was ended, as {error}")
        before, now = self._memory_kills, memory_kills()
        if status != -signal.SIGKILL or now is None or before is None:
            return WorkerFailedError(DIED, doing, _ending(status))
        kind = OUT_OF_MEMORY if now > before else DIED  # by somebody, where the system has not
        return WorkerFailedError(kind, doing, _ending(status, may_be_memory=False))

    def kill(self) -> int:
        """Kill the process, with all that it has started, and return its exit status; `begin` starts another one."""
        end, self._end, self._channel, self._doing = self._end, None, None, ""
        status = end() if end is not None else UNKNOWN
        return status if isinstance(status, int) else UNKNOWN

    def close(self) -> None:
        """Let the environment close itself, and end the process."""
        if self._channel is not None and not self._doing:
            with contextlib.suppress(EnvironmentFailedError):
                self.send(wire.CLOSE, "close", seconds=_CLOSE_SECONDS)
                self.receive(_CLOSE_SECONDS)
        self.kill()


class UnimportableEnvironmentError(EnvironmentNotFoundError, EnvironmentFailedError):
    """What makes an environment cannot be imported where its process of its own is.

    Args:
        text: the error there.
    """

    def __init__(self, text: str) -> None:
        super().__init__(
            f"What makes the environment cannot be imported in a process of its own: {text}. {REGISTER_IT}."
        )


def _started(theirs: socket.socket, memory: int) -> tuple[ForkServer, int]:
    server = fork_server()
    try:
        return server, server.start(theirs, memory)
    except ConnectionError:  # somebody has killed it
        server = fork_server(replacing=server)
        return server, server.start(theirs, memory)


def _ended(server: ForkServer, process: int, channel: socket.socket) -> int:
    channel.close()
    return server.end(process) if server.owner == os.getpid() else UNKNOWN


def _ending(status: int, *, may_be_memory: bool = True) -> str:
    if status == UNKNOWN:
        return "its process has ended"
    if status >= 0:
        return f"its process ended with exit code {status}"
    memory = " - out of memory?" if may_be_memory and -status == signal.SIGKILL else ""
    return f"its process was ended by signal {-status} ({signal.strsignal(-status)}{memory})"


def _no_more(error: OSError) -> EnvironmentFailedError:
    return EnvironmentFailedError(
        f"There cannot be another process for an environment: {error}. Use fewer environments, or allow more processes "
        f"and open files (ulimit -u, ulimit -n)."
    )
