"""Streams of transitions, each unlike any other, for a replay memory."""

import numpy as np

from tensor_optix.core.types import EpisodeData


class Stream:
    """A counting environment: every observation is unlike any other; episodes end after 1 to `longest` steps."""

    def __init__(self, seed: int, *, stack: int = 1, shape: tuple[int, ...] = (), longest: int = 6) -> None:
        self.rng = np.random.default_rng(seed)
        self.stack, self.shape, self.longest = stack, shape, longest
        self.count = seed * 100_000
        self.reset()

    def frame(self) -> np.ndarray:
        self.count += 1
        return np.full(self.shape, self.count, np.int64)

    def reset(self) -> None:
        self.frames = [self.frame()] * self.stack  # padded with the first frame, as Gymnasium does
        self.left = int(self.rng.integers(1, self.longest + 1))

    def observe(self) -> np.ndarray:
        return np.stack(self.frames) if self.stack > 1 else self.frames[0]

    def steps(self, n: int) -> list[tuple[np.ndarray, int, float, bool, bool, np.ndarray]]:
        found = []
        for _ in range(n):
            before, action = self.observe(), int(self.rng.integers(3))
            self.frames = [*self.frames[1:], self.frame()]
            self.left -= 1
            ended = self.left == 0
            is_cut = bool(self.rng.integers(2))
            found.append((before, action, float(action), ended and not is_cut, ended and is_cut, self.observe()))
            if ended:
                self.reset()
        return found


def window(streams: list[Stream], n: int) -> EpisodeData:
    rows = [row for stream in streams for row in stream.steps(n)]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return EpisodeData(
        *columns[:3], terminated=columns[3], truncated=columns[4], next_observations=columns[5], n_envs=len(streams)
    )
