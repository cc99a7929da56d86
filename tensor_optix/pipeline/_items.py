"""What comes out of a feed, and the checks that it passes before anything is acted on."""

import logging
import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tensor_optix._visible import in_line
from tensor_optix.core.types import Observation
from tensor_optix.errors import BadDataError, FeedFatalError

logger = logging.getLogger(__name__)

Item = tuple[Any, Any, Any, Any, Any]
"""(observation, reward, terminated, truncated, info), as `env.step` returns it"""

FIRST_BAD_ITEMS = 100
"""So many malformed items, and none that fits, are no accident: the feed is another one than was expected."""
_KEPT = 100
_SHOWN = 200


class Malformed(NamedTuple):
    """What a source yields in the place of a frame that it cannot make an item of: it is counted and set aside."""

    reason: str
    frame: object = None
    is_over: bool = False
    """True where an episode ends with it."""


class Heartbeat:
    """What a source yields to show that the connection works, where there is no item to yield."""


class Break:
    """What a source yields where items are missing, so that nothing is learned across the place."""


class Recorded(NamedTuple):
    """An item that was seen before."""

    item: Item
    arrival: float
    is_late: bool
    """Whether its action came too late."""
    acted: float | None = None
    """When it was acted on, where that began a window later than it came."""


HEARTBEAT = Heartbeat()
BREAK = Break()


class Entry(NamedTuple):
    """An item on its way to the agent."""

    item: Item
    arrival: float
    """When it came, by the pipeline's clock."""
    is_late: bool | None = None
    """Whether its action came too late when it was recorded; None where it is live."""
    acted: float | None = None
    """When it was acted on, where that was recorded."""


class Quarantine:
    """Counts what was refused, and keeps the last of it for a look."""

    def __init__(self) -> None:
        self.kept: deque[Malformed] = deque(maxlen=_KEPT)
        self.count = 0

    def add(self, reason: str, what: object = None, is_over: bool = False) -> None:
        """Set one item aside; logged the 1st, 2nd, 4th, 8th, ... time."""
        self.count += 1
        self.kept.append(Malformed(reason, shown(what), is_over))
        if self.count & (self.count - 1) == 0:
            logger.warning("An item of the feed was refused (%d until now): %s", self.count, in_line(reason))


def shown(what: object) -> str:
    """Return a short description of anything, however large it is or badly it behaves."""
    if isinstance(what, bytes | bytearray | memoryview | str):
        return repr(what[:_SHOWN])
    if isinstance(what, np.ndarray):
        return f"array of shape {what.shape}, {what.dtype}"
    return type(what).__name__


def size_of(observation: object) -> int:
    """Return about how many bytes an observation takes, without a walk through it but for its parts by name."""
    if isinstance(observation, np.ndarray):
        return observation.nbytes
    if isinstance(observation, Mapping):
        return sum(map(size_of, observation.values()))
    return len(observation) * 8 if isinstance(observation, list | tuple | str | bytes) else 8


class ItemCheck:
    """Accepts what an agent can act on: one shape, one dtype, finite numbers, flags, a mapping.

    Observations that are arrays or lists come out as arrays, single numbers and text as they are. So do the parts of a
    dict.

    Args:
        space: of observations that are arrays, which says what shape fits; without it the first item that passes says
            so too.
        one: returns a checked copy of an observation that is of another space.
    """

    def __init__(self, space: object = None, one: Callable[[Observation], Observation] | None = None) -> None:
        self._shape: tuple[int, ...] | None = getattr(space, "shape", None)
        self._dtype: np.dtype[np.generic] | None = None
        self._is_told = self._shape is not None or one is not None
        self._one = one
        self._parts: dict[object, ItemCheck] | None = None
        self._passed = 0

    def __call__(self, item: Item) -> tuple[Observation, float, bool, bool, Mapping[str, object]]:
        """Return the item in plain types.

        Raises:
            BadDataError: it must not reach an agent; the message says why.
        """
        observation, reward, terminated, truncated, info = item
        observation = self._of_space(observation) if self._one is not None else self._checked(observation)
        if type(reward) is not float:
            reward = _as_number(reward)
        if not -_MAX_REWARD <= reward <= _MAX_REWARD:  # no NaN either
            raise BadDataError(f"its reward is {reward}, which is no finite float32")
        if type(terminated) is not bool:
            terminated = _as_flag("terminated", terminated)
        if type(truncated) is not bool:
            truncated = _as_flag("truncated", truncated)
        if type(info) is not dict and not isinstance(info, Mapping):
            if info is not None:
                raise BadDataError(f"its info is {type(info).__name__}, but must be a mapping")
            info = {}
        self._passed += 1
        return observation, reward, terminated, truncated, info

    def give_up_on(self, quarantine: Quarantine) -> None:
        """Raise `FeedFatalError` where nothing that came until now fits."""
        if quarantine.count >= FIRST_BAD_ITEMS and self._passed <= (0 if self._is_told else 1):
            raise FeedFatalError(
                f"The feed gave {quarantine.count} malformed items and none that fits; the last: "
                f"{quarantine.kept[-1].reason}. stream() must yield (observation, reward, terminated, truncated, info)."
            )

    def _of_space(self, observation: object) -> Observation:
        assert self._one is not None  # noqa: S101 - for the type checker; the caller has looked
        try:
            return self._one(observation)
        except MALFORMED as error:  # `BadDataError` is a `ValueError`
            raise BadDataError(f"its observation does not fit: {error}"[:_SHOWN]) from None

    def _checked(self, observation: Observation) -> Observation:
        if isinstance(observation, Mapping):
            return self._checked_parts(observation)
        if isinstance(observation, str) and not self._is_told and self._parts is None:
            if self._dtype is None or self._dtype.kind == _TEXT.kind:
                self._dtype = _TEXT
                return observation
        array = observation if type(observation) is np.ndarray else self._as_array(observation)
        if array.dtype != self._dtype or array.shape != self._shape:
            self._take_as_example(array)
        if not _is_finite(array):
            raise BadDataError("its observation is not finite")
        return array if self._is_told or not isinstance(observation, int | float | np.generic) else observation

    def _checked_parts(self, observation: Mapping[object, object]) -> dict[object, Observation]:
        """Return a dict with each part checked by a check of its own."""
        if self._is_told or self._dtype is not None:
            raise BadDataError("its observation is a dict, but this feed's are arrays")
        parts = {name: ItemCheck() for name in observation} if self._parts is None else self._parts
        if observation.keys() != parts.keys():
            raise BadDataError(f"its observation has the parts {list(observation)}, but this feed's have {list(parts)}")
        checked = {name: parts[name]._checked(part) for name, part in observation.items()}
        self._parts = parts
        return checked

    def _as_array(self, observation: object) -> np.ndarray:
        try:
            array = np.asarray(observation)
        except (ValueError, TypeError, OverflowError) as error:
            raise BadDataError(f"its observation is no array: {str(error)[:_SHOWN]}") from None
        if array.dtype.kind not in "biuf":
            raise BadDataError(f"its observation is no numbers, but {shown(observation)}")
        # A list has no dtype of its own: [0, 0] and [0.5, 0] are of one feed.
        if isinstance(observation, np.generic):
            return array
        with np.errstate(over="ignore"):  # what is too large for the dtype is infinite, and refused as such
            return array.astype(self._dtype or np.float64)

    def _take_as_example(self, observation: np.ndarray) -> None:
        if self._parts is not None:
            raise BadDataError(f"its observation is an array, but this feed's are dicts of {list(self._parts)}")
        if observation.dtype.kind not in "biuf":
            raise BadDataError(f"its observation is of dtype {observation.dtype}, which is no number")
        if self._dtype is not None or self._shape not in (None, observation.shape):
            raise BadDataError(
                f"its observation is {observation.dtype}{list(observation.shape)}, but this feed's are "
                f"{self._dtype or ''}{list(self._shape or ())}"
            )
        if not _is_finite(observation):
            raise BadDataError("its observation is not finite")
        self._dtype, self._shape = observation.dtype, observation.shape


MALFORMED = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)
"""What comes of taking apart what is put together otherwise."""
_FEW = 16
_TEXT = np.dtype(str)
_MAX_REWARD = float(np.finfo(np.float32).max)


def _is_finite(observation: np.ndarray) -> bool:
    if observation.dtype.kind != "f":
        return True
    if observation.ndim == 1 and observation.size <= _FEW:  # six times as fast as numpy, for so few
        return all(map(math.isfinite, observation.tolist()))
    return bool(np.isfinite(observation).all())


OBJECTIVES = (
    "weigh its objectives (gymnasium.wrappers.TransformReward; on the command line a wrapper that does it, such as "
    "--wrapper mo_gymnasium.wrappers:LinearReward:weight=[0.5,0.5])"
)
"""The remedy for rewards of several numbers, which no later step of the same environment will be without."""


def _as_number(reward: Any) -> float:
    try:
        if isinstance(reward, str | bytes):
            raise TypeError
        return float(reward.item() if isinstance(reward, np.ndarray) else reward)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last one is a tensor's
        remedy = f"; {OBJECTIVES}" if _has_several_numbers(reward) else ""
        raise BadDataError(f"its reward is {shown(reward)}, but must be one number{remedy}") from None


def _has_several_numbers(reward: object) -> bool:
    if isinstance(reward, list | tuple):
        return len(reward) > 1 and all(isinstance(part, int | float | np.number) for part in reward)
    return math.prod(getattr(reward, "shape", ())) > 1


def _as_flag(name: str, value: object) -> bool:
    plain = _alone(value)
    if isinstance(plain, bool | np.bool_) or (isinstance(plain, int | np.integer) and plain in (0, 1)):
        return bool(plain)
    raise BadDataError(f"its {name} is {shown(value)}, but must be True or False")


def _alone(value: object) -> object:
    """Return the one value that an array or a tensor holds; anything else as it is."""
    if not hasattr(value, "__array__"):
        return value
    try:
        return np.asarray(value).item()
    except (TypeError, ValueError, RuntimeError):
        return value
