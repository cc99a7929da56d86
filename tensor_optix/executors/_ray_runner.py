"""A worker process on some node of a Ray cluster, and the driver's end of it.

The job runs in a process of its own, as with `Processes`: what Ray runs hands frames to it and back. So the same job
has the same result, and nothing of a job is pickled; Ray's own state is.
"""

import contextlib
import json
import queue
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from tensor_optix.errors import ExecutorError
from tensor_optix.executors._link import Link, WorkerLostError
from tensor_optix.executors._ray_cluster import first_line, full_store
from tensor_optix.executors.payload import Frame, frame_of
from tensor_optix.support.plain import Json

_POLL_SECONDS = 1.0
_CLOSE_SECONDS = 10.0


class Runner:
    """An actor that keeps a worker process on its node; several of its methods run at once.

    Args:
        threads: of the process.
        paths: that it imports from, besides those of the node.
    """

    def __init__(self, threads: int, paths: Sequence[str] = ()) -> None:
        sys.path += [path for path in paths if path not in sys.path]
        self._link = Link(threads)
        self._told = queue.SimpleQueue[str | None]()

    def pid(self) -> int:
        """Return the number of the process."""
        return self._link.pid

    def call(self, job: str, index: int, attempt: int, item: bytes) -> bytes | str:
        """Run a job, and return the frame of its result or its error; text says how the worker died first."""
        try:
            frame = self._link.call(job, index, attempt, item, lambda values: self._told.put(json.dumps(values)))
            return frame.to_bytes()
        except WorkerLostError as lost:
            return str(lost)
        finally:
            self._told.put(None)

    def told(self) -> tuple[list[str], bool]:
        """Return what the job has told since, and whether it has ended; waits a little for something."""
        found = list[str]()
        with contextlib.suppress(queue.Empty):
            value = self._told.get(timeout=_POLL_SECONDS)
            while value is not None:
                found.append(value)
                value = self._told.get_nowait()
            return found, True
        return found, False

    def cancel(self) -> None:
        """Ask the job in progress to end."""
        self._link.cancel()

    def ask_to_pause(self, index: int) -> None:
        """Say that others wait for the worker of an item."""
        self._link.ask_to_pause(index)

    def kill(self) -> None:
        """End the process at once."""
        self._link.kill()

    def close(self) -> None:
        """Let the process end; it has no job."""
        self._link.close()


class RayLink:
    """The driver's end of a worker process on some node; does what `Link` does.

    Args:
        ray: the module.
        threads: that its numerical libraries may use; so many cores are asked for.
        start_seconds: until it must be there.
        paths: that it imports from, besides those of the node.

    Raises:
        ExecutorError: it could not be started.
        WorkerLostError: it was killed while it started.
    """

    def __init__(self, ray: ModuleType, threads: int, start_seconds: float, paths: Sequence[str]) -> None:
        self._ray = ray
        self._actor = ray.remote(num_cpus=threads, max_concurrency=4)(Runner).remote(threads, list(paths))
        try:
            self.pid: int = ray.get(self._actor.pid.remote(), timeout=start_seconds)
        except ray.exceptions.GetTimeoutError as error:
            self._end()
            raise ExecutorError(
                f"The Ray cluster has started no worker in {start_seconds:g} s: it has no free cores, or is slow. Ask "
                f"for fewer workers, or wait until others have ended."
            ) from error
        except ray.exceptions.RayError as error:
            self._end()
            if _was_killed(error):
                raise WorkerLostError(f"{first_line(error)} while it started") from error
            raise ExecutorError(f"A worker of the Ray cluster could not be started: {first_line(error)}.") from error

    def call(self, job: str, index: int, attempt: int, item: bytes, on_told: Callable[[Json], None]) -> Frame:
        """Run a job, and return the frame of its result or its error; see `Link.call`."""
        errors = self._ray.exceptions
        try:
            reference, has_ended = self._actor.call.remote(job, index, attempt, item), False
            while not has_ended:
                values, has_ended = self._ray.get(self._actor.told.remote())
                for value in values:
                    on_told(json.loads(value))
            found = self._ray.get(reference)
        except (errors.ObjectStoreFullError, errors.OutOfDiskError) as error:
            raise full_store(error, "workers") from error
        except errors.RayError as error:
            raise WorkerLostError(first_line(error)) from error
        if isinstance(found, str):
            raise WorkerLostError(found)
        return frame_of(found)

    def cancel(self) -> None:
        """Ask the job in progress to end."""
        with contextlib.suppress(self._ray.exceptions.RayError):  # it has gone
            self._actor.cancel.remote()

    def ask_to_pause(self, index: int) -> None:
        """Say that others wait for the worker of an item."""
        with contextlib.suppress(self._ray.exceptions.RayError):  # it has gone
            self._actor.ask_to_pause.remote(index)

    def kill(self) -> None:
        """End the process at once."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._actor.kill.remote()

    def close(self) -> None:
        """Let the process end; it has no job."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.get(self._actor.close.remote(), timeout=_CLOSE_SECONDS)
        self._end()

    def _end(self) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actor)


def _was_killed(error: Exception) -> bool:
    """Return whether an actor that did not start, or the process in it, was killed; else its constructor raised."""
    return not getattr(error, "actor_init_failed", True) or WorkerLostError.__name__ in str(error)
