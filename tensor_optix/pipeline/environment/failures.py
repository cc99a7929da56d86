"""What a vector's environment leaves behind when it raises or its process dies, in one typed error."""

import signal
import traceback
from collections.abc import Sequence
from multiprocessing import connection
from multiprocessing.queues import Queue
from typing import Any

from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from tensor_optix.errors import EnvironmentFailedError
from tensor_optix.pipeline.environment.episodes import described
from tensor_optix.pipeline.environment.in_process import InProcessVectorEnv

_REPORT_SECONDS = 5.0
"""Timeout for the report of a worker that has failed; one that cannot be pickled never comes."""
_END_SECONDS = 2.0
"""Timeout for a process to end by itself."""


class FailureReports:
    """Keeps what the workers of an `AsyncVectorEnv` report of their failures; Gymnasium only prints it.

    Put in the place of the vector's `error_queue`.
    """

    def __init__(self, queue: "Queue[Any]") -> None:
        self._queue = queue
        self.last: tuple[int, type, object, str] | None = None
        """(environment, type of the error, the error, its traceback)"""

    def get(self) -> tuple[int, type, object, str]:
        """Return the next report, as the queue does, but do not wait for ever."""
        report = self.last = self._queue.get(timeout=_REPORT_SECONDS)
        return report


def watch_failures(env: VectorEnv) -> None:
    """From now on keep what the workers of `env` report, where it has any."""
    base = env.unwrapped
    if isinstance(base, AsyncVectorEnv) and not isinstance(base.error_queue, FailureReports):
        base.error_queue = FailureReports(base.error_queue)  # pyright: ignore[reportAttributeAccessIssue]


def environment_failed(env: VectorEnv, doing: str, error: Exception) -> EnvironmentFailedError:
    """Return the error to raise for one that `env.step` or `env.reset` raised.

    Args:
        env: the vector.
        doing: "step" or "reset".
        error: what was raised.
    """
    base = env.unwrapped
    names: Sequence[str] = ()
    index, what, trace = None, described(error), "".join(traceback.format_exception(error))
    if isinstance(base, SyncVectorEnv):
        index = _environment_in(error)
        names = [str(single) for single in base.envs]
    elif isinstance(base, AsyncVectorEnv):
        report = base.error_queue.last if isinstance(base.error_queue, FailureReports) else None
        if report is not None:
            index, what, trace = report[0], described(report[2]), report[3]
        else:
            index, what = _ended_process(base, what)
    name = str(env) if index is None else f"Environment {index} of {env.num_envs}"
    if index is not None and index < len(names):
        name = f"{name}, {names[index]},"
    return EnvironmentFailedError(
        f"{name} failed in {doing}: {what}. Step it alone in a BatchPipeline to see it fail in this process; what was "
        f"trained until now is kept.\n\nIts traceback:\n{trace}"
    )


def end_processes(env: VectorEnv) -> None:
    """End the workers of a vector that has failed: its own `close` waits for answers that will not come."""
    base = env.unwrapped
    if not isinstance(base, AsyncVectorEnv) or base.closed:
        return
    for process in base.processes:
        process.terminate()
    for process in base.processes:
        process.join(_END_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
    for pipe in base.parent_pipes:
        if pipe is not None:
            pipe.close()
    base.closed = True


def _environment_in(error: Exception) -> int | None:
    """Return which environment a `SyncVectorEnv` was at when it raised: the counter of its loop."""
    steps = (SyncVectorEnv.step, SyncVectorEnv.reset, InProcessVectorEnv.step_each)
    loops = [method.__code__ for method in steps]
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code in loops)
    return next((frame.f_locals["i"] for frame in frames if isinstance(frame.f_locals.get("i"), int)), None)


def _ended_process(env: AsyncVectorEnv, otherwise: str) -> tuple[int | None, str]:
    """Return which worker's process has ended and how, or None and `otherwise` if all of them run."""
    sentinels = [process.sentinel for process in env.processes]
    ended = [sentinels.index(sentinel) for sentinel in connection.wait(sentinels, _END_SECONDS)]  # type: ignore[arg-type]
    if not ended:
        return None, otherwise
    index = min(ended)
    process = env.processes[index]
    process.join(_END_SECONDS)
    code = process.exitcode
    if code is not None and code < 0:
        memory = " - out of memory?" if -code == signal.SIGKILL else ""
        return index, f"its process was ended by signal {-code} ({signal.strsignal(-code)}{memory})"
    return index, f"its process ended with exit code {code} ({otherwise})"
