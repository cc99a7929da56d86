"""The ledger of a numbered feed: what came, what came twice, what is missing, what came too late."""

import bisect
from collections.abc import Iterator

from tensor_optix.pipeline._items import BREAK, Break, Entry

MAX_DISTANCE = 100_000
"""Largest distance, behind or ahead, at which a number is believed at once; no more gaps than that are listed."""

_MAX_ASKS = 10


class SequenceLedger:
    """Brings numbered items into order, once each.

    | number | what it is |
    |---|---|
    | the next one | delivered, and whatever is held that follows it |
    | ahead | held until the ones before it came, or did not within `patience` items or seconds: then those are a gap |
    | behind, or held already | a duplicate |
    | behind, in a declared gap | late: it is left out, and the gap is one smaller |
    | farther than `MAX_DISTANCE` | believed if the one after it follows (a gap, or a restarted count), else refused |

    Args:
        patience: how many items, and how many seconds, an item ahead waits for those before it.
        can_refetch: the source can be asked again: a gap is asked for once before it is declared.
    """

    def __init__(self, patience: tuple[int, float], can_refetch: bool = False) -> None:
        self._max_held, self._max_wait = patience
        self._can_refetch = can_refetch
        self.gaps = self.late = self.duplicates = self.refused = self.restarts = 0
        self.returned = 0
        """Items that were held and left to come again, with what is missing."""
        self.before_first = 0
        """Of those that came too late, how many are from before the first that came: of no gap that was declared."""
        self.wants_refetch = False
        self.expected: int | None = None
        """The next number; None before the first."""
        self._origin = 0
        self.epoch: object = None
        self._held: dict[int, Entry] = {}
        self._oldest_held = 0.0
        self._missing: list[tuple[int, int]] = []  # declared gaps [start, end), in order
        self._suspect: tuple[int, Entry] | None = None
        self._asked_for: int | None = None
        self._last_asked: int | None = None
        self._asks = 0  # for that one

    def go_on_after(self, sequence: int, epoch: int | str | None = None) -> None:
        """Take everything up to `sequence` of a numbering as seen."""
        self.expected, self.epoch = sequence + 1, epoch
        self._origin = 0

    @property
    def held(self) -> int:
        """Items that wait for others."""
        return len(self._held) + (self._suspect is not None)

    @property
    def waiting(self) -> int:
        """The same, without one whose number is not yet believed."""
        return len(self._held)

    @property
    def deadline(self) -> float | None:
        """When a held item has waited long enough; None where none is held."""
        return self._oldest_held + self._max_wait if self._held else None

    def add(self, sequence: int, epoch: object, entry: Entry) -> Iterator[Entry | Break]:
        """Yield what can be delivered now that `entry` has come."""
        if epoch != self.epoch:
            if self.expected is not None:
                yield from self.flush()
                self.restarts += self.epoch is not None
                if self.epoch is not None:
                    self.expected = None
                    yield BREAK
            self.epoch = epoch
        if self.expected is None:
            self._start_at(sequence)
        assert self.expected is not None  # noqa: S101 - for the type checker
        ahead = sequence - self.expected
        if ahead == 0:
            yield from self._deliver(sequence, entry)
        elif abs(ahead) > MAX_DISTANCE and sequence not in self._held and not self._is_missing(sequence):
            yield from self._doubt(sequence, entry)
        elif ahead > 0:
            yield from self._hold(sequence, entry)
        elif self._is_late(sequence):
            self.late += 1
        else:
            self.duplicates += 1

    def expire(self, now: float) -> Iterator[Entry | Break]:
        """Yield what has waited long enough for the ones before it."""
        while self._held and now >= self._oldest_held + self._max_wait:
            yield from self._release()

    def flush(self) -> Iterator[Entry | Break]:
        """Yield everything that is held: nothing before it will come any more."""
        self._can_refetch, can_refetch = False, self._can_refetch
        while self._held:
            yield from self._release()
        self._can_refetch = can_refetch
        if self._suspect is not None:
            self._suspect = None
            self.refused += 1

    def interrupted(self) -> Iterator[Entry | Break]:
        """Yield nothing, but hold nothing either where the source can be asked again: till then no item is late."""
        if self._can_refetch:
            self._let_go()
        return iter(())

    def reopened(self) -> None:
        """Say that the source is asked for everything from the next number on: what is held comes again."""
        if self.wants_refetch:
            self.wants_refetch = False
        elif self._asks < _MAX_ASKS:
            self._asked_for = None  # whatever was asked for broke off before it could be answered
        self._let_go()

    def _let_go(self) -> None:
        self.returned += self.held
        self._held.clear()
        self._suspect = None

    def missing_after(self, sequence: int) -> int:
        """Return how many of the gaps' numbers are above `sequence`."""
        found = 0
        for start, end in reversed(self._missing):
            if end <= sequence + 1:
                break
            found += end - max(start, sequence + 1)
        return found

    def _start_at(self, sequence: int) -> None:
        self.expected = self._origin = sequence
        self._missing.clear()

    def _deliver(self, sequence: int, entry: Entry) -> Iterator[Entry | Break]:
        yield entry
        self.expected = sequence + 1
        while self.held:
            if self.expected in self._held:
                yield self._held.pop(self.expected)
            elif self._suspect is not None and self._suspect[0] == self.expected:
                yield self._suspect[1]
                self._suspect = None
            else:
                return
            self.expected += 1

    def _hold(self, sequence: int, entry: Entry) -> Iterator[Entry | Break]:
        if sequence in self._held:
            self.duplicates += 1
            return
        if not self._held:
            self._oldest_held = entry.arrival
        self._held[sequence] = entry
        if len(self._held) > self._max_held:
            yield from self._release()

    def _release(self) -> Iterator[Entry | Break]:
        assert self.expected is not None  # noqa: S101 - for the type checker
        if self._can_refetch and self._asked_for != self.expected:
            self._asks = self._asks + 1 if self._last_asked == self.expected else 1
            self._asked_for = self._last_asked = self.expected
            self.wants_refetch = True
            self._let_go()
            return
        first = min(self._held)
        self._declare(self.expected, first)
        yield BREAK
        yield from self._deliver(first, self._held.pop(first))
        self._oldest_held = min((held.arrival for held in self._held.values()), default=0.0)

    def _declare(self, start: int, end: int) -> None:
        self.gaps += end - start
        self._missing.append((start, end))
        del self._missing[:-MAX_DISTANCE]

    def _doubt(self, sequence: int, entry: Entry) -> Iterator[Entry | Break]:
        before, self._suspect = self._suspect, (sequence, entry)
        if before is None:
            return
        if sequence == before[0]:
            self.duplicates += 1
            return
        if sequence != before[0] + 1:
            self.refused += 1
            return
        assert self.expected is not None  # noqa: S101 - for the type checker
        self._suspect = None
        if sequence < self.expected:
            yield from self.flush()
            self.restarts += 1
            self._start_at(before[0])
        else:
            yield from self.flush()
            self._declare(self.expected, before[0])
        yield BREAK
        yield before[1]
        yield from self._deliver(sequence, entry)

    def _place(self, sequence: int) -> int:
        return bisect.bisect_right(self._missing, (sequence, 1 << 63)) - 1

    def _is_missing(self, sequence: int) -> bool:
        place = self._place(sequence)
        return place >= 0 and self._missing[place][0] <= sequence < self._missing[place][1]

    def _is_late(self, sequence: int) -> bool:
        """Return whether a number from behind never came before; if it was declared missing, it no longer is."""
        if sequence < self._origin:
            self.before_first += 1
            return True
        if not self._is_missing(sequence):
            return False
        place = self._place(sequence)
        start, end = self._missing[place]
        self._missing[place : place + 1] = [
            part for part in ((start, sequence), (sequence + 1, end)) if part[0] < part[1]
        ]
        self.gaps -= 1
        return True
