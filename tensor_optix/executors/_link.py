"""The driver's end of one worker process: starting it, calling it, and telling when it has died."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, cast

from tensor_optix.errors import ExecutorError
from tensor_optix.executors.payload import Frame, Payload, read_frame
from tensor_optix.support.plain import Json

START_SECONDS = 60.0
"""A worker that is not there by then is given up."""
_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from tensor_optix.executors._worker import main; "
    "main(json.loads(sys.argv[2]))"
)
_KILLED = "killed by"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class WorkerLostError(Exception):
    """The worker died before it had an answer; the message says how."""


class Link:
    """A worker process.

    Args:
        threads: that its numerical libraries may use.
        start_seconds: until it must be there.
        imports: modules that it imports first, however long that takes.

    Raises:
        ExecutorError: it could not be started.
        WorkerLostError: it was killed while it started.
    """

    def __init__(self, threads: int = 1, start_seconds: float = START_SECONDS, imports: Sequence[str] = ()) -> None:
        environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads))}
        own_group: dict[str, Any] = (
            {"start_new_session": True} if os.name == "posix" else {"creationflags": 0x200}  # CREATE_NEW_PROCESS_GROUP
        )
        # Ctrl-C reaches the driver alone, which asks its workers to end.
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and code from above
            [sys.executable, "-c", _CODE, json.dumps(sys.path), json.dumps(list(imports))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            **own_group,
        )
        self._jobs, self._answers = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        self._writing = threading.Lock()
        threading.Thread(target=self._bury, daemon=True).start()
        self._await_ready(start_seconds)
        if imports:
            read_frame(self._answers)  # a worker that has died meanwhile is noticed by its first job

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def _await_ready(self, seconds: float) -> None:
        timer, end = threading.Timer(seconds, self.kill), time.monotonic() + seconds
        timer.start()
        try:
            frame = read_frame(self._answers)
        finally:
            timer.cancel()
        if frame is None:
            how = self._how_it_died()
            is_late = time.monotonic() >= end
            self.close()
            if how.startswith(_KILLED) and not is_late:
                raise WorkerLostError(f"{how} while it started")
            raise ExecutorError(
                f"A worker could not be started ({how}). What it printed stands above; "
                f"{sys.executable} must be able to import tensor_optix."
            )

    def _bury(self) -> None:
        """Wait for the death of the process, and end those that it leaves: they may hold the pipe open."""
        self._process.wait()
        self._kill_group()

    def call(self, job: str, index: int, attempt: int, item: bytes, on_told: Callable[[Json], None]) -> Frame:
        """Run a job, and return the frame of its result or its error, or that it has paused.

        Args:
            job: name of the job.
            index: of the item.
            attempt: how often the item has begun, this time included.
            item: the frame to be sent, as bytes.
            on_told: called with what the job tells.

        Raises:
            WorkerLostError: the worker died first.
        """
        try:
            self._write(item)
            while (frame := read_frame(self._answers)) is not None:
                if frame.kind != "told":
                    return frame
                on_told(frame.payload.values)
        except (OSError, ValueError):  # the pipe, or what was left in it
            self.kill()
        raise WorkerLostError(self._how_it_died())

    def cancel(self) -> None:
        """Ask the job in progress to end."""
        with contextlib.suppress(OSError, ValueError):  # it has gone
            self._write(Frame("cancel").to_bytes(), wait_seconds=1.0)

    def ask_to_pause(self, index: int) -> None:
        """Say that others wait for the worker of an item."""
        with contextlib.suppress(OSError, ValueError):  # it has gone
            self._write(Frame("waited", about={"index": index}).to_bytes(), wait_seconds=1.0)

    def kill(self) -> None:
        """End the process at once, and those that it has started."""
        self._process.kill()
        self._kill_group()

    def close(self) -> None:
        """Let the process end; it has no job."""
        with contextlib.suppress(OSError):
            self._jobs.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        self._answers.close()

    def _write(self, frame: bytes, wait_seconds: float = -1.0) -> None:
        if not self._writing.acquire(timeout=wait_seconds):
            return  # a worker that does not even take its item is killed after the time of grace
        try:
            self._jobs.write(frame)
            self._jobs.flush()
        finally:
            self._writing.release()

    def _kill_group(self) -> None:
        if os.name == "posix":
            with contextlib.suppress(OSError):  # nobody is left
                os.killpg(self._process.pid, signal.SIGKILL)

    def _how_it_died(self) -> str:
        code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"{_KILLED} {signal.Signals(-code).name}"
        except ValueError:
            return f"{_KILLED} signal {-code}"


def job_frame(job: str, index: int, attempt: int, item: Payload) -> bytes:
    """Return the frame that asks a worker to run a job.

    Raises:
        BadDataError: the item cannot be sent.
    """
    return Frame("job", item, {"job": job, "index": index, "attempt": attempt}).to_bytes()
