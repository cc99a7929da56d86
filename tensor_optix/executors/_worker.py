"""A worker process: reads jobs from its standard input, runs one after the other, and answers on its standard output.

What jobs print goes to standard error. A worker never outlives its driver: it ends when the pipe does, and on Linux the
kernel ends it, too.
"""

import contextlib
import ctypes
import importlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import BinaryIO

from tensor_optix.executors._jobs import failure_of, run
from tensor_optix.executors.executor import Paused
from tensor_optix.executors.payload import Frame, Payload, read_frame
from tensor_optix.support.plain import Json

_PR_SET_PDEATHSIG = 1


def main(imports: Sequence[str] = ()) -> None:
    """Serve until the driver has gone.

    Args:
        imports: modules that are imported before the first job.
    """
    _end_with_the_driver()
    jobs, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError):  # the driver has gone
        Worker(jobs, answers, imports=imports).serve()


class Worker:
    """Runs the jobs that come in.

    Args:
        jobs: frames from the driver.
        answers: frames to the driver.
        leave: what is done when the driver has gone; by default the process ends, with the job in progress.
        imports: modules that are imported first; that one cannot be is for the job to say that needs it.
    """

    def __init__(
        self,
        jobs: BinaryIO,
        answers: BinaryIO,
        leave: Callable[[], None] = lambda: os._exit(0),
        imports: Sequence[str] = (),
    ) -> None:
        self._jobs, self._answers, self._leave, self._imports = jobs, answers, leave, imports
        self._waiting = queue.SimpleQueue[Frame | None]()
        self.is_cancelled = False
        self.waited_for: int | None = None
        """The item whose job is waited for."""

    def serve(self) -> None:
        """Serve in this thread until the driver has gone; another thread listens meanwhile."""
        self.send(Frame("ready", Payload(os.getpid())))
        threading.Thread(target=self._listen, daemon=True).start()
        for module in self._imports:
            with contextlib.suppress(Exception):
                importlib.import_module(module)
        if self._imports:
            self.send(Frame("imported"))
        while (frame := self._waiting.get()) is not None:
            self.send(self._answer(frame))

    def _listen(self) -> None:
        while (frame := read_frame(self._jobs)) is not None:
            if frame.kind == "cancel":
                self.is_cancelled = True
            elif frame.kind == "waited":
                self.waited_for = frame.about["index"]
            else:
                self.waited_for = None
                self._waiting.put(frame)
        self._leave()
        self._waiting.put(None)

    def _answer(self, frame: Frame) -> Frame:
        context = _Context(self, frame.about["index"], frame.about["attempt"])
        try:
            return Frame("result", run(frame.about["job"], frame.payload, context))
        except Paused:
            return Frame("paused")
        except Exception as error:
            return Frame("error", Payload(failure_of(error)))

    def send(self, frame: Frame) -> None:
        """Send a frame to the driver."""
        self._answers.write(frame.to_bytes())
        self._answers.flush()


class _Context:
    def __init__(self, worker: Worker, index: int, attempt: int) -> None:
        self.index, self.attempt, self._worker = index, attempt, worker

    @property
    def is_cancelled(self) -> bool:
        return self._worker.is_cancelled

    @property
    def is_waited_for(self) -> bool:
        return self._worker.waited_for == self.index

    def tell(self, values: Json) -> None:
        self._worker.send(Frame("told", Payload(values)))


def _end_with_the_driver() -> None:
    """Let the kernel end this process when the driver's thread that started it has ended."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # the pipe says it, too
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
