"""The best of several runs: all play the same fresh episodes, and the winner is confirmed on others.

1. the best policies of all runs race in rounds that grow; after each the clearly worse drop out, and half of the
close ones (`decisions.racing`)
2. the winner plays fresh episodes again, and its score is what it scored there: the highest of several is too high
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tensor_optix.core.decisions.racing import survivors
from tensor_optix.core.decisions.ranking import returns_of
from tensor_optix.core.loop.final_evaluation import LEADER_STEPS, LEADER_WINDOWS
from tensor_optix.core.types import PlayedWindow
from tensor_optix.executors import Executor, Payload

ROUNDS = (3, 3, 6, 12)
"""Windows per policy in each round of the race."""
Windows: TypeAlias = Sequence[Sequence[int]]
"""Of each window the seeds of its episodes."""
Played: TypeAlias = Sequence[Sequence[float]]
"""Of each window the returns of its episodes."""
Play: TypeAlias = Callable[[Sequence[int], Windows], Sequence[Played]]
"""Lets some of the policies, by number, play windows, and returns what each has played."""


@dataclass(frozen=True, kw_only=True)
class FinalTest:
    """Which policy is the best of several, and what it is worth."""

    best: int
    """Its number."""
    evidence: tuple[PlayedWindow, ...]
    """The episodes that confirm it, by which nothing was chosen."""
    raced: tuple[tuple[float, ...], ...]
    """Of each policy, the returns of the race; all have played the same first episodes."""

    @property
    def returns(self) -> list[float]:
        """Of the episodes that confirm it."""
        return returns_of(self.evidence)


def final_test(n: int, play: Play, fresh: Callable[[], Sequence[int]]) -> FinalTest:
    """Return which of n policies is the best.

    Args:
        n: policies, at least 1.
        play: plays them.
        fresh: returns the seeds of a window that nobody has played.
    """
    running = list(range(n))
    returns: list[list[float]] = [[] for _ in range(n)]
    scores: list[list[float]] = [[] for _ in range(n)]
    for n_windows in ROUNDS:
        if len(running) < 2:
            break
        played = play(running, [fresh() for _ in range(n_windows)])
        common = min(map(len, played))
        for i, found in zip(running, played, strict=True):
            returns[i] += [value for window in found[:common] for value in window]
            scores[i] += [_mean(window) for window in found[:common]]
        running = [running[i] for i in survivors([scores[i] for i in running])]
        if common < n_windows or len({score for i in running for score in scores[i]}) == 1:
            break  # there were steps enough, or they have reached the ceiling together
    windows = [fresh() for _ in range(LEADER_WINDOWS)]
    (confirmed,) = play(running[:1], windows)
    return FinalTest(
        best=running[0],
        evidence=tuple(
            PlayedWindow(seeds=tuple(seeds), returns=tuple(found), score=float(np.mean(found)))
            for seeds, found in zip(windows, confirmed, strict=False)  # there may be steps for a part of them
        ),
        raced=tuple(map(tuple, returns)),
    )


def final_test_on(
    executor: Executor,
    job: str,
    n: int,
    item: Callable[[int, Windows], Payload],
    rng: np.random.Generator,
    n_episodes: int,
) -> FinalTest:
    """Return which of n policies is the best, where an executor plays them.

    Args:
        executor: runs the job.
        job: plays windows, and returns their `returns` and the `steps` of each, up to `LEADER_STEPS`.
        n: policies, at least 1.
        item: returns what the job of a policy, by number, is sent.
        rng: gives the seeds of the episodes.
        n_episodes: of a window.
    """

    def play(numbers: Sequence[int], windows: Windows) -> list[Played]:
        parts = _parts(windows, executor.workers // len(numbers))
        results = executor.map(job, [item(number, part) for number in numbers for part in parts])
        return [_joined(results[i : i + len(parts)]) for i in range(0, len(results), len(parts))]

    return final_test(n, play, lambda: rng.integers(2**31, size=n_episodes).tolist())


def _parts(windows: Windows, n: int) -> list[Windows]:
    """Return the windows in n parts, for workers that would have nothing to do."""
    size = math.ceil(len(windows) / max(1, min(n, len(windows))))
    return [windows[i : i + size] for i in range(0, len(windows), size)]


def _joined(results: Sequence[Payload]) -> Played:
    """Return what was played of all parts, as far as one worker alone would have come."""
    returns: list[Sequence[float]] = []
    taken = 0
    for result in results:
        for found, steps in zip(result.values["returns"], result.values["steps"], strict=True):
            if taken > LEADER_STEPS:
                return returns
            returns.append(found)
            taken += steps
    return returns


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
