"""Feeds that do at random all that a feed may do wrong, and pipelines with random options that read them."""

from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np

from tensor_optix.errors import FeedFatalError, TensorOptixError
from tensor_optix.pipeline._items import BREAK, HEARTBEAT
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tests.fakes.feeds import BAD, Counting, item

_NUMBERS: tuple[Any, ...] = (True, -1, 2**63, "7", 3.5, np.int32(4), np.uint64(5))
"""In the place of the number that an item has; numpy's are numbers, too."""
_RATES = ("skip", "repeat", "odd", "far", "ends")


class RandomFeed:
    """Numbers its items or not, begins anew, shuffles, repeats, leaves out, breaks off, and gives what is no item.

    Args:
        rng: of everything that it does.
    """

    def __init__(self, rng: Random) -> None:
        self.is_replayable = rng.random() < 0.5
        self._rng, self._left = rng, rng.randrange(1, 8)
        self._is_numbered, self._has_epochs = rng.random() < 0.8, rng.random() < 0.3
        self._next, self._epoch = rng.choice([0, 0, 17, 10**9]), 0
        self._rates = {name: rng.choice([0.0, 0.0, 0.05, 0.3]) for name in _RATES}
        self._radius = rng.choice([0, 0, 2, 6])

    def stream(self, after: int | None = None) -> Iterator[Any]:
        rng = self._rng
        if not self._left:
            raise FeedFatalError("it has ended")  # a finite source would not be opened again
        self._left -= 1
        if after is not None and rng.random() < 0.9:
            self._next = after + 1
        if rng.random() < 0.1:
            self._next, self._epoch = rng.choice([0, self._next + 10**6]), self._epoch + 1
        numbers = range(self._next, self._next + rng.randrange(60))
        self._next = numbers.stop + (0 if self.is_replayable else rng.choice([0, 3]))  # some came while nobody listened
        self._is_closed = False
        for number in sorted(numbers, key=lambda n: n + rng.uniform(0, self._radius)):
            yield from self._given(number)
            if self._is_closed:
                break
        if rng.random() < 0.7:
            raise ConnectionResetError

    def close(self) -> None:
        self._is_closed = True

    def _given(self, number: int) -> Iterator[Any]:
        if self._happens("skip"):
            return
        if self._happens("odd"):
            yield self._rng.choice([*BAD.values(), BREAK, HEARTBEAT])
        if self._happens("far"):
            number += self._rng.choice([-(10**7), 10**7, 2 * 10**5])
        for _ in range(1 + self._happens("repeat")):
            yield item(number % 1000, terminated=self._happens("ends"), **self._info(number))

    def _info(self, number: int) -> dict[str, Any]:
        rng, info = self._rng, {}
        if self._is_numbered or rng.random() < 0.01:
            info["sequence"] = number if rng.random() < 0.99 else rng.choice(_NUMBERS)
            if self._has_epochs:
                info["epoch"] = self._epoch if rng.random() < 0.99 else rng.choice([None, "b", [1]])
        return info

    def _happens(self, name: str) -> bool:
        return self._rng.random() < self._rates[name]


def random_pipelines(seed: int) -> Iterator[LivePipeline]:
    """Yield a pipeline of a random feed, and others that are resumed from where the one before it stands."""
    rng = Random(seed)
    feed = RandomFeed(rng)
    options: dict[str, Any] = {
        "buffer_size": rng.choice([1, 2, 5, 1000]),
        "overflow": rng.choice(["block", "block", "drop_oldest", "drop_newest", "fail"]),
        "reward_timing": rng.choice(["next", "same"]),
        "reorder": (rng.choice([0, 1, 5]), rng.choice([0.0, 1e-4, 0.01])),
        "backoff": (1e-6, 1e-5),
        "safe_action": 0,
    }
    steps = LivePipeline.every_n_steps(rng.randrange(1, 12))
    state = None
    for _ in range(rng.choice([1, 1, 3])):
        pipeline = LivePipeline(feed, Counting(), steps, **options)
        if state is not None:
            pipeline.restore_stream(state)
        yield pipeline
        state = pipeline.stream_state()


def windows_of(pipeline: LivePipeline, most: int) -> Iterator[Any]:
    """Yield windows, so many at most, until the feed ends, by whatever error."""
    try:
        for number, window in enumerate(pipeline.episodes(), 1):
            yield window
            if number == most:
                return
    except TensorOptixError:
        return
    finally:
        pipeline.teardown()
