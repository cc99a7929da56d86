"""Feeds and agents that the tests of live pipelines are written with."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

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
