"""A feed as its pipeline sees it: checked items in order, breaks between them, and the count of everything."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np
from gymnasium import spaces

from tensor_optix.core.types import Info, Observation, Space
from tensor_optix.errors import BadDataError, CheckpointMismatchError, FeedFatalError, InvalidArgumentError
from tensor_optix.pipeline._items import BREAK, Break, Entry, ItemCheck, Malformed, Quarantine
from tensor_optix.pipeline.environment.environment import check_size
from tensor_optix.pipeline.environment.infos import mask_in
from tensor_optix.pipeline.environment.observations import ObservationForm
from tensor_optix.pipeline.feed.intake import OVERFLOWS, FeedEnded, Intake
from tensor_optix.pipeline.feed.ledger import SequenceLedger
from tensor_optix.pipeline.feed.reader import FeedReader, is_replayable
from tensor_optix.pipeline.feed.sorting import ends_episode
from tensor_optix.support.arguments import is_real, is_whole
from tensor_optix.support.plain import SavedState

COUNTED = (
    "received",
    "learned",
    "dropped",
    "quarantined",
    "reconnects",
    "gaps",
    "late",
    "duplicates",
    "safe_actions",
    "unsent_actions",
    "stale_decisions",
)
_LOOK_SECONDS = 0.25
"""A thread that waits looks this often whether the reading thread still runs."""


class Checked(NamedTuple):
    """An item that an agent can be shown."""

    observation: Observation
    """As the source gave it."""
    reward: float
    terminated: bool
    truncated: bool
    info: Info
    arrival: float
    is_late: bool | None
    acted: float | None
    mask: np.ndarray | None
    seen: Observation
    """The observation as the agent sees it."""


@dataclass(frozen=True, kw_only=True)
class FeedOptions:
    """How a feed is read; `LivePipeline` says what each means.

    Raises:
        InvalidArgumentError: one breaks its rule.
    """

    buffer_size: int
    overflow: str
    max_item_bytes: int
    reorder: tuple[int, float]
    reconnect: bool
    backoff: tuple[float, float]
    transient: tuple[type[BaseException], ...]
    silence_timeout: float | None

    def __post_init__(self) -> None:
        check_size("buffer_size", self.buffer_size)
        check_size("max_item_bytes", self.max_item_bytes)
        if self.overflow not in OVERFLOWS:
            raise InvalidArgumentError(f"overflow must be one of {OVERFLOWS}, but got {self.overflow!r}.")
        low, high = _pair("backoff", self.backoff)
        if not 0 < low <= high:
            raise InvalidArgumentError(f"backoff must be (low, high) with 0 < low <= high, but got {self.backoff!r}.")
        items, seconds = _pair("reorder", self.reorder)
        if not is_whole(items) or items < 0 or not seconds >= 0:
            raise InvalidArgumentError(f"reorder must be (items, seconds), none negative, but got {self.reorder!r}.")
        if self.silence_timeout is not None and not (is_real(self.silence_timeout) and self.silence_timeout > 0):
            raise InvalidArgumentError(f"silence_timeout must be positive seconds, but got {self.silence_timeout!r}.")
        try:
            issubclass(Exception, self.transient)
        except TypeError:
            raise InvalidArgumentError(f"transient must be kinds of exceptions, but got {self.transient!r}.") from None


def _pair(name: str, value: object) -> tuple[Any, Any]:
    if not (isinstance(value, tuple | list) and len(value) == 2 and all(map(is_real, value))):
        raise InvalidArgumentError(f"{name} must be two finite numbers, but got {value!r}.")
    return value[0], value[1]


def _check_of(space: Space) -> ItemCheck:
    """Return the check of items whose observations are of a space; None where it is not known."""
    if space is None or isinstance(space, spaces.Box) or not isinstance(space, spaces.Space):
        return ItemCheck(space)
    return ItemCheck(one=ObservationForm(space).one)


class _ResumeState(msgspec.Struct, forbid_unknown_fields=True):
    after: int | None
    epoch: int | str | None
    next_window_id: int
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """Where a feed stands when a window is complete."""

    after: int | None = None
    """Number of the last item that need not be seen again."""
    epoch: int | str | None = None
    """What the source calls its present numbering."""
    next_window_id: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    """The counters, without what was received and is not yet learned."""

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {**vars(self), "counts": dict(self.counts)}

    @classmethod
    def from_dict(cls, state: SavedState) -> "ResumePoint":
        """Rebuild from `to_dict`.

        Raises:
            CheckpointMismatchError: it is something else.
        """
        try:
            read = msgspec.convert(dict(state), _ResumeState)
            if min(read.next_window_id, 0 if read.after is None else read.after + 1, *read.counts.values(), 0) < 0:
                raise ValueError("a negative number")
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise CheckpointMismatchError(f"This is no resume state of a LivePipeline: {error}.") from None
        counts = {name: count for name, count in read.counts.items() if name in COUNTED}
        return cls(after=read.after, epoch=read.epoch, next_window_id=read.next_window_id, counts=counts)


class Feed:
    """Reads a source, and gives what can be acted on.

    Args:
        source: what to read.
        options: how.
        point: where to go on.
        clock: seconds, monotonic.
        sleep: waits between tries.
        rng: of the jitter.
    """

    def __init__(
        self,
        source: object,
        options: FeedOptions,
        point: ResumePoint,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None] | None,
        rng: random.Random,
    ) -> None:
        ledger = SequenceLedger(options.reorder, can_refetch=options.reconnect and is_replayable(source))
        if point.after is not None:
            ledger.go_on_after(point.after, point.epoch)
        self.is_interrupted = False
        self.quarantine = Quarantine()
        self._source, self._clock, self._silence_timeout = source, clock, options.silence_timeout
        self._point = point
        self._check = _check_of(getattr(source, "observation_space", None))
        self._intake = Intake(options.buffer_size, options.overflow, ledger, options.max_item_bytes, clock)
        self._reader = FeedReader(
            source,
            self._intake,
            reconnect=options.reconnect,
            delays=options.backoff,
            rng=rng,
            sleep=sleep,
            transient=options.transient,
            clock=clock,
        )

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()

    def interrupt(self) -> None:
        """Let `take` return None from now on."""
        self.is_interrupted = True

    def close(self) -> None:
        """Stop reading, within a second."""
        self._reader.close()

    def take(self) -> Checked | Malformed | Break | None:
        """Wait for the next item, and return it; a break or a malformed item where the stream is cut; None at its end,
        or when it is interrupted.

        Raises:
            FeedFatalError: it has ended by an error, or nothing in it fits.
            FeedError: it is silent, and cannot be opened again.
        """
        while not self.is_interrupted:
            try:
                entry = self._intake.take(_LOOK_SECONDS)
            except FeedEnded:
                return None
            if type(entry) is Entry:
                try:
                    checked = self._check(entry.item)
                    mask = mask_in(checked[4]) if checked[4] else None
                except BadDataError as error:
                    return self._refused(str(error), entry.item[0], ends_episode(entry.item))
                return Checked(*checked, *entry[1:], mask, checked[0])
            if entry is None:
                self._look()
            else:
                return self._refused(*entry) if isinstance(entry, Malformed) else BREAK
        return None

    @property
    def is_ahead(self) -> bool:
        """Whether the source has already given an item after the last one that was taken."""
        return self._intake.is_ahead

    @property
    def is_ahead_in_stream(self) -> bool:
        """The same, without having been opened again in between."""
        return self._intake.is_ahead_in_stream

    def _refused(self, reason: str, what: object, is_over: bool) -> Malformed:
        self.quarantine.add(reason, what, is_over)
        self._check.give_up_on(self.quarantine)
        return self.quarantine.kept[-1]

    def _look(self) -> None:
        """Open the stream again where items are missing or it is silent; raise where the reading thread has died."""
        if self._intake.wants_refetch:
            self._reader.restart_stream()
            return
        if not self._reader.is_alive and not self._intake.is_ended:
            raise FeedFatalError("The thread that read the feed has died without a word.")
        since = self._reader.listening_since
        if self._silence_timeout is None or since is None:
            return
        silence = self._clock() - max(since, self._intake.last_arrival)
        if silence > self._silence_timeout:
            self._reader.restart_stream()

    def counts(self, learned: int, isolated: int, actions: Mapping[str, int], *, held: bool) -> dict[str, int]:
        """Return what became of all items, those before the resume point included.

        Args:
            learned: items whose observation or reward is in a window, or will be.
            isolated: items that were acted on, but are in no window: the stream broke before and after them.
            actions: how many were "safe_actions", "unsent_actions" and "stale_decisions".
            held: an item was taken, and is not yet acted on.
        """
        now = {**self._intake.counts(), **actions, "learned": learned}
        now["dropped"] += isolated
        now["quarantined"] += self.quarantine.count
        now["reconnects"] = self._reader.reconnects
        counts = {name: now[name] + self._point.counts.get(name, 0) for name in COUNTED}
        return {**counts, "buffered": now["buffered"] + held}

    def resume_point(
        self, counts: Mapping[str, int], next_window_id: int, last: Checked | None, *, is_held: bool
    ) -> ResumePoint:
        """Return where to go on when the window that ended with `last` is learned.

        Args:
            counts: from `counts`.
            next_window_id: number of the next window.
            last: the last item that was taken.
            is_held: it is not yet acted on, and has to be seen again.
        """
        kept = {name: counts[name] for name in COUNTED}
        after = epoch = None
        if last is not None and self._intake.is_numbered:
            sequence, epoch = int(last.info["sequence"]), last.info.get("epoch")
            after = sequence - is_held
            # A run that resumes here meets these again, as items or as a gap.
            kept["gaps"] -= self._intake.ledger.missing_after(sequence)
            kept["dropped"] -= self._intake.left_out_after(sequence)
        kept["received"] = kept["learned"] + kept["dropped"] + kept["quarantined"]
        return ResumePoint(after=after, epoch=epoch, next_window_id=next_window_id, counts=kept)
