"""The state of a policy beside its weights, e.g. the statistics that its observations are normalised with."""

import contextlib
import logging
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from tensor_optix._visible import in_line
from tensor_optix.core.storage import atomic
from tensor_optix.errors import CheckpointMismatchError
from tensor_optix.support.plain import SavedState, jsonable

logger = logging.getLogger(__name__)

POLICY_STATE = "companions.json"
"""Name of the file in a snapshot; it stays, so that snapshots of earlier versions are read."""
POLICY_FILE = "policy.json"
"""Name of the file in a snapshot that says what its weights need besides, where the run tells it."""
_MAX_BYTES = 64 << 20  # statistics of images have a number per pixel


@runtime_checkable
class Stateful(Protocol):
    """A part of a run whose state is saved and restored together with the policy."""

    def state_dict(self) -> Mapping[str, object]:
        """Return the state as plain JSON values; empty where there is none."""
        ...

    def load_state_dict(self, state: SavedState) -> None:
        """Take a state that `state_dict` returned, or raise `CheckpointMismatchError`."""
        ...


def write_policy_state(folder: Path, parts: Mapping[str, Stateful]) -> None:
    """Write the states of `parts` into a staged snapshot, whose commit syncs them; empty states are left out."""
    states = _states(parts)
    if states:
        atomic.write_file(folder / POLICY_STATE, atomic.encode_json(jsonable(states)), sync=False)


@contextlib.contextmanager
def restored_policy_state(folder: Path, parts: Mapping[str, Stateful]) -> Generator[None]:
    """Restore the states of `parts` from a snapshot's folder; where the block fails, undo it.

    Raises:
        CheckpointMismatchError: a part has a state and the snapshot has none for it, or one that does not fit.
    """
    before = _states(parts)
    path = folder / POLICY_STATE
    saved: SavedState = atomic.read_json(path, _MAX_BYTES) if path.exists() else {}
    if missing := sorted(before.keys() - saved.keys()):
        raise CheckpointMismatchError(
            f"Snapshot {folder.name} holds no state of {', '.join(missing)}: it was trained without, e.g. without "
            f"normalised observations. Load it in a run with the same set-up."
        )
    if ignored := sorted(saved.keys() - parts.keys()):
        logger.warning(
            "Snapshot %s also holds the state of %s, which is not attached here: the policy was trained "
            "with it, e.g. with normalised observations. Attach that part (CheckpointRegistry.attach).",
            folder.name,
            in_line(", ".join(ignored)),
        )
    try:
        for name in saved.keys() & parts.keys():
            parts[name].load_state_dict(saved[name])
        yield
    except BaseException:
        for name, state in before.items():
            parts[name].load_state_dict(state)
        raise


def _states(parts: Mapping[str, Stateful]) -> dict[str, Mapping[str, object]]:
    return {name: state for name, part in parts.items() if (state := part.state_dict())}
