"""What a saved replay memory must be like, known before any of its arrays is read."""

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

import msgspec
import numpy as np

from tensor_optix.algorithms.replay.side_store import SideStore
from tensor_optix.errors import CheckpointMismatchError
from tensor_optix.support.plain import SavedState
from tensor_optix.support.schemas import checked

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_IDS = ("final", "start")
_RINGS = {"observations", "actions", "rewards", "terminated", "next_action_masks", *_IDS}


class Sized(Protocol):
    """An array, or what a file says of one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its axes."""
        ...

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Its type."""
        ...


class _Memory(msgspec.Struct, forbid_unknown_fields=True):
    capacity: Annotated[int, msgspec.Meta(ge=1, le=10**10)]
    written: _Count = 0
    stack: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    finals: tuple[_Count, _Count] = (0, 0)
    starts: tuple[_Count, _Count] = (0, 0)
    open: bool = False


class Progress(msgspec.Struct, forbid_unknown_fields=True):
    """What a learner from replay saves besides its memory."""

    memory: dict[str, Any] | None
    gradient_steps: _Count
    owed: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)]
    """Between two windows less than one step is owed: the next one makes no more than its own."""


def check_progress(values: object) -> Progress:
    """Return a learner's saved progress, or raise `CheckpointCorruptError` naming the field that is wrong."""
    return checked(Progress, values, "The saved replay learner")


def check_layout(arrays: Mapping[str, Sized], values: object, capacity: int) -> None:
    """Raise a typed error unless these can be the arrays and values of a replay memory of that capacity."""
    memory = checked(_Memory, values, "The saved replay memory")
    if memory.capacity != capacity:
        raise CheckpointMismatchError(f"The saved replay memory has capacity {memory.capacity}, this one {capacity}.")
    if not arrays:
        return
    rings = {name.removeprefix("ring."): each for name, each in arrays.items() if name.startswith("ring.")}
    needed = {"observations", "actions", "rewards", "terminated", "final"} | ({"start"} if memory.stack > 1 else set())
    beside = arrays.keys() - {f"ring.{name}" for name in rings}
    if not needed <= rings.keys() <= needed | {"next_action_masks"} or "following" not in beside:
        raise _not_whole(f"it has the arrays {sorted(arrays)}")
    if not beside <= {"following", "finals", "starts"}:
        raise _not_whole(f"it has the arrays {sorted(arrays)}")
    _check_rings(rings, arrays["following"], memory)
    for name, (first, following) in (("finals", memory.finals), ("starts", memory.starts)):
        count = following - first
        rows = arrays[name].shape[0] if name in arrays and arrays[name].shape else 0
        if rows != count or not 0 <= count <= 2 * memory.capacity + 1:
            raise _not_whole(f"it has {rows} {name}, and ids from {first} to {following}")
        if name in arrays and arrays[name].dtype != rings["observations"].dtype:
            raise _not_whole(f"its {name} are of {arrays[name].dtype}")


def check_ids(arrays: Mapping[str, np.ndarray], values: SavedState) -> None:
    """Raise `CheckpointMismatchError` unless what the ring refers to is kept beside it."""
    for name in _IDS:
        ring = arrays.get(f"ring.{name}")
        if ring is None:
            continue
        first, following = values[f"{name}s"]
        ids = ring[ring != -1].astype(np.int64)
        if ids.size and not ((ids >= 0).all() and ((ids - first) % SideStore.IDS < following - first).all()):
            raise _not_whole(f"its ring refers to {name}s that are not there")


def _check_rings(rings: Mapping[str, Sized], following: Sized, memory: _Memory) -> None:
    observations = rings["observations"].shape
    if len(observations) < 2 or not 1 <= observations[0] <= memory.capacity:
        raise _not_whole(f"its observations have shape {observations}")
    n_envs = observations[0]
    filled = min(memory.written, -(-memory.capacity // n_envs))
    for name, ring in rings.items():
        if ring.shape[:2] != (n_envs, filled):
            raise _not_whole(f"its {name} have shape {ring.shape}, not ({n_envs}, {filled}, ...)")
        if name in _IDS and (ring.dtype != np.int32 or len(ring.shape) != 2):
            raise _not_whole(f"its {name} are of {ring.dtype}")
    inner = observations[2:] if memory.stack == 1 else (memory.stack, *observations[2:])
    if following.shape != (n_envs, *inner) or following.dtype != rings["observations"].dtype:
        raise _not_whole(f"what follows has shape {following.shape} and {following.dtype}")
    for name, dtype in (("rewards", np.float32), ("terminated", np.bool_)):
        if rings[name].dtype != dtype or len(rings[name].shape) != 2:
            raise _not_whole(f"its {name} are of {rings[name].dtype} and shape {rings[name].shape}")


def _not_whole(reason: str) -> CheckpointMismatchError:
    return CheckpointMismatchError(f"The saved replay memory is not whole: {reason}.")
