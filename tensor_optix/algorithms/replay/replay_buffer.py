"""Replay memory: a numpy ring that keeps each observation once, in the dtype it is given.

A transition's next observation is the observation of the step after it, so it is not stored. What has no such step, the
true last observation of an episode, is kept beside the ring. Where observations are stacks of the K newest frames, the
ring holds single frames, and the stacks that frames cannot rebuild (the first of an episode, which are padded) are
kept beside it, too. What comes out is always exactly what went in.

Shapes: N environments, C steps of each, so that N·C >= capacity.
"""

from collections.abc import Mapping

import numpy as np

from tensor_optix.algorithms.replay.drawn import Drawn, Patch, frames_of, gathered
from tensor_optix.algorithms.replay.layout import check_ids, check_layout
from tensor_optix.algorithms.replay.rows import by_environment, check_like, following_rows, rows_of, stack_depth
from tensor_optix.algorithms.replay.side_store import SideStore
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import CheckpointMismatchError, InvalidArgumentError
from tensor_optix.support.plain import Json, SavedState

_NONE = -1
_IDS = ("final", "start")
"""Rings of what is kept beside."""


class ReplayBuffer:
    """The newest transitions of N environments, sampled uniformly with replacement.

    Args:
        capacity: transitions to store; the oldest are overwritten.

    Raises:
        InvalidArgumentError: `capacity` below 1.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise InvalidArgumentError(f"capacity must be at least 1, but got {capacity!r}.")
        self.capacity = capacity
        self._n_envs = 0
        self._columns = 0
        self._written = 0
        self._stack = 1
        self._rings: dict[str, np.ndarray] = {}
        self._finals = SideStore()
        self._starts = SideStore()
        self._following: np.ndarray | None = None
        """(N, ...) what followed the newest step of each environment."""
        self._is_open = False
        """True while that is not known: the newest steps are not sampled before the next window."""

    def __len__(self) -> int:
        """Number of transitions that can be sampled."""
        return self._n_envs * self._sampled_columns

    @property
    def most(self) -> int:
        """Number of transitions that can be sampled once it is full; `capacity` before anything was added."""
        most = self._columns - self._stack + 1 - self._is_open
        return self._n_envs * max(most, 0) if self._rings else self.capacity

    @property
    def sampled_bytes(self) -> int:
        """Bytes of one sampled transition."""
        if self._following is None:
            return 0
        rings = (ring for name, ring in self.rings.items() if name != "observations")
        return 2 * self._following[0].nbytes + sum(ring[0, 0].nbytes for ring in rings)

    @property
    def rings(self) -> dict[str, np.ndarray]:
        """(N, C, ...) by name: what is stored of each step, of stacked observations the newest frame."""
        return {name: ring for name, ring in self._rings.items() if name not in _IDS}

    @property
    def written(self) -> int:
        """Steps of each environment ever written; the newest one is in column (written − 1) mod C."""
        return self._written

    @property
    def nbytes(self) -> int:
        """Bytes that are reserved, filled or not."""
        return sum(ring.nbytes for ring in self._rings.values()) + self._finals.nbytes + self._starts.nbytes

    # --- writing ---

    def add(self, window: EpisodeData) -> None:
        """Add the transitions of a window, environment by environment.

        Where it has no next observations, these are the next rows: of its last one, the first of the window to come.

        Raises:
            BadDataError: another number of environments, shape or dtype than before.
        """
        rows, following = rows_of(window), following_rows(window)
        if not self._rings:
            self._allocate(rows)
        check_like(window, {**rows, "next_observations": following}, self._rings, self._n_envs, self._stack)
        self._fill_masks(rows)
        ends = by_environment(window, window.dones)
        steps = ends.shape[1]
        for start in range(0, steps, self._columns):  # a window longer than the ring goes in by pieces
            piece = slice(start, start + self._columns)
            self._write({n: a[:, piece] for n, a in rows.items()}, following[:, piece], ends[:, piece])
        self._is_open = window.next_observations is None and not bool(ends[:, -1].all())

    def _allocate(self, rows: Mapping[str, np.ndarray]) -> None:
        observations = rows["observations"]
        self._n_envs = observations.shape[0]
        self._columns = -(-self.capacity // self._n_envs)
        depth = stack_depth(observations)
        self._stack = depth if depth <= self._columns else 1
        shape = (self._n_envs, self._columns)
        for name, values in rows.items():
            inner = values.shape[2:] if name != "observations" or self._stack == 1 else values.shape[3:]
            self._rings[name] = np.zeros((*shape, *inner), values.dtype)
        self._rings["final"] = np.full(shape, _NONE, np.int32)
        if self._stack > 1:
            self._rings["start"] = np.full(shape, _NONE, np.int32)

    def _fill_masks(self, rows: dict[str, np.ndarray]) -> None:
        """Where a window has no masks, or earlier ones had none, everything is allowed."""
        name = "next_action_masks"
        if name in rows and name not in self._rings:
            self._rings[name] = np.ones((self._n_envs, self._columns, *rows[name].shape[2:]), bool)
        elif name in self._rings and name not in rows:
            rows[name] = np.ones((*rows["rewards"].shape, *self._rings[name].shape[2:]), bool)

    def _write(self, rows: Mapping[str, np.ndarray], following: np.ndarray, ends: np.ndarray) -> None:
        observations, steps = rows["observations"], ends.shape[1]
        self._store_last_successor(observations[:, 0])
        columns = (self._written + np.arange(steps)) % self._columns
        self._evict(columns)
        for name, values in rows.items():
            if name != "observations" or self._stack == 1:
                self._rings[name][:, columns] = values
        if self._stack > 1:
            irregular = self._irregular(observations)
            self._rings["observations"][:, columns] = observations[:, :, -1]
            self._keep_beside("start", self._starts, columns, irregular, observations)
        self._keep_beside("final", self._finals, columns, ends, following)
        self._following = following[:, -1].copy()
        self._written += steps

    def _store_last_successor(self, first: np.ndarray) -> None:
        """Keep what followed the newest steps, where it is not the observation that comes next."""
        if self._following is None or self._is_open:
            return
        newest = (self._written - 1) % self._columns
        same = (self._following == first).reshape(self._n_envs, -1).all(1)
        broken = ~same & (self._rings["final"][:, newest] == _NONE)
        self._keep_beside("final", self._finals, np.array([newest]), broken[:, None], self._following[:, None])

    def _keep_beside(
        self, name: str, store: "SideStore", columns: np.ndarray, where: np.ndarray, values: np.ndarray
    ) -> None:
        # In the order of columns, which is the order in which they will be evicted.
        steps, envs = np.nonzero(where.T)
        self._rings[name][envs, columns[steps]] = store.append(values[envs, steps])

    def _evict(self, columns: np.ndarray) -> None:
        for name, store in (("final", self._finals), ("start", self._starts)):
            if name in self._rings:
                old = self._rings[name][:, columns]
                store.drop(int((old != _NONE).sum()))
                self._rings[name][:, columns] = _NONE

    def _irregular(self, observations: np.ndarray) -> np.ndarray:
        """(N, n) bool: the stacks that the frames in the ring would not rebuild."""
        depth, steps = self._stack, observations.shape[1]
        before = self._rings["observations"][:, (self._written - np.arange(depth - 1, 0, -1)) % self._columns]
        frames = np.concatenate([before, observations[:, :, -1]], axis=1)
        irregular = np.zeros(observations.shape[:2], bool)
        for i in range(depth - 1):
            same = observations[:, :, i] == frames[:, i : i + steps]
            irregular |= ~same.reshape(*observations.shape[:2], -1).all(-1)
        irregular[:, : max(depth - 1 - self._written, 0)] = True  # no frames were written before those
        return irregular

    # --- sampling ---

    @property
    def _filled_columns(self) -> int:
        return min(self._written, self._columns)

    @property
    def _sampled_columns(self) -> int:
        is_full = self._written > self._columns
        # The oldest stacks of a full ring have lost frames to the newest steps.
        return max(self._filled_columns - (self._stack - 1 if is_full else 0) - self._is_open, 0)

    def sample(self, n_batches: int, batch_size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return K = `n_batches` minibatches of B = `batch_size` transitions drawn uniformly with replacement.

        Args:
            n_batches: K.
            batch_size: B.
            rng: where the choice comes from.

        Returns:
            `observations`, `actions`, `rewards`, `terminated`, `next_observations`, and `next_action_masks` where
            windows had them; each (K, B, ...) in the dtype that was added.

        Raises:
            InvalidArgumentError: the memory is empty.
        """
        return gathered(self.draw(n_batches, batch_size, rng), self.rings)

    def draw(self, n_batches: int, batch_size: int, rng: np.random.Generator) -> Drawn:
        """Return which transitions `sample` would return."""
        if not len(self):
            raise InvalidArgumentError("The replay memory is empty; nothing can be sampled.")
        drawn = rng.integers(len(self), size=n_batches * batch_size)
        envs, offsets = np.divmod(drawn, self._sampled_columns)
        columns = (self._written - 1 - self._is_open - offsets) % self._columns
        following = (columns + 1) % self._columns
        return Drawn(
            n_batches,
            envs,
            columns,
            frames_of(columns, self._stack, self._columns),
            frames_of(following, self._stack, self._columns),
            self._whole_stacks(envs, columns),
            self._next_patches(envs, columns, following),
        )

    def _whole_stacks(self, envs: np.ndarray, columns: np.ndarray, where: np.ndarray | bool = True) -> list[Patch]:
        if self._stack == 1:
            return []
        ids = self._rings["start"][envs, columns]
        kept = np.flatnonzero((ids != _NONE) & where)
        return [(kept, self._starts.get(ids[kept]))] if kept.size else []

    def _next_patches(self, envs: np.ndarray, columns: np.ndarray, following: np.ndarray) -> list[Patch]:
        ids, patches = self._rings["final"][envs, columns], list[Patch]()
        is_final, is_newest = ids != _NONE, columns == (self._written - 1) % self._columns
        kept = np.flatnonzero(is_final)
        if kept.size:
            patches.append((kept, self._finals.get(ids[kept])))
        newest = np.flatnonzero(is_newest & ~is_final)
        if newest.size and self._following is not None:
            patches.append((newest, self._following[envs[newest]]))
        return patches + self._whole_stacks(envs, following, ~(is_final | is_newest))

    # --- saving ---

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Json]]:
        """Return what `restore` goes on from: arrays by name, and plain JSON values."""
        if not self._rings:
            return {}, {"capacity": self.capacity}
        filled = self._filled_columns
        arrays = {f"ring.{name}": ring[:, :filled].copy() for name, ring in self._rings.items()}
        arrays["following"] = np.array(self._following)
        for name, store in (("finals", self._finals), ("starts", self._starts)):
            if store.first_id != store.next_id:
                arrays[name] = store.get(np.arange(store.first_id, store.next_id) % SideStore.IDS)
        return arrays, {
            "capacity": self.capacity,
            "written": self._written,
            "stack": self._stack,
            "finals": [self._finals.first_id, self._finals.next_id],
            "starts": [self._starts.first_id, self._starts.next_id],
            **({"open": True} if self._is_open else {}),
        }

    def restore(self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, object]) -> None:
        """Replace everything by what `state` returned.

        Raises:
            CheckpointMismatchError: it is of another capacity, or not whole; nothing is changed then.
        """
        check_layout(arrays, meta, self.capacity)
        fresh = ReplayBuffer(self.capacity)
        if arrays:
            check_ids(arrays, meta)
            try:
                fresh._fill(arrays, meta)
            except (KeyError, ValueError, TypeError, IndexError) as error:
                raise CheckpointMismatchError(f"The saved replay memory is not whole: {error!r}.") from error
        self.__dict__.update(fresh.__dict__)

    def _fill(self, arrays: Mapping[str, np.ndarray], meta: SavedState) -> None:
        rings = {name.removeprefix("ring."): a for name, a in arrays.items() if name.startswith("ring.")}
        self._written, self._stack = int(meta["written"]), int(meta["stack"])
        self._is_open = bool(meta.get("open", False))
        self._n_envs = rings["observations"].shape[0]
        self._columns = -(-self.capacity // self._n_envs)
        for name, values in rings.items():
            shape = (self._n_envs, self._columns, *values.shape[2:])
            self._rings[name] = np.full(shape, _NONE if name in _IDS else 0, values.dtype)
            self._rings[name][:, : self._filled_columns] = values
        self._following = np.array(arrays["following"])
        for name, store in (("finals", self._finals), ("starts", self._starts)):
            store.restart(*meta[name])
            if name in arrays:
                store.append(arrays[name], count_from=int(meta[name][0]))
