"""What is used of Ray, in this process: actors are objects, and their methods run in threads."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any


class RayError(Exception): ...


class GetTimeoutError(RayError): ...


class ObjectStoreFullError(RayError): ...


class OutOfDiskError(RayError): ...


class FakeRay:
    """A cluster.

    Args:
        cores: that it has.
        starts: that fail before one does not.
    """

    exceptions = SimpleNamespace(
        RayError=RayError,
        GetTimeoutError=GetTimeoutError,
        ObjectStoreFullError=ObjectStoreFullError,
        OutOfDiskError=OutOfDiskError,
    )

    def __init__(self, cores: int = 4, starts: int = 0, *, is_there: bool = False) -> None:
        self.cores, self.failing, self.is_there = cores, starts, is_there
        self.asked, self.shutdowns, self.killed = list[dict[str, Any]](), 0, 0
        self.raises: dict[str, Exception] = {}
        self.options, self.actors = list[dict[str, Any]](), list[_Actor]()
        self._threads = ThreadPoolExecutor(16)

    def is_initialized(self) -> bool:
        return self.is_there

    def init(self, **how: Any) -> None:
        self.asked.append(how)
        if self.failing:
            self.failing -= 1
            raise RuntimeError("the node died")

    def shutdown(self) -> None:
        self.shutdowns += 1

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cores)}

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        def wrap(thing: Any) -> Any:
            if isinstance(thing, type):
                self.options.append(options)
                return SimpleNamespace(remote=lambda *args: _Actor(self, thing(*args), options["max_concurrency"]))
            return SimpleNamespace(remote=lambda *args: self.run(self._threads, thing.__name__, thing, *args))

        return wrap

    def run(self, threads: ThreadPoolExecutor, name: str, method: Callable[..., Any], *args: Any) -> "Future[Any]":
        def call() -> Any:
            if name in self.raises:
                raise self.raises[name]
            return method(*args)

        return threads.submit(call)

    def get(self, future: "Future[Any]", timeout: float | None = None) -> Any:
        try:
            return future.result(timeout)
        except TimeoutError as error:
            raise GetTimeoutError from error

    def kill(self, actor: "_Actor") -> None:
        self.killed += 1
        if not actor.is_dead:
            actor.is_dead = True
            getattr(actor.owned, "kill", lambda: None)()
            actor.owned.close()


class _Actor:
    def __init__(self, ray: FakeRay, owned: Any, concurrency: int) -> None:
        self._ray, self.owned, self.is_dead = ray, owned, False
        self._threads = ThreadPoolExecutor(concurrency)
        ray.actors.append(self)

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            if self.is_dead:
                raise RayError("The actor died unexpectedly before finishing this task.")
            return getattr(self.owned, name)(*args)

        return SimpleNamespace(remote=lambda *args: self._ray.run(self._threads, name, call, *args))
