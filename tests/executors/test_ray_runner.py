"""The driver's end of a worker on a cluster, over a fake of Ray."""

import os
import signal
from collections.abc import Iterator

import pytest

from tensor_optix.errors import ExecutorError
from tensor_optix.executors import Payload
from tensor_optix.executors._link import WorkerLostError, job_frame
from tensor_optix.executors._ray_runner import RayLink
from tests.fakes.jobs import NAME
from tests.fakes.ray import FakeRay, ObjectStoreFullError, RayError

JOB = f"{NAME}:tell"


@pytest.fixture
def ray() -> FakeRay:
    return FakeRay()


@pytest.fixture
def link(ray: FakeRay) -> Iterator[RayLink]:
    made = RayLink(ray, 1, 60.0, [])
    yield made
    made.close()


def call(link: RayLink, told: list[object]) -> object:
    return link.call(JOB, 1, 2, job_frame(JOB, 1, 2, Payload(3)), told.append).payload.values


def test_a_worker_answers_tells_and_is_lost_when_it_dies(link: RayLink, ray: FakeRay) -> None:
    for _ in range(2):
        told = list[object]()
        assert call(link, told) == [1, 2]
        assert told == [{"step": 0}, {"step": 1}, {"step": 2}]
    os.kill(link.pid, signal.SIGKILL)
    with pytest.raises(WorkerLostError, match="killed by SIGKILL"):
        call(link, [])
    link.cancel()
    link.kill()
    link.close()
    assert ray.killed == 1


@pytest.mark.parametrize(
    ("raised", "seen", "message"),
    [
        (RayError("The actor died\nbecause"), WorkerLostError, "^The actor died$"),
        (ObjectStoreFullError("no room"), ExecutorError, "object store .* is full: no room"),
    ],
)
def test_what_ray_raises_is_a_lost_worker_or_said(
    link: RayLink, ray: FakeRay, raised: Exception, seen: type[Exception], message: str
) -> None:
    ray.raises["told"] = raised
    with pytest.raises(seen, match=message):
        call(link, [])


def test_a_worker_that_cannot_start_is_said(ray: FakeRay) -> None:
    ray.raises["pid"] = RayError("no module")
    with pytest.raises(ExecutorError, match="could not be started: no module"):
        RayLink(ray, 1, 60.0, [])
    ray.raises["pid"].actor_init_failed = True  # type: ignore[attr-defined]
    with pytest.raises(ExecutorError, match="could not be started: no module"):
        RayLink(ray, 1, 60.0, [])
    ray.raises["pid"] = FakeRay.exceptions.GetTimeoutError()
    with pytest.raises(ExecutorError, match="no free cores"):
        RayLink(ray, 1, 60.0, [])


def test_a_worker_that_is_killed_while_it_starts_is_lost(ray: FakeRay) -> None:
    ray.raises["pid"] = RayError("The actor died.")
    ray.raises["pid"].actor_init_failed = False  # type: ignore[attr-defined]
    with pytest.raises(WorkerLostError, match="The actor died while it started"):
        RayLink(ray, 1, 60.0, [])
    ray.raises["pid"] = RayError("The actor died because of an error in its creation:\nWorkerLostError: SIGKILL")
    with pytest.raises(WorkerLostError):
        RayLink(ray, 1, 60.0, [])
