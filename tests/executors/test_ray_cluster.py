"""Connections to a cluster, over a fake of Ray."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tensor_optix.errors import ExecutorError
from tensor_optix.executors import _ray_cluster as module
from tensor_optix.executors._ray_cluster import RayCluster, first_line, versions
from tests.fakes.ray import FakeRay, RayError


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    made = FakeRay()
    monkeypatch.setattr(module, "require", lambda *names: made)
    return made


def connected(address: str | None = None) -> RayCluster:
    return RayCluster(address, 2, "a test", 60.0)


SETTINGS = bytes(3) + b"\x04" + bytes(5)


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that has one answer; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_a_start_that_fails_is_tried_again_and_given_up(ray: FakeRay) -> None:
    ray.failing = 2
    connected().close()
    ray.failing = 3
    with pytest.raises(ExecutorError, match="3 times: the node died"):
        connected()


def test_nobody_at_an_address_is_said_at_once(ray: FakeRay) -> None:
    with answering(SETTINGS) as address:
        connected(address).close()
        assert ray.asked[0]["address"] == address
        assert "num_cpus" not in ray.asked[0]
    with pytest.raises(ExecutorError, match=r"No Ray cluster answers at '127.0.0.1:.*ray start --head"):
        connected(address)
    with pytest.raises(ExecutorError, match="must be 'host:port' or 'auto'"):
        connected("nowhere")
    connected("auto").close()


def test_a_server_of_something_else_is_said_at_once(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b""):
        with answering(answer) as address, pytest.raises(ExecutorError, match="is no Ray cluster"):
            connected(address)
    monkeypatch.setenv("RAY_USE_TLS", "1")  # which answers nothing that is not encrypted
    with answering(b"") as address:
        connected(address).close()


def test_nodes_must_have_the_same_versions(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [["tensor-optix 0.1", "Python 3.9.0"], versions()]
    monkeypatch.setattr(module, "versions", lambda: told[len(seen.append(0) or seen) % 2 - 1])
    seen = list[Any]()
    with pytest.raises(ExecutorError, match=r"The Ray cluster has tensor-optix .* but this process has"):
        connected()
    assert ray.shutdowns == 1
    ray.raises["<lambda>"] = RayError("The task failed\nModuleNotFoundError: No module named 'tensor_optix'")
    with pytest.raises(ExecutorError, match=r"cannot import tensor_optix \(ModuleNotFoundError.*Install"):
        connected()


def test_the_first_line_of_an_error_is_what_it_says() -> None:
    assert first_line(RayError("It died.\nA long report")) == "It died"
    assert first_line(RayError()) == "RayError"
