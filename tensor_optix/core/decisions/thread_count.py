"""How many threads make updates: the fewest that are clearly fastest, of those that the machine has left."""

import itertools
from collections.abc import Iterator, Mapping

MOST = 64
"""Threads that are tried; no update of such networks has work for more."""
MARGIN = 1.2
"""By this factor more threads must be faster, so that the noise of a second does not decide."""


def free_cores(cores: int, load: float, workers: int) -> int:
    """Return how many cores each of several workers may use, at least 1 and at most `MOST`.

    Args:
        cores: of the machine that this process may use.
        load: processes that want to run, in the mean of a minute.
        workers: that run at once.
    """
    return min(max(min(cores - int(load), cores // workers), 1), MOST)


def counts(free: int) -> Iterator[int]:
    """Yield the numbers of threads to try: 1, 2, 4, ..., and all that are free.

    Args:
        free: cores.
    """
    yield from itertools.takewhile(lambda count: count < free, (1 << power for power in itertools.count()))
    yield free


def is_faster(seconds: Mapping[int, float], count: int) -> bool:
    """Return whether a number of threads is faster than all fewer ones; where it is not, more are not tried.

    Args:
        seconds: of an update, by the number of threads.
        count: the one in question.
    """
    return all(seconds[count] < taken for fewer, taken in seconds.items() if fewer < count)


def fewest_threads(seconds: Mapping[int, float]) -> int:
    """Return the number of threads to use: from the fewest to the most, each must beat the choice so far by `MARGIN`.

    Args:
        seconds: of an update, by the number of threads, 1 among them; where there are none, it is 1.
    """
    chosen = 1
    for count in sorted(seconds):
        if seconds[chosen] >= MARGIN * seconds[count]:
            chosen = count
    return chosen
