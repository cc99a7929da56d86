"""The bounded buffer between the thread that reads a feed and the one that learns from it."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable

from tensor_optix.errors import FeedOverflowError
from tensor_optix.pipeline._items import BREAK, Break, Entry, Malformed
from tensor_optix.pipeline.feed.ledger import MAX_DISTANCE, SequenceLedger
from tensor_optix.pipeline.feed.sorting import fatal, numbered, sequence_in, sorted_out
from tensor_optix.pipeline.feed.waiting import Waiting

logger = logging.getLogger(__name__)

OVERFLOWS = ("block", "drop_oldest", "drop_newest", "fail")


class FeedEnded(Exception):  # noqa: N818 - no error
    """A finite feed has given its last item."""


class Intake:
    """Takes items from one thread and gives them to another, in order, and counts what became of each.

    Args:
        size: items that may wait.
        overflow: what happens to the next one when so many wait: one of `OVERFLOWS`.
        ledger: keeps account of a feed that numbers its items.
        max_item_bytes: of one observation.
        clock: seconds, monotonic.
    """

    def __init__(
        self, size: int, overflow: str, ledger: SequenceLedger, max_item_bytes: int, clock: Callable[[], float]
    ) -> None:
        self.ledger = ledger
        self.last_arrival = clock()
        self.is_numbered: bool | None = None
        """Whether the feed numbers its items; None before the first one."""
        # A step is made of two neighbours: where items are dropped, some must find room beside each other.
        self._size = max(size, 2) if overflow in ("drop_oldest", "drop_newest") else size
        self._overflow, self._max_item_bytes, self._clock = overflow, max_item_bytes, clock
        # Its own thread may hold it while a forgotten pipeline is collected, and closed.
        self._lock = threading.RLock()
        self._arrived, self._has_room = threading.Condition(self._lock), threading.Condition(self._lock)
        self._left_out: deque[int] = deque(maxlen=MAX_DISTANCE)
        self._entries: deque[Entry | Malformed | Break] = deque()
        self._waiting, self._came, self._dropped = Waiting(), 0, 0
        self._is_broken_at_tail = self._drops_newest = self._has_overflowed = False
        self._learner_waits = self._reader_waits = self._is_closed = self.is_ended = False
        self._error: BaseException | None = None
        self._at_opening = (0, 0)
        self._repeats = 0

    # --- the reading thread ---

    def put(self, what: object) -> bool:
        """Take what a source yielded; waits for room where `overflow` is "block".

        Returns:
            Whether to go on reading this stream.

        Raises:
            FeedOverflowError: there is no room, and `overflow` is "fail".
        """
        arrival = self.last_arrival = self._clock()
        taken = sorted_out(what, arrival, self._max_item_bytes)
        with self._lock:
            if self._waiting.count >= self._size and self._overflow == "block":
                self._wait_for_room()
            if self._is_closed:
                return False
            if type(taken) is Entry:
                self._file(taken)
            elif taken is not None:
                self._came += isinstance(taken, Malformed)
                self._append(taken)
            if self._has_overflowed:
                raise self._overflow_error()
            if self._learner_waits:
                self._arrived.notify()
            return not self.ledger.wants_refetch

    def _wait_for_room(self) -> None:
        while self._waiting.count >= self._size and not self._is_closed:
            self._reader_waits = True
            self._has_room.wait()
        self._reader_waits = False

    def interrupted(self) -> None:
        """Say that a stream broke off: where items have no numbers, it is unknown what is missing."""
        with self._lock:
            self._extend(self.ledger.interrupted())
            self._waiting.reopen()
            self._look_for_new_ones()
            if not self.is_numbered:
                self._append(BREAK)

    def _look_for_new_ones(self) -> None:
        """Say so where a stream brought nothing but items that had come before."""
        before, self._at_opening = self._at_opening, (self._received, self.ledger.duplicates)
        if self._received == before[0] and self.ledger.duplicates > before[1]:
            self._repeats += 1
            if self._repeats & (self._repeats - 1) == 0:
                logger.warning(
                    "A connection brought only items that had come before (%d until now). A source that counts anew on "
                    "each connection has to say so, by another info['epoch'] each time.",
                    self._repeats,
                )

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing will come any more, and why; what is here can still be taken."""
        with self._lock:
            if not self.is_ended:
                self._extend(self.ledger.flush())
                self.is_ended, self._error = True, error or (self._overflow_error() if self._has_overflowed else None)
                self._arrived.notify()

    @property
    def wants_refetch(self) -> bool:
        """Whether the source has to be asked again, for what is missing."""
        return self.ledger.wants_refetch

    @property
    def resumes_after(self) -> int | None:
        """The last number that need not be sent again, for a source that sends the others; None where there is none."""
        with self._lock:
            self.ledger.reopened()
            return None if self.ledger.expected is None else self.ledger.expected - 1

    def _file(self, entry: Entry) -> None:
        info = entry.item[4]
        sequence = sequence_in(info)
        if self.is_numbered is None:
            self.is_numbered = sequence is not None
        self._came += 1
        if not self.is_numbered or entry.is_late is not None:
            self._append(entry)
            return
        number = numbered(sequence, info)
        if isinstance(number, Malformed):
            self._append(number)
            return
        ledger, (sequence, epoch) = self.ledger, number
        if sequence == ledger.expected and epoch == ledger.epoch and not ledger.held:
            ledger.expected = sequence + 1
            self._append(entry)
            return
        late_before = ledger.late
        self._extend(ledger.add(sequence, epoch, entry))
        if ledger.late > late_before:
            self._left_out.append(sequence)

    def _extend(self, entries: Iterable[Entry | Break]) -> None:
        for entry in entries:
            self._append(entry)

    @property
    def _received(self) -> int:
        """Items that came, each once: neither those that came again, nor those that were left to come again."""
        return self._came - self.ledger.duplicates - self.ledger.returned

    def _append(self, entry: Entry | Malformed | Break) -> None:
        if entry is BREAK:
            self._is_broken_at_tail = True
            return
        if (self._waiting.count >= self._size or self._drops_newest) and self._overflow != "block":
            if not self._makes_room(entry):
                return
        if self._is_broken_at_tail:
            self._is_broken_at_tail = False
            self._entries.append(BREAK)
        self._entries.append(entry)
        self._waiting.put()

    def _makes_room(self, entry: Entry | Malformed | Break) -> bool:
        """Drop what `overflow` says until half the buffer is free; return whether `entry` finds room.

        Dropped one by one, every item that stays would stand between two gaps. Of a feed that stays faster than the
        learner nothing would ever be learned.
        """
        if self._overflow == "fail":
            self._has_overflowed = True  # it is an error when all that comes with this item is in the books
            self._leave_out(entry)
            return False
        if self._overflow == "drop_newest":
            self._drops_newest = self._waiting.count > min(self._size // 2, self._size - 2)
            if self._drops_newest:
                self._is_broken_at_tail = True
                self._leave_out(entry)
            return not self._drops_newest
        entries = self._entries
        following = entries.popleft()  # what was acted on last is a step only together with it
        keep = self._waiting.count - self._size // 2
        while self._waiting.count > keep:
            if (oldest := entries.popleft()) is not BREAK:
                self._waiting.take()
                self._leave_out(oldest)
        entries.extendleft((BREAK, following))
        return True

    def _overflow_error(self) -> FeedOverflowError:
        return FeedOverflowError(
            f"The feed is faster than the learner: {self._size} items wait. Make buffer_size larger, learn less "
            f"per window, or choose overflow='block', 'drop_oldest' or 'drop_newest'."
        )

    def _leave_out(self, entry: Entry | Malformed | Break) -> None:
        self._dropped += 1
        if self.is_numbered and isinstance(entry, Entry):
            self._left_out.append(int(entry.item[4]["sequence"]))

    # --- the learning thread ---

    def take(self, seconds: float) -> Entry | Malformed | Break | None:
        """Return the next item, BREAK where items are missing before it, or None if none came in time.

        Raises:
            FeedEnded: it has ended, as it was meant to.
            FeedFatalError: it has ended by an error, or there was no room.
        """
        with self._lock:
            if not self._entries and not self.is_ended:
                self._wait(seconds)
            if self._entries:
                entry = self._entries.popleft()
                if entry is not BREAK:
                    self._waiting.take()
                    if self._reader_waits and self._waiting.count <= self._size // 2:
                        self._reader_waits = False  # once is enough
                        self._has_room.notify()
                return entry
            if not self.is_ended:
                if self._has_overflowed:
                    raise self._overflow_error()
                return None
            if self._error is not None:
                raise fatal(self._error)
            raise FeedEnded

    def _wait(self, seconds: float) -> None:
        deadline = self.ledger.deadline
        if deadline is not None:
            seconds = min(seconds, max(deadline - self._clock(), 0.0))
        if seconds > 0:
            self._learner_waits = True
            self._arrived.wait(seconds)
            self._learner_waits = False
        if not self._entries and self.ledger.deadline is not None:
            self._extend(self.ledger.expire(self._clock()))

    @property
    def taken(self) -> int:
        """Items of the stream in progress that are or were in the buffer, or wait for those before them."""
        with self._lock:
            return self._waiting.in_stream + self.ledger.waiting

    @property
    def is_ahead(self) -> bool:
        """Whether the source has given more than was taken."""
        with self._lock:
            return self._waiting.count + self.ledger.held > 0

    @property
    def is_ahead_in_stream(self) -> bool:
        """Whether it has given more in the stream that the last item taken is from: that one it did not wait for."""
        with self._lock:
            return self._waiting.is_ahead_in_stream

    def left_out_after(self, sequence: int) -> int:
        """Return how many of the items that were dropped or late have a number above `sequence`.

        It is not asked again for those that have not.
        """
        with self._lock:
            self._left_out = deque((n for n in self._left_out if n > sequence), MAX_DISTANCE)
            return len(self._left_out)

    def close(self) -> None:
        """Wake both threads; neither waits again."""
        with self._lock:
            self._is_closed = True
            self._has_room.notify_all()
            self._arrived.notify_all()

    def counts(self) -> dict[str, int]:
        """Return what became of all items until now, at one moment."""
        with self._lock:
            return {
                "received": self._received,
                "dropped": self._dropped + self.ledger.late,
                "quarantined": self.ledger.refused,
                "gaps": self.ledger.gaps,
                "late": self.ledger.late,
                "duplicates": self.ledger.duplicates,
                "buffered": self._waiting.count + self.ledger.held,
            }
