"""A process that imports once and forks a child per trial: a trial then costs milliseconds.

`fork` in the test's own process could deadlock on the threads of a framework, so that this one is started for it. Its
children run a workload, tell on a pipe what they do, and wait for a byte before the part that is faulted.
"""

import array
import contextlib
import gc
import importlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Self

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PATIENCE = 60.0


class Child:
    """A forked child, as its tester sees it."""

    def __init__(self, zygote: "Zygote", pid: int, messages: int, go: int) -> None:
        self.pid = pid
        self._zygote, self._messages, self._go = zygote, messages, go
        self._buffer = b""
        self._status: int | None = None

    def read(self, until: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the messages up to one of a kind (None: up to the end of the child)."""
        while True:
            while b"\n" in self._buffer:
                line, _, self._buffer = self._buffer.partition(b"\n")
                message = json.loads(line)
                yield message
                if message["kind"] == until:
                    return
            ready, _, _ = select.select([self._messages], [], [], PATIENCE)
            if not ready:
                raise TimeoutError(f"child {self.pid} has been silent for {PATIENCE} s")
            data = os.read(self._messages, 1 << 16)
            if not data:
                return
            self._buffer += data

    def prepare(self) -> list[dict[str, Any]]:
        """Return the messages up to where it waits for `go`.

        Raises:
            RuntimeError: it ended before.
        """
        messages = list(self.read("ready"))
        if not messages or messages[-1]["kind"] != "ready":
            raise RuntimeError(f"child {self.pid} did not get ready: {messages[-1:]}")
        return messages

    def go(self) -> None:
        """Let it do what is faulted."""
        os.write(self._go, b"g")

    def kill(self) -> None:
        """End it as `kill -9` does."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Return how it ended: minus the signal, or its exit code."""
        if self._status is None:
            self._status = self._zygote._receive()["status"]
        assert self._status is not None
        return self._status

    def close(self) -> None:
        """Free the pipes."""
        os.close(self._messages)
        os.close(self._go)


class Zygote:
    """The tester's end: `start` forks a child that runs a job, one at a time.

    Args:
        imports: modules to import once, before any fork.
    """

    def __init__(self, *imports: str) -> None:
        self._socket, theirs = socket.socketpair()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, environment.get("PYTHONPATH"))))
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own code
                [sys.executable, "-m", "tests.soak.faults._zygote", str(theirs.fileno()), *imports],
                pass_fds=[theirs.fileno()],
                env=environment,
                cwd=_ROOT,
            )
        self._incoming = self._socket.makefile("rb")
        self._receive()

    @contextlib.contextmanager
    def start(self, **job: Any) -> Iterator[Child]:
        """Fork a child that prepares a job and waits for `go`; on leaving it is killed if it still runs."""
        messages, theirs = os.pipe()
        their_go, go = os.pipe()
        socket.send_fds(self._socket, [json.dumps(job).encode() + b"\n"], [theirs, their_go])
        os.close(theirs)
        os.close(their_go)
        child = Child(self, self._receive()["pid"], messages, go)
        try:
            yield child
        finally:
            if child._status is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                child.wait()
            child.close()

    def _receive(self) -> dict[str, Any]:
        line = self._incoming.readline()
        if not line:
            raise RuntimeError("the zygote is gone")
        return json.loads(line)

    def close(self) -> None:
        """End the zygote."""
        self._incoming.close()
        self._socket.close()
        self._process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _serve(connection: socket.socket) -> None:
    connection.sendall(b'{"ready": true}\n')
    while True:
        fds = array.array("i")
        data, ancillary, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(2 * fds.itemsize))
        if not data:
            return
        for _, _, payload in ancillary:
            fds.frombytes(payload)
        pipe, go = fds
        pid = os.fork()
        if pid == 0:
            connection.close()
            _run(json.loads(data), pipe, go)
        os.close(pipe)
        os.close(go)
        connection.sendall(json.dumps({"pid": pid}).encode() + b"\n")
        _, status = os.waitpid(pid, 0)
        connection.sendall(json.dumps({"status": os.waitstatus_to_exitcode(status)}).encode() + b"\n")


def _wait(go: int) -> None:
    while True:
        with contextlib.suppress(OSError):  # a fault that was meant for the storage
            os.read(go, 1)
            return


def _run(job: dict[str, Any], pipe: int, go: int) -> None:
    """Do a job and leave without any clean-up, as the kill does."""
    from tensor_optix.core.storage import tree
    from tests.soak.faults import _mutants, _workloads

    code = 1
    if job["workload"] in _workloads.WORKLOADS:
        tree.AT_ONCE = 1  # strace counts the calls of each thread by themselves
    try:
        context = _workloads.Context(job, pipe)
        workload = _workloads.ALL[job["workload"]](context)
        with _mutants.in_force(job.get("mutant"), after_setup=workload) as ready:
            context.send("ready")
            # No collection may come between the calls: the n-th call must be the same one in every run.
            gc.collect()
            gc.disable()
            _wait(go)
            for _ in ready:
                pass
        context.send("end")
        code = 0
    except BaseException as error:  # noqa: BLE001, RUF100 - told, and the process ends here
        with contextlib.suppress(BaseException):
            context.send("violated", error=f"escaped: {error!r}"[:500])  # pyright: ignore
    finally:
        os._exit(code)


if __name__ == "__main__":
    for name in ("tests.soak.faults._workloads", "tests.soak.faults._mutants", *sys.argv[2:]):
        importlib.import_module(name)
    gc.freeze()
    logging.disable(logging.ERROR)  # what a fault makes the storage report is told on the pipe
    with socket.socket(fileno=int(sys.argv[1])) as server:
        _serve(server)
