"""Feeds and agents that the tests of live pipelines are written with."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tensor_optix.pipeline._items import Malformed
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tests.helpers import NumpyAgent


def item(n: int, *, numbered: bool = False, terminated: bool = False, truncated: bool = False, **info: Any) -> Any:
    """Item n: its observation is [n, n/2], its reward n."""
    info = {**({"sequence": n} if numbered else {}), **info}
    return np.array([n, n / 2], np.float32), float(n), terminated, truncated, info


class Feed:
    """Yields what it is given, one list per connection; an exception in it is raised. Then it ends, or waits."""

    is_finite = True

    def __init__(self, *connections: Iterable[Any]) -> None:
        self.connections = list(connections)
        self.opened = 0
        self.is_finite = len(connections) == 1

    def stream(self) -> Iterator[Any]:
        number, self.opened = self.opened, self.opened + 1
        for what in self.connections[min(number, len(self.connections) - 1)]:
            if isinstance(what, BaseException):
                raise what
            yield what


class Acting(Feed):
    """A feed that takes actions."""

    def __init__(self, *connections: Iterable[Any], action_space: Any = None) -> None:
        super().__init__(*connections)
        self.applied: list[Any] = []
        if action_space is not None:
            self.action_space = action_space

    def apply(self, action: Any) -> None:
        self.applied.append(action)


class Counting(NumpyAgent):
    """Acts with the number of its call, and remembers what it saw."""

    def __init__(self, actions: Sequence[Any] | Callable[[int], Any] | None = None) -> None:
        super().__init__()
        self.seen: list[Any] = []
        self._actions = actions

    def act(self, observation: Any) -> Any:
        self.seen.append(observation)
        n = len(self.seen) - 1
        if self._actions is None:
            return n
        return self._actions(n) if callable(self._actions) else self._actions[n]


def live(source: Any, n: int = 4, agent: Any = None, **options: Any) -> LivePipeline:
    """A pipeline with windows of n steps that waits a little between tries."""
    options = {"backoff": (0.001, 0.01), **options}
    return LivePipeline(source, Counting() if agent is None else agent, LivePipeline.every_n_steps(n), **options)


def rows(windows: Iterable[Any]) -> list[tuple[int, int, int]]:
    """(observation, next observation, reward) of each row, by the numbers of the items that they are from."""
    return [
        (int(o[0]), int(n[0]), int(r))
        for w in windows
        for o, n, r in zip(w.observations, w.next_observations, w.rewards, strict=True)
    ]


def balanced(metadata: Any) -> bool:
    """Whether every item is accounted for."""
    return metadata["received"] == sum(metadata[name] for name in ("learned", "dropped", "quarantined", "buffered"))


def feed_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tensor-optix-feed"]


BAD: dict[str, Any] = {
    "too short": (np.zeros(2, np.float32), 0.0, False, False),
    "no tuple": "item",
    "none": None,
    "shape": (np.zeros(3, np.float32), 0.0, False, False, {}),
    "dtype": (np.zeros(2, np.int64), 0.0, False, False, {}),
    "objects": (np.array([None, 1]), 0.0, False, False, {}),
    "text": (np.array(["a", "b"]), 0.0, False, False, {}),
    "ragged": ([[1], [1, 2]], 0.0, False, False, {}),
    "huge integer": ([10**400, 1], 0.0, False, False, {}),
    "nan": (np.array([0, np.nan], np.float32), 0.0, False, False, {}),
    "inf": (np.array([-np.inf, np.inf], np.float32), 0.0, False, False, {}),
    "too large": (np.zeros(300_000, np.float32), 0.0, False, False, {}),
    "nan reward": (np.zeros(2, np.float32), float("nan"), False, False, {}),
    "no reward": (np.zeros(2, np.float32), None, False, False, {}),
    "rewards": (np.zeros(2, np.float32), np.zeros(2), False, False, {}),
    "flag": (np.zeros(2, np.float32), 0.0, "no", False, {}),
    "other flag": (np.zeros(2, np.float32), 0.0, False, 2, {}),
    "info": (np.zeros(2, np.float32), 0.0, False, False, [1]),
    "mask": (np.zeros(2, np.float32), 0.0, False, False, {"action_mask": [[True]]}),
    "malformed": Malformed("it is poison", b"\x00"),
}


class Burst:
    """Gives `count` items as fast as they are taken; then it is over."""

    is_finite = True

    def __init__(self, count: int, numbered: bool = False) -> None:
        self.count, self.numbered, self.given = count, numbered, threading.Event()
        self.taken = 0

    def stream(self) -> Iterator[Any]:
        for n in range(self.count):
            yield item(n, numbered=self.numbered)
            self.taken = n + 1
        self.given.set()


class Replayable:
    """Numbered items; each connection breaks off after some, and the next one goes on where it is told."""

    def __init__(self, count: int, breaks_after: int, start: int = 0) -> None:
        self.count, self.breaks_after, self.start = count, breaks_after, start
        self.asked: list[int | None] = []

    def stream(self, after: int | None = None) -> Iterator[Any]:
        self.asked.append(after)
        begin = self.start if after is None else after + 1
        for n in range(begin, min(begin + self.breaks_after, self.count)):
            yield item(n, numbered=True)
        raise ConnectionError


class Blocking:
    """Gives some items and then waits until it is woken, by `close` where that is there."""

    def __init__(self, closable: bool, count: int = 1) -> None:
        self.count, self.wake = count, threading.Event()
        if closable:
            self.close = self.wake.set

    def stream(self) -> Iterator[Any]:
        yield from (item(n) for n in range(self.count))
        self.wake.wait()


def open_and_leave(pipeline: LivePipeline) -> None:
    """Let a pipeline open its feed, whatever that brings, and wait for no window of it."""
    is_left = threading.Event()

    def interrupt() -> None:
        while not is_left.wait(0.002):
            pipeline.interrupt()

    interrupting = threading.Thread(target=interrupt, daemon=True)
    interrupting.start()
    try:
        list(pipeline.episodes())
    finally:
        is_left.set()
        interrupting.join(60)
