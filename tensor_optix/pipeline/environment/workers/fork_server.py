"""The process that workers are forked from: it has imported what they need, and neither a framework nor a thread.

`serve` runs in it; `ForkServer` is what this process knows of it. It ends when this process does, and its workers with
it, also after `kill -9`: the kernel closes the channel between the two.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref
from multiprocessing import spawn

from tensor_optix.errors import EnvironmentFailedError
from tensor_optix.support.open_files import advice

_START, _END = b"s", b"e"
_ASKED = struct.Struct("<ci")
"""Request, process."""
_ANSWER = struct.Struct("<ii")
"""Process (0 = none), exit status."""
_SECONDS_TO_END = 5.0
"""For a process that was killed to be gone; one that waits for a device may take longer, and is left then."""
_SECONDS_TO_BEGIN = 120.0
"""For the server to answer for the first time; it imports meanwhile."""
UNKNOWN = 1 << 20
"""Exit status of a process that is not gone."""
_PR_SET_PDEATHSIG = 1


class ForkServer:
    """Starts workers and ends them.

    Raises:
        EnvironmentFailedError: the server cannot be started.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair()
        code = (
            f"import sys; sys.path[:] = {json.dumps(sys.path)}\n"
            f"from tensor_optix.pipeline.environment.workers.fork_server import serve; serve({theirs.fileno()})"
        )
        try:
            # A session of its own: what a terminal sends to its foreground is not for environments.
            self._process = subprocess.Popen(  # noqa: S603
                [os.fsdecode(spawn.get_executable()), "-c", code],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            said = f"The processes of environments cannot be started: {error}. {advice(error)}"
            raise EnvironmentFailedError(said.rstrip()) from error
        finally:
            theirs.close()
        self._channel.settimeout(_SECONDS_TO_BEGIN)
        self.owner = os.getpid()
        # At exit after all that is made later: workers are told to close their environments first.
        self._ending = weakref.finalize(self, _close, self._channel, self._process, self.owner)

    def start(self, channel: socket.socket, memory: int) -> int:
        """Start a worker and return its process.

        Args:
            channel: the worker's end of the channel.
            memory: descriptor of what it shares.

        Raises:
            OSError: the system does not have another process, or the server is gone.
        """
        with self._lock:
            socket.send_fds(self._channel, [_ASKED.pack(_START, 0)], [channel.fileno(), memory])
            process, status = self._answer()
        if not process:
            raise OSError(status, os.strerror(status))
        return process

    def end(self, process: int) -> int:
        """Kill a worker, with all that it has started, and return its exit status: that of before where it had one."""
        try:
            with self._lock:
                self._channel.sendall(_ASKED.pack(_END, process))
                return self._answer()[1]
        except OSError:  # the server is gone, and its workers with it
            return UNKNOWN

    def _answer(self) -> tuple[int, int]:
        data = self._channel.recv(_ANSWER.size, socket.MSG_WAITALL)
        if len(data) < _ANSWER.size:
            raise ConnectionResetError("The process that workers are forked from has ended.")
        return _ANSWER.unpack(data)

    def close(self) -> None:
        """End the server and all its workers."""
        self._ending()


def _close(channel: socket.socket, process: subprocess.Popen[bytes], owner: int) -> None:
    channel.close()
    if owner == os.getpid():
        process.wait()
    else:
        process.returncode = UNKNOWN  # it is no child of this process, which has not left it running


_server: ForkServer | None = None
_server_lock = threading.Lock()


def fork_server(replacing: ForkServer | None = None) -> ForkServer:
    """Return the server of this process, which is started when it is first asked for.

    Args:
        replacing: one that has ended.
    """
    global _server
    with _server_lock:
        if _server is None or _server is replacing:
            if _server is not None:
                _server.close()
            _server = ForkServer()
        return _server


def _forget() -> None:
    """Forget the server of the process that this one was forked from, and do not keep it alive."""
    global _server, _server_lock
    server, _server, _server_lock = _server, None, threading.Lock()
    if server is not None:
        server.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


# --- in the server ---


def serve(descriptor: int) -> None:
    """Fork workers and end them, until the process that asks for them is gone."""
    from tensor_optix.pipeline.environment.workers import serving  # noqa: F401 - each worker needs it

    control = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a service manager tells all processes; the first one decides
    running: set[int] = set()
    while True:
        data, descriptors, *_ = socket.recv_fds(control, _ASKED.size, 2)
        if len(data) < _ASKED.size:
            break
        kind, process = _ASKED.unpack(data)
        if kind == _START:
            answer = _forked(control, descriptors)
            if answer[0]:
                running.add(answer[0])
        else:
            running.discard(process)
            answer = process, _ended(process)
        try:
            control.sendall(_ANSWER.pack(*answer))
        except OSError:
            break
    for process in running:
        _kill(process)
    os._exit(0)


def _forked(control: socket.socket, descriptors: list[int]) -> tuple[int, int]:
    sys.stdout.flush()
    sys.stderr.flush()
    server = os.getpid()
    try:
        process = os.fork()
    except OSError as error:
        return 0, error.errno or 0
    finally_closed = descriptors
    if process:
        for descriptor in finally_closed:
            os.close(descriptor)
        # Also here, so that it is a group of its own before it can be killed as one.
        with contextlib.suppress(OSError):
            os.setpgid(process, process)
        return process, 0
    code = 1
    try:
        control.close()
        _begin_worker(server)
        from tensor_optix.pipeline.environment.workers.serving import work

        code = work(socket.socket(fileno=descriptors[0]), descriptors[1])
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _begin_worker(server: int) -> None:
    """Make the new process a group of its own, which ends with the server."""
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)


def _kill(process: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.kill(process, signal.SIGKILL)


def _ended(process: int) -> int:
    _kill(process)
    end = time.monotonic() + _SECONDS_TO_END
    try:
        while True:
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                return UNKNOWN
            time.sleep(0.001)
    except ChildProcessError:
        return UNKNOWN
