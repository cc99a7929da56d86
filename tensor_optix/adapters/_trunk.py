"""The layers that two networks begin with in common."""

import itertools
from collections.abc import Sequence


def trunk_length(first: Sequence[object], second: Sequence[object]) -> int:
    """Return how many layers two stacks begin with in common; the last of each is its head, whatever it is."""
    pairs = zip(first[:-1], second[:-1], strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] is pair[1], pairs))
