"""Observations that a replay memory keeps beside its ring."""

import numpy as np


class SideStore:
    """Observations kept beside the ring, first in, first out, under consecutive ids."""

    IDS = 2**31 - 1
    """Ids start over after this many, far more than are ever held at once."""

    def __init__(self) -> None:
        self.first_id = self.next_id = 0
        self._values: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that are reserved."""
        return 0 if self._values is None else self._values.nbytes

    def restart(self, first_id: int, next_id: int) -> None:
        """Begin with these ids, and nothing kept."""
        self.first_id, self.next_id = first_id, next_id

    def append(self, values: np.ndarray, count_from: int | None = None) -> np.ndarray:
        """Keep values (m, ...) and return their ids (m,)."""
        start = self.next_id if count_from is None else count_from
        if len(values):
            self._make_room(values, start + len(values))
        ids = np.arange(start, start + len(values))
        if self._values is not None:
            self._values[ids % len(self._values)] = values
        self.next_id = start + len(values)
        return ids % self.IDS

    def drop(self, count: int) -> None:
        """Forget the oldest `count`."""
        self.first_id += count

    def get(self, ids: np.ndarray) -> np.ndarray:
        """Return the values (m, ...) of ids (m,)."""
        assert self._values is not None  # noqa: S101 - for the type checker; an id exists only where a value does
        # The id nearest above the first one held that is this id modulo IDS.
        full = self.first_id + (ids.astype(np.int64) - self.first_id) % self.IDS
        return self._values[full % len(self._values)]

    def _make_room(self, values: np.ndarray, next_id: int) -> None:
        needed = next_id - self.first_id
        if self._values is not None and needed <= len(self._values):
            return
        old, held = self._values, np.arange(self.first_id, self.next_id)
        grown = max(needed, 8, needed + needed // 8)
        self._values = np.zeros((grown, *values.shape[1:]), values.dtype)
        if old is not None and held.size:
            self._values[held % grown] = old[held % len(old)]
