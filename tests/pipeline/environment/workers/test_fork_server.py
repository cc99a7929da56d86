import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tensor_optix.pipeline.environment.workers.fork_server import UNKNOWN, fork_server


def start() -> tuple[int, socket.socket]:
    ours, theirs = socket.socketpair()
    process = fork_server().start(theirs, ours.fileno())  # any descriptor will do where nothing is asked
    theirs.close()
    return process, ours


def test_a_worker_is_a_group_of_its_own_and_leaves_its_exit_status() -> None:
    process, channel = start()
    assert os.getpgid(process) == process
    assert fork_server().end(process) == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert fork_server().end(process) == UNKNOWN  # it is nobody's any more
    channel.close()


def test_one_that_nobody_asks_ends_by_itself() -> None:
    process, channel = start()
    channel.close()
    assert fork_server().end(process) in (0, -signal.SIGKILL)


def test_there_is_one_server_until_it_has_gone() -> None:
    server = fork_server()
    assert fork_server() is server
    assert fork_server(replacing=server) is not server
    process, channel = start()
    fork_server().end(process)
    channel.close()


def test_nothing_is_left_open_at_exit() -> None:
    code = (
        "import os, sys; from tensor_optix.pipeline.environment.workers.fork_server import fork_server; "
        "fork_server(); child = os.fork(); child and os.waitpid(child, 0); sys.exit(0)"
    )
    root = str(Path(__file__).parents[4])
    command = [sys.executable, "-W", "always::ResourceWarning", "-c", code]
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)  # noqa: S603 - ours
    assert done.stderr == ""


def test_it_has_loaded_no_framework() -> None:
    code = (
        "import sys; import tensor_optix.pipeline.environment.workers.serving; "
        "sys.exit(bool({'torch', 'tensorflow', 'keras'} & set(sys.modules)))"
    )
    root = str(Path(__file__).parents[4])
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0  # noqa: S603 - ours
