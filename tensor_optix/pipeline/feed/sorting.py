"""What a source yields, and what it fails by, in the few kinds that the rest of the feed knows."""

from collections.abc import Mapping

import numpy as np

from tensor_optix.errors import FeedFatalError
from tensor_optix.pipeline._items import BREAK, Break, Entry, Heartbeat, Malformed, Recorded, shown, size_of
from tensor_optix.support.trees import copied

_MAX_SEQUENCE = 1 << 62


def sorted_out(what: object, arrival: float, max_item_bytes: int) -> Entry | Malformed | Break | None:
    """Return what a source yielded as an entry, a break, or malformed; None for a heartbeat.

    Args:
        what: what the source yielded.
        arrival: when, in seconds of the pipeline's clock.
        max_item_bytes: of one observation.
    """
    is_late = acted = None
    if type(what) is tuple and len(what) == 5 and type(what[0]) is np.ndarray:  # nearly always: no other question
        if what[0].nbytes <= max_item_bytes:
            # The source may go on changing its own.
            return Entry((what[0].copy(), *what[1:4], copied(what[4])), arrival)
    elif isinstance(what, Recorded):
        what, arrival, is_late, acted = what
    if isinstance(what, Break):
        return BREAK
    if isinstance(what, Malformed):
        return what
    if isinstance(what, Heartbeat):
        return None
    if not isinstance(what, tuple | list) or len(what) != 5:
        length = f" of length {len(what)}" if isinstance(what, tuple | list) else ""
        return Malformed(
            f"it is {shown(what)}{length}, but must be (observation, reward, terminated, truncated, info)", what
        )
    observation = what[0]
    if (size := size_of(observation)) > max_item_bytes:
        return Malformed(f"its observation has {size} bytes, more than max_item_bytes={max_item_bytes}")
    return Entry((copied(observation), *what[1:4], copied(what[4])), arrival, is_late, acted)


def numbered(sequence: object, info: object) -> tuple[int, int | str | None] | Malformed:
    """Return (sequence, epoch) of an item, given its number and its info, or what is wrong with them."""
    epoch = info.get("epoch") if isinstance(info, Mapping) else None
    if isinstance(sequence, np.integer):
        sequence = int(sequence)
    if type(sequence) is not int or not 0 <= sequence < _MAX_SEQUENCE or not isinstance(epoch, int | str | None):
        return Malformed(f"its sequence {shown(sequence)} or epoch {shown(epoch)} is no whole number", sequence)
    return sequence, epoch


def sequence_in(info: object) -> object:
    """Return the number that an info gives its item, None if it gives none."""
    return info.get("sequence") if type(info) is dict or isinstance(info, Mapping) else None


def ends_episode(what: object) -> bool:
    """Return whether what a source yielded is an item that ends an episode: no action is waited for after it."""
    item = what.item if isinstance(what, Recorded) else what
    if not isinstance(item, tuple | list) or len(item) != 5:
        return False
    return any(isinstance(flag, bool | np.bool_ | int | np.integer) and bool(flag) for flag in item[2:4])


def fatal(error: BaseException) -> BaseException:
    """Return the error to raise for one that ended the reading thread."""
    if isinstance(error, FeedFatalError):
        return error
    found = FeedFatalError(
        f"The feed ended by {type(error).__name__}: {error}. Errors that another try may cure must be of the kinds in "
        f"transient= (OSError, EOFError and FeedError by default); this one was not, or reconnect_on_disconnect is off."
    )
    found.__cause__ = error
    return found
