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
                return SimpleNamespace(remote=lambda *args: _Actor(self, thing(*args)))
            return SimpleNamespace(remote=lambda *args: self.run(thing.__name__, thing, *args))

        return wrap

    def run(self, name: str, method: Callable[..., Any], *args: Any) -> "Future[Any]":
        def call() -> Any:
            if name in self.raises:
                raise self.raises[name]
            return method(*args)

        return self._threads.submit(call)

    def get(self, future: "Future[Any]", timeout: float | None = None) -> Any:
        try:
            return future.result(timeout)
        except TimeoutError as error:
            raise GetTimeoutError from error

    def kill(self, actor: "_Actor") -> None:
        self.killed += 1
        actor.owned.kill()
        actor.owned.close()


class _Actor:
    def __init__(self, ray: FakeRay, owned: Any) -> None:
        self._ray, self.owned = ray, owned

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *args: self._ray.run(name, getattr(self.owned, name), *args))
