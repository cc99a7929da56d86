"""The driver's end of an actor, over a fake of Ray and of the actor."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from tensor_optix.errors import ExecutorError
from tensor_optix.pipeline.environment.workers import wire
from tensor_optix.pipeline.environment.workers.memory import SharedMemory
from tensor_optix.pipeline.environment.workers.worker import WorkerFailedError
from tensor_optix.ray.crew import Crew, RayWorker
from tensor_optix.ray.hosting import Answer, Request
from tests.fakes.failing import Walking
from tests.fakes.ray import GetTimeoutError, ObjectStoreFullError, RayError


class Actor:
    """Answers at once; `calls` are the requests of each call."""

    def __init__(self, raises: Exception | None = None, *, is_late: bool = False, is_sent: bool = True) -> None:
        self.calls, self.ended = list[list[Request]](), list[int]()
        self.raises, self.is_sent = raises, is_sent
        self.pid = SimpleNamespace(remote=lambda: done(GetTimeoutError() if is_late else 7))
        self.answers = SimpleNamespace(remote=self._answers)
        self.end = SimpleNamespace(remote=self.ended.append)
        self.close = SimpleNamespace(remote=lambda: done(None))

    def _answers(self, requests: list[Request]) -> "Future[Any]":
        self.calls.append(requests)
        if self.raises is not None and not self.is_sent:
            raise self.raises
        told = {"name": "it", "memory": 0, "same_observations": True, "same_actions": True}
        reply = wire.reply_bytes(wire.Reply(wire.DONE, 0, 1.0, 0, told))
        return done(self.raises or [Answer(reply) for _ in requests])


def done(value: Any) -> "Future[Any]":
    future = Future[Any]()
    if isinstance(value, Exception):
        future.set_exception(value)
    else:
        future.set_result(value)
    return future


class Ray:
    exceptions = SimpleNamespace(
        RayError=RayError,
        GetTimeoutError=GetTimeoutError,
        ObjectStoreFullError=ObjectStoreFullError,
        OutOfDiskError=ObjectStoreFullError,
    )

    def __init__(self) -> None:
        self.killed = list[Actor]()

    def get(self, future: "Future[Any]", timeout: float) -> Any:
        return future.result()

    def kill(self, actor: Actor) -> None:
        self.killed.append(actor)


def workers_of(actors: list[Actor], ray: Any, seats: int = 2) -> list[RayWorker]:
    memory = SharedMemory(Walking.observation_space, Walking.action_space, seats)
    waiting = iter(actors)
    crew = Crew(ray, lambda: next(waiting), [], 60.0)
    return [RayWorker(b"order", memory, i, crew, i) for i in range(seats)]


def begun(workers: list[RayWorker]) -> None:
    for worker in workers:
        worker.begin()
    for worker in workers:
        worker.wait_until_made()


def test_what_is_asked_of_the_workers_of_an_actor_goes_in_one_call() -> None:
    actor = Actor()
    workers = workers_of([actor], Ray())
    begun(workers)
    for worker in workers:
        worker.send(wire.STEP, "step")
    assert [worker.receive(1.0).reward for worker in workers] == [1.0, 1.0]
    assert [[one.seat for one in call] for call in actor.calls] == [[0, 1], [0, 1]]
    assert [worker.private_bytes for worker in workers] == [0, 0]


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (RayError("The actor died\nbecause"), "died in step: its actor is gone: The actor died$"),
        (GetTimeoutError(), "hung in step: its actor does not answer"),
    ],
)
def test_an_actor_that_is_lost_costs_all_its_workers_and_the_next_begin_starts_another(
    raised: Exception, message: str
) -> None:
    ray, actors = Ray(), [Actor(), Actor()]
    workers = workers_of(actors, ray)
    begun(workers)
    actors[0].raises = raised
    for worker in workers:
        worker.send(wire.STEP, "step")
    for worker in workers:
        with pytest.raises(WorkerFailedError, match=message):
            worker.receive(1.0)
        assert not worker.is_running
    assert ray.killed == actors[:1]
    begun(workers)
    assert all(worker.is_running for worker in workers)
    assert len(actors[1].calls) == 1


def test_what_cannot_go_on_is_said() -> None:
    (worker,) = workers_of([Actor(is_late=True)], Ray(), 1)
    worker.begin()
    with pytest.raises(WorkerFailedError, match="no free cores"):
        worker.wait_until_made()
    with pytest.raises(WorkerFailedError, match="has been ended before"):
        worker.send(wire.STEP, "step")
    with pytest.raises(WorkerFailedError, match="has been ended before"):
        worker.receive(1.0)
    (worker,) = workers_of([Actor(ObjectStoreFullError("no room"))], Ray(), 1)
    worker.begin()
    with pytest.raises(ExecutorError, match=r"object store .* is full: no room. Give it more"):
        worker.wait_until_made()
    (worker,) = workers_of([Actor(ObjectStoreFullError("no room to send"), is_sent=False)], Ray(), 1)
    worker.begin()
    with pytest.raises(ExecutorError, match=r"object store .* is full: no room to send. .* fewer environments"):
        worker.wait_until_made()
    assert not worker.is_running


def test_one_worker_is_ended_without_the_others_and_all_with_the_actor() -> None:
    actor, ray = Actor(), Ray()
    workers = workers_of([actor], ray)
    begun(workers)
    workers[0].kill()
    assert (actor.ended, [worker.is_running for worker in workers]) == ([0], [False, True])
    workers[1].close()
    workers[1].close()
    assert ray.killed == [actor]
